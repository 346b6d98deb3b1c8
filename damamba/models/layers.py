"""The convolutional layers of DAMamba. Maps are [B, C, H, W], in channels-last memory so that a permute costs nothing.

The attribute names are those of the published weights.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damamba.models import by_hand
from damamba.models.folding import can_fold, conv_gelu, folded, folded_before
from damamba.models.lean import Conv, lean
from damamba.models.strips import in_strips


class ArgumentError(ValueError):
    """An argument of the backbone that makes no sense; the text names it and what it should be."""


EPS = by_hand.EPS
HUGE = 2**23  # numbers in a feed-forward network's wide map, from which on one such map is kept, not two
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


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a map."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm_2d(x, self.norm.weight, self.norm.bias)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise the channels of [..., C] in x's dtype, also under autocast, which would write float32 maps."""
    with torch.autocast(x.device.type, enabled=False):
        return F.layer_norm(x, x.shape[-1:], weight.to(x.dtype), bias.to(x.dtype), EPS)


def layer_norm_2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same of [B, C, H, W]."""
    return layer_norm(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


class ResidualDepthwiseConv(nn.Module):
    """x + dw3x3(x) as one convolution: the identity is added to the kernel, in the kernel's own precision."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        identity = torch.zeros(1, 1, 3, 3)
        identity[..., 1, 1] = 1
        self.conv_constant = nn.Parameter(identity, requires_grad=False)
        self.merged = False
        self.register_load_state_dict_pre_hook(ResidualDepthwiseConv._part)

    def forward(self, x: Tensor) -> Tensor:
        return Conv().forward(x, self.kernel(x.dtype), self.conv.bias.to(x.dtype))

    def kernel(self, dtype: torch.dtype) -> Tensor:
        """The two kernels as one; the constant one is detached: never trained, whoever thaws parameters."""
        if self.merged:
            return self.conv.weight.to(dtype)
        return (self.conv.weight + self.conv_constant.detach()).to(dtype)

    def merge(self) -> None:
        """Make the two kernels one for good."""
        with torch.no_grad():
            self.conv.weight += self.conv_constant
            self.conv_constant.zero_()
        self.merged = True

    def _part(self, *args) -> None:
        """Weights are about to be loaded: two kernels again."""
        self.merged = False


class FeedForward(nn.Module):
    """1x1 to ratio * C channels, GELU, residual depthwise 3x3, 1x1 back to C.

    For the backward the outputs of both wide convolutions are kept; of huge maps the first one's alone.
    """

    def __init__(self, channels: int, ratio: float):
        super().__init__()
        hidden = int(channels * ratio)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.conv = ResidualDepthwiseConv(hidden)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        fc1, conv, fc2 = (tuple(module.parameters()) for module in (self.fc1, self.conv.conv, self.fc2))
        if by_hand.takes(x, (*fc1, *conv, *fc2)):
            keep = x.numel() // x.shape[1] * len(conv[1]) < HUGE
            return by_hand.Widening.apply(keep, x, *fc1, self.conv.kernel(x.dtype), conv[1], *fc2)
        hidden = self.fc1(x)
        dtype = hidden.dtype
        depthwise = self.conv.kernel(dtype), self.conv.conv.bias.to(dtype)
        if torch.compiler.is_compiling() or hidden.numel() < HUGE:
            return self.fc2(gelu_conv(hidden, *depthwise))
        return lean(_widest, (hidden, *depthwise), Conv(), (self.fc2.weight.to(dtype), self.fc2.bias.to(dtype)))

    def rows(self, x: Tensor, norm: nn.Module, rows: slice) -> Tensor:
        """These rows of self(norm(x)), without gradients; around them, those that the depthwise convolution reads."""
        hidden = conv_gelu(x, *folded_before(norm, self.fc1))
        return self.fc2(self.conv(hidden)[:, :, rows])


def _activated(hidden: Tensor) -> tuple[Tensor]:
    return (F.gelu(hidden),)


def _widest(hidden: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor]:
    return (gelu_conv(hidden, kernel, bias),)


def gelu_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A depthwise convolution of GELU(x), [B, C, H, W]; of larger maps, x alone is kept for the backward."""
    return lean(_activated, (x,), Conv(), (weight, bias))


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

    def forward(self, x: Tensor) -> Tensor:
        if all(can_fold(norm) for _, norm, _ in self._steps()):
            return self._infer(x)
        for conv, norm, first in self._steps():
            if first:
                x = norm(conv(x))
            else:
                weights = conv.weight.to(x.dtype), conv.bias.to(x.dtype)
                x = norm(lean(_activated, (x,), Conv(conv.stride[0]), weights))
        return x

    def _infer(self, x: Tensor) -> Tensor:
        *steps, last = [(*folded(conv, norm), conv.stride[0]) for conv, norm, _ in self._steps()]

        def run(x: Tensor, rows: slice) -> tuple[Tensor]:
            for step in steps:
                x = conv_gelu(x, *step)
            return (F.conv2d(x, *last, padding=1)[:, :, rows],)

        widest = x.shape[2] * x.shape[3] // 4 * self[0].out_channels
        return in_strips(run, (x,), widest, halo=3, stride=4)[0]

    def _steps(self) -> Iterator[tuple[nn.Conv2d, nn.Module, bool]]:
        """Each convolution with the normalisation after it, and whether it is the first; GELU lies between steps."""
        for i in range(0, len(self), 3):
            yield self[i], self[i + 1], i == 0


class Downsample(nn.Sequential):
    """[B, before, H, W] -> [B, after, H/2, W/2]."""

    def __init__(self, before: int, after: int, norm_cfg: dict):
        super().__init__(nn.Conv2d(before, after, 3, 2, 1), build_norm(after, norm_cfg))

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self
        return F.conv2d(x, *folded(conv, norm), conv.stride, conv.padding) if can_fold(norm) else norm(conv(x))
