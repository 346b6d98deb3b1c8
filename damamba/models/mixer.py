"""The token mixer of DAMamba: a dynamic adaptive scan followed by a selective scan.

B batch, C channels, H x W map, L = H*W row-major, G = C/16 groups, R = ceil(C/16) rank of the step sizes.
Source: DAMamba, arXiv 2502.12627, section 3. The attribute names are those of the published weights.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damamba.models.layers import EPS, LayerNorm2d, Permute, layer_norm
from damamba.models.lean import SAMPLE, SCAN, Conv, Linear, lean

GROUP_CHANNELS = 16
DT_MIN, DT_MAX = 0.001, 0.1


class DynamicAdaptiveScan(nn.Module):
    """Predicts from x where the sampled map is read: so the order of the scan follows the picture."""

    def __init__(self, channels: int):
        super().__init__()
        self.dw_conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Sequential(Permute(), nn.LayerNorm(channels, eps=EPS)),
            nn.GELU(),
        )
        self.offset = nn.Linear(channels, 2 * channels // GROUP_CHANNELS)

    def forward(self, features: Tensor) -> Tensor:
        """The depthwise convolution of x, [B, C, H, W] -> offsets in pixels, [B, H, W, 2G].

        In float32 at least: half precision is too coarse for a position.
        """
        norm = self.dw_conv[1][1]
        dtype = torch.promote_types(features.dtype, torch.float32)
        weights = self.offset.weight.to(dtype), self.offset.bias.to(dtype)
        return lean(_offset_features, (features, norm.weight, norm.bias), Linear(), weights)


def _offset_features(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor]:
    features = layer_norm(x.permute(0, 2, 3, 1), weight, bias)
    features = F.gelu(features) if torch.is_grad_enabled() else torch.ops.aten.gelu_(features)
    return (features.to(torch.promote_types(x.dtype, torch.float32)),)


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
        return self.mix(self.in_proj(x), self.da_scan.dw_conv[0](x))

    def entrance(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """The weights of the two convolutions that read the mixer's input."""
        offsets = self.da_scan.dw_conv[0]
        return self.in_proj.weight.to(dtype), offsets.weight.to(dtype), offsets.bias.to(dtype)

    def weights(self) -> tuple[Tensor, ...]:
        """All of them, in the order of :class:`damamba.models.by_hand.Weights`, from ``enter`` on."""
        looks, (_, norm), _ = self.da_scan.dw_conv
        return (
            self.in_proj.weight,
            looks.weight,
            looks.bias,
            norm.weight,
            norm.bias,
            self.da_scan.offset.weight,
            self.da_scan.offset.bias,
            self.conv2d.weight,
            self.conv2d.bias,
            self.x_proj_weight,
            self.dt_projs_weight,
            self.A_logs,
            self.Ds,
            self.dt_projs_bias,
            self.out_norm.norm.weight,
            self.out_norm.norm.bias,
            self.out_proj.weight,
        )

    def mix(self, projected: Tensor, features: Tensor) -> Tensor:
        """The outputs of these two, [B, C, H, W] -> [B, C, H, W]."""
        offset = self.da_scan(features)
        u = lean(_activate, (self.conv2d(projected), offset), SAMPLE)  # [B, H, W, C]
        return self.leave(self.scan_map(u))

    def scan_map(self, u: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H, W, C], row by row."""
        return self.scan(u.flatten(1, 2)).unflatten(1, u.shape[1:3])

    def leave(self, y: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, C, H, W]."""
        norm = self.out_norm.norm
        return lean(_normalise, (y, norm.weight, norm.bias), Conv(), (self.out_proj.weight.to(y.dtype),))

    def scan(self, u: Tensor) -> Tensor:
        """[B, L, C] -> [B, L, C]."""
        weights = self.x_proj_weight.to(u.dtype), self.dt_projs_weight.to(u.dtype)
        return lean(_scan_inputs, (u, *weights, self.A_logs, self.Ds, self.dt_projs_bias), SCAN)


def _activate(z: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    return F.silu(z).permute(0, 2, 3, 1), offset


def _scan_inputs(
    u: Tensor, project: Tensor, expand: Tensor, A_log: Tensor, D: Tensor, dt_bias: Tensor
) -> tuple[Tensor, ...]:
    dt_raw, B, C = F.linear(u, project).split((expand.shape[1], 1, 1), dim=2)
    A = -A_log.to(torch.promote_types(u.dtype, torch.float32)).exp().squeeze(1)  # in float16 -exp(12) is infinite
    dt = dt_raw @ expand.t().contiguous()  # so laid out, its two derivatives take a quarter of the time on the CPU
    return u, dt, A, B.squeeze(2), C.squeeze(2), D, dt_bias


def _normalise(y: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor]:
    return (layer_norm(y, weight, bias).permute(0, 3, 1, 2),)
