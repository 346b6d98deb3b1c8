"""The token mixer of DAMamba: a dynamic adaptive scan followed by a selective scan.

B batch, C channels, H x W map, L = H*W row-major, G = C/16 groups, R = ceil(C/16) rank of the step sizes.
Source: DAMamba, arXiv 2502.12627, section 3. The attribute names are those of the published weights.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damamba.models.arch import GROUP_CHANNELS
from damamba.models.layers import Float32Linear, LayerNorm, LayerNorm2d, Permute
from damamba.ops import adaptive_sample, selective_scan

DT_MIN, DT_MAX = 0.001, 0.1


class DynamicAdaptiveScan(nn.Module):
    """Predicts from x where the sampled map is read, so that the order of the scan follows the picture."""

    def __init__(self, channels: int):
        super().__init__()
        self.dw_conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Sequential(Permute(), LayerNorm(channels)),
            nn.GELU(),
        )
        self.offset = Float32Linear(channels, 2 * channels // GROUP_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> offsets in pixels, [B, H, W, 2G], ordered (g0 dx, g0 dy, g1 dx, ...)."""
        return self.offset(self.dw_conv(x))


class Mixer(nn.Module):
    """DASSM: in projection, depthwise convolution, adaptive scan, selective scan, out projection."""

    def __init__(self, channels: int):
        super().__init__()
        self.rank = math.ceil(channels / GROUP_CHANNELS)
        self.in_proj = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2d = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.act = nn.SiLU()
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
        offset = self.da_scan(x)  # [B, H, W, 2G]
        z = self.act(self.conv2d(self.in_proj(x)))
        u = adaptive_sample(z.permute(0, 2, 3, 1), offset)  # [B, H, W, C]
        y = self.scan(u).permute(0, 3, 1, 2)  # [B, C, H, W]
        return self.out_proj(self.out_norm(y))

    def scan(self, u: Tensor) -> Tensor:
        """The selective scan, along the rows of the map: [B, H, W, C] -> [B, H, W, C]."""
        return self.scan_steps(u, *self.steps(u))

    def steps(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """What the scan reads at each position: dt before bias and softplus, [B, H, W, C]; B and C, [B, H, W, 2]."""
        raw, by_step = F.linear(u, self.x_proj_weight.to(u.dtype)).split((self.rank, 2), dim=-1)
        return F.linear(raw, self.dt_projs_weight.to(u.dtype)), by_step

    def scan_steps(self, u: Tensor, dt: Tensor, by_step: Tensor) -> Tensor:
        """The scan of u [B, H, W, C], of what :meth:`steps` gave: [B, H, W, C]."""
        A = -self.A_logs.to(torch.promote_types(u.dtype, torch.float32)).exp()  # in float16 -exp(12) is infinite
        B, C = by_step.flatten(1, 2).unbind(2)
        y = selective_scan(u.flatten(1, 2), dt.flatten(1, 2), A.squeeze(1), B, C, self.Ds, self.dt_projs_bias)
        return y.view(u.shape)
