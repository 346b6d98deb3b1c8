"""The convolutional layers of DAMamba. B batch, C channels, H x W map.

Maps are [B, C, H, W] in channels-last memory, so that a permute costs nothing. The attribute names are those of the
published weights; every module in the tree is what runs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damamba import execution
from damamba.models.arch import ArgumentError

EPS = 1e-6  # of every layer normalisation
NORMS = {'BN': nn.BatchNorm2d, 'BN2d': nn.BatchNorm2d, 'SyncBN': nn.SyncBatchNorm}


def build_norm(channels: int, norm_cfg: dict) -> nn.Module:
    """Build a batch normalisation from MMDetection's ``norm_cfg``, such as ``dict(type='SyncBN')``.

    Other keys are those of torch's class (eps, momentum, ...), and ``requires_grad``.
    """
    options = dict(norm_cfg or {})
    kind = options.pop('type', None)
    if kind not in NORMS:
        raise ArgumentError(f'DAMamba: norm_cfg type must be one of {", ".join(NORMS)}, got {kind!r}')
    requires_grad = options.pop('requires_grad', True)
    return NORMS[kind](channels, **options).requires_grad_(requires_grad)


class Permute(nn.Module):
    """[B, C, H, W] -> [B, H, W, C], a view."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation of the last axis, in its input's dtype also under autocast, which would write float32."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class LayerNorm2d(nn.Module):
    """Layer normalisation of the channels of a map."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Float32Linear(nn.Linear):
    """A linear layer in float32 at least, also under autocast: half precision is too coarse for a position."""

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        with without_autocast(x):
            return F.linear(x.to(dtype), self.weight.to(dtype), self.bias.to(dtype))


def without_autocast(x: Tensor) -> torch.autocast:
    """A context in which nothing is cast."""
    return torch.autocast('cpu' if x.is_meta else x.device.type, enabled=False)  # meta has no autocast


class ShiftedConv2d(nn.Conv2d):
    """A convolution by weight + shift, added in the weight's own precision."""

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight + shift, self.bias)


class ResidualDepthwiseConv(nn.Module):
    """x + dw3x3(x) as one convolution: the identity is a kernel with 1 in the middle."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = ShiftedConv2d(channels, channels, 3, padding=1, groups=channels)
        identity = torch.zeros(1, 1, 3, 3)
        identity[..., 1, 1] = 1
        self.conv_constant = nn.Parameter(identity, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, self.conv_constant.detach())  # never trained, whoever thaws parameters

    def merged(self) -> nn.Conv2d:
        """The same as a plain convolution."""
        conv = self.conv
        plain = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, groups=conv.groups)
        plain.weight = nn.Parameter(conv.weight.detach() + self.conv_constant)
        plain.bias = conv.bias
        return plain.train(self.training)


class FeedForward(nn.Module):
    """1x1 to ratio * C channels, GELU, residual depthwise 3x3, 1x1 back to C."""

    def __init__(self, channels: int, ratio: float):
        super().__init__()
        hidden = int(channels * ratio)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.act = nn.GELU()
        self.conv = ResidualDepthwiseConv(hidden)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.conv(self.act(self.fc1(x))))


class Stem(nn.Sequential):
    """Four 3x3 convolutions, no activation after the last: [B, 3, H, W] -> [B, C, H/4, W/4]."""

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict):
        half = channels // 2
        layers: list[nn.Module] = []
        for before, after, stride in (
            (in_channels, half, 2),
            (half, half, 1),
            (half, channels, 2),
            (channels, channels, 1),
        ):
            layers += [nn.Conv2d(before, after, 3, stride, 1), build_norm(after, norm_cfg), nn.GELU()]
        super().__init__(*layers[:-1])
        execution.note_parts(self)

    def forward(self, x: Tensor) -> Tensor:
        return execution.run_stem(self, x)

    def formula(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Downsample(nn.Sequential):
    """[B, before, H, W] -> [B, after, H/2, W/2]."""

    def __init__(self, before: int, after: int, norm_cfg: dict):
        super().__init__(nn.Conv2d(before, after, 3, 2, 1), build_norm(after, norm_cfg))
        execution.note_parts(self)
