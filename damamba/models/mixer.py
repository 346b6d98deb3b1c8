"""The token mixer of DAMamba: a dynamic adaptive scan followed by a selective scan.

B batch, C channels, H x W map, L = H*W row-major, G = C/16 groups, R = ceil(C/16) rank of the step sizes.
Source: DAMamba, arXiv 2502.12627, section 3. The attribute names are those of the published weights.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damamba.models.layers import LayerNorm2d, Permute
from damamba.ops import adaptive_sample, selective_scan

GROUP_CHANNELS = 16
DT_MIN, DT_MAX = 0.001, 0.1


class DynamicAdaptiveScan(nn.Module):
    """Read every position of z where offsets predicted from x say: the order of the scan follows the picture."""

    def __init__(self, channels: int):
        super().__init__()
        self.dw_conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Sequential(Permute(), nn.LayerNorm(channels, eps=1e-6)),
            nn.GELU(),
        )
        self.offset = nn.Linear(channels, 2 * channels // GROUP_CHANNELS)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """x, z [B, C, H, W] -> the sampled z, [B, H, W, C]."""
        return adaptive_sample(z.permute(0, 2, 3, 1), self.predict(x))

    def predict(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] -> offsets in pixels, [B, H, W, 2G], float32 at least: half precision is too coarse."""
        features = self.dw_conv(x)
        with torch.autocast(x.device.type, enabled=False):
            dtype = torch.promote_types(features.dtype, torch.float32)
            return F.linear(features.to(dtype), self.offset.weight.to(dtype), self.offset.bias.to(dtype))


class Mixer(nn.Module):
    """DASSM: in projection, depthwise convolution, adaptive scan, selective scan, out projection."""

    def __init__(self, channels: int):
        super().__init__()
        self.rank = math.ceil(channels / GROUP_CHANNELS)
        self.in_proj = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2d = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.da_scan = DynamicAdaptiveScan(channels)
        self.x_proj_weight = nn.Parameter(torch.empty(self.rank + 2, channels))
        self.dt_projs_weight = nn.Parameter(torch.empty(channels, self.rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(channels))
        self.A_logs = nn.Parameter(torch.empty(channels, 1))
        self.Ds = nn.Parameter(torch.empty(channels))
        self.out_norm = LayerNorm2d(channels)
        self.out_proj = nn.Conv2d(channels, channels, 1, bias=False)
        self.reset_scan_parameters()

    def reset_scan_parameters(self) -> None:
        """Draw the selective scan's parameters: step sizes from 0.001 to 0.1, A = -1, D = 1."""
        nn.init.kaiming_uniform_(self.x_proj_weight, a=math.sqrt(5))
        nn.init.uniform_(self.dt_projs_weight, -(self.rank**-0.5), self.rank**-0.5)
        log_dt = torch.empty_like(self.dt_projs_bias).uniform_(math.log(DT_MIN), math.log(DT_MAX))
        dt = log_dt.exp()
        with torch.no_grad():
            self.dt_projs_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus
        nn.init.zeros_(self.A_logs)
        nn.init.ones_(self.Ds)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        z = F.silu(self.conv2d(self.in_proj(x)))
        sampled = self.da_scan(x, z)  # [B, H, W, C]
        y = self.scan(sampled.flatten(1, 2)).view(sampled.shape)
        return self.out_proj(self.out_norm(y.permute(0, 3, 1, 2)))

    def scan(self, u: Tensor) -> Tensor:
        """[B, L, C] -> [B, L, C]."""
        dt_raw, B, C = F.linear(u, self.x_proj_weight).split((self.rank, 1, 1), dim=2)
        dt = F.linear(dt_raw, self.dt_projs_weight)
        A = -self.A_logs.exp().squeeze(1)
        return selective_scan(u.to(dt.dtype), dt, A, B.squeeze(2), C.squeeze(2), self.Ds, self.dt_projs_bias)
