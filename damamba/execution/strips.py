"""Inference on the CPU: a map goes through a block in strips of rows, so that what is wide inside stays in the caches.

The feed-forward network widens the map three or four times, to 86 MB at 800x1344. A strip of it is made, used and
dropped before the next one. The rows that a strip needs of its neighbours are computed twice. Batch normalisation is
folded into the convolution beside it, and GELU is done where that convolution writes.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damamba.execution import folding
from damamba.ops import adaptive_sample

STRIP = 20 * 2**20  # bytes of the widest map inside: what the CPU's caches hold and the allocator does not give back
ONEDNN = 'mkldnn::_convolution_pointwise'  # private to torch
Index = tuple[slice, slice, slice]  # of [B, C, H, W]


class Strip(NamedTuple):
    """A strip of one picture."""

    read: Index  # what is read of the map: its rows, and some around them
    inner: Index  # its own rows, within what these become
    rows: Index  # where they belong in the result


def applies(block: nn.Module, x: Tensor) -> bool:
    """Whether this is inference on the CPU."""
    return _infers(block, x) and folding.can_fold(block.norm2)


def applies_to_stem(stem: nn.Sequential, x: Tensor) -> bool:
    """Whether this is inference on the CPU."""
    return _infers(stem, x) and all(folding.can_fold(norm) for norm in list(stem)[1::3])


def _infers(module: nn.Module, x: Tensor) -> bool:
    if not x.is_cpu or module.training or torch.is_grad_enabled() or not x.numel():
        return False
    return not torch.is_autocast_enabled('cpu') or x.dtype == torch.get_autocast_dtype('cpu')  # the result's is x's


def run(block: nn.Module, x: Tensor) -> Tensor:
    """The formula: [B, C, H, W] -> [B, C, H, W]."""
    mixer, mlp = block.token_mixer, block.mlp
    batch, _, height, width = x.shape
    embedded, z = _like(x), _like(x)
    offset = x.new_empty(batch, height, width, mixer.da_scan.offset.out_features)
    offset = offset.to(torch.promote_types(x.dtype, torch.float32))
    wide, widen = mlp.fc1.out_channels, folding.before(block.norm2, mlp.fc1)

    def before(strip: Strip) -> None:
        here = block.pos_embed(x[strip.read])
        normed = block.norm1(here)
        embedded[strip.rows] = here[strip.inner]
        torch.ops.aten.silu.out(mixer.conv2d(mixer.in_proj(normed))[strip.inner], out=z[strip.rows])
        offset.permute(0, 3, 1, 2)[strip.rows] = mixer.da_scan(normed).permute(0, 3, 1, 2)[strip.inner]

    def behind(strip: Strip) -> None:
        here = _scaled(mixer.out_proj(mixer.out_norm(u[strip.read])), block.layer_scale_1).add_(embedded[strip.read])
        hidden = mlp.conv(conv_gelu(here, *widen, mlp.act))[strip.inner]
        torch.add(_scaled(mlp.fc2(hidden), block.layer_scale_2), here[strip.inner], out=y[strip.rows])

    each(before, strips(x, wide, halo=2))
    u = adaptive_sample(z.permute(0, 2, 3, 1), offset)
    del offset
    u = mixer.scan(u).permute(0, 3, 1, 2)
    y = z  # its memory is free
    each(behind, strips(x, wide, halo=1))
    return y


def run_stem(stem: nn.Sequential, x: Tensor) -> Tensor:
    """The formula: [B, 3, H, W] -> [B, C, H/4, W/4]."""
    *first, last = [(stem[i], *folding.after(stem[i], stem[i + 1])) for i in range(0, len(stem), 3)]
    height, width = (-(-size // 4) for size in x.shape[2:])
    y = torch.empty(len(x), last[0].out_channels, height, width, dtype=x.dtype, memory_format=torch.channels_last)

    def convolve(strip: Strip) -> None:
        here = x[strip.read]
        for i, (conv, weight, bias) in enumerate(first):
            here = conv_gelu(here, weight, bias, stem[3 * i + 2], conv.stride[0])
        y[strip.rows] = F.conv2d(here, *last[1:], padding=1)[strip.inner]

    each(convolve, strips(y, 4 * first[0][0].out_channels, halo=3, stride=4))
    return y


def each(function: Callable[[Strip], None], pieces: Iterator[Strip]) -> None:
    for piece in pieces:
        function(piece)


def strips(x: Tensor, wide: int, halo: int, stride: int = 1) -> Iterator[Strip]:
    """Cut a result [B, C, H, W] into strips whose widest map, of so many channels, is at most STRIP bytes.

    Args:
        halo: rows of the result around a strip on which it depends.
        stride: rows of what is read for each row of the result.
    """
    batch, _, height, width = x.shape
    rows = max(-(-height // max(-(-wide * height * width * x.element_size() // STRIP), 1)), 1)
    for image in range(batch):
        for top in range(0, height, rows):
            bottom, first = min(top + rows, height), max(top - halo, 0)
            one, all_channels = slice(image, image + 1), slice(None)
            yield Strip(
                read=(one, all_channels, slice(first * stride, (bottom + halo) * stride)),
                inner=(slice(None), all_channels, slice(top - first, bottom - first)),
                rows=(one, all_channels, slice(top, bottom)),
            )


def _like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else (x * scale.view(1, -1, 1, 1)).to(x.dtype)


def conv_gelu(x: Tensor, weight: Tensor, bias: Tensor, act: nn.GELU, stride: int = 1) -> Tensor:
    """GELU of a 1x1 or 3x3 convolution: in one pass where oneDNN takes it, else in place."""
    padding = weight.shape[2] // 2
    if x.dtype == torch.float32 and torch.backends.mkldnn.enabled and not torch.is_autocast_enabled('cpu') and _has():
        sizes = [padding] * 2, [stride] * 2, [1, 1]
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *sizes, 1, 'gelu', [], act.approximate)
    return torch.ops.aten.gelu_(F.conv2d(x, weight, bias, stride, padding), approximate=act.approximate)


@cache
def _has() -> bool:
    """Whether this torch has oneDNN's convolution with what follows it."""
    try:
        return torch._C._dispatch_has_kernel_for_dispatch_key(ONEDNN, 'CPU')
    except RuntimeError:  # it has no such operator
        return False
