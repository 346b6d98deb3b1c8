"""Inference on the CPU: a map goes through a block in strips of rows, so that what is wide inside stays in the caches.

The feed-forward network widens the map three or four times, to 86 MB at 800x1344. A strip of it is made, used and
dropped before the next one. The rows that a strip needs of its neighbours are computed twice. Batch normalisation is
folded into the convolution beside it, and GELU is done where that writes.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damamba.execution import folding
from damamba.execution.team import each
from damamba.ops import adaptive_sample

STRIP = 20 * 2**20  # bytes of the widest map inside: what the caches hold for each thread
FEWEST = 16  # rows of a strip, down to which maps are cut for the threads' sake
FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_convolution_pointwise')  # torch's own
Index = tuple[slice, slice, slice]  # of [B, C, H, W]
# Once a block of this size was freed, glibc keeps what strips free: fresh pages took a tenth of a forward.
torch.empty(2**25 - 2**16, dtype=torch.uint8, device='cpu')


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
    da_scan, channels, wide = mixer.da_scan, x.shape[1], mlp.fc1.out_channels
    embedded, z, offset = block.pos_embed(x), _like(x), _like(x, da_scan.offset.out_features, torch.float32)
    widen = folding.before(block.norm2, mlp.fc1)

    def look(strip: Strip) -> None:
        normed = block.norm1(embedded[strip.read])
        torch.ops.aten.silu.out(mixer.conv2d(mixer.in_proj(normed))[strip.inner], out=z[strip.rows])
        convolve, norm, act = da_scan.dw_conv
        features = _gelu(norm(convolve(normed)[strip.inner]), act)
        offset[strip.rows] = da_scan.offset(features).permute(0, 3, 1, 2)

    each(look, strips(x, 2 * channels, halo=1))
    u = adaptive_sample(z.permute(0, 2, 3, 1), offset.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    dt, by_step = z, _like(x, 2)  # z's memory is free, and so is dt's after the scan

    def step(strip: Strip) -> None:
        for result, out in zip(mixer.steps(u[strip.rows].permute(0, 2, 3, 1)), (dt, by_step), strict=True):
            out[strip.rows] = result.permute(0, 3, 1, 2)

    each(step, strips(x, channels, halo=0))
    scanned = mixer.scan_steps(*(t.permute(0, 2, 3, 1) for t in (u, dt, by_step))).permute(0, 3, 1, 2)
    y = dt

    def mix(strip: Strip) -> None:
        here = block.scale(mixer.out_proj(mixer.out_norm(scanned[strip.read])), block.layer_scale_1)
        here.add_(embedded[strip.read])
        hidden = mlp.conv(conv_gelu(here, *widen, mlp.act))[strip.inner]
        torch.add(block.scale(mlp.fc2(hidden), block.layer_scale_2), here[strip.inner], out=y[strip.rows])

    each(mix, strips(x, wide, halo=1))
    return y


def run_stem(stem: nn.Sequential, x: Tensor) -> Tensor:
    """The formula: [B, 3, H, W] -> [B, C, H/4, W/4]."""
    *first, last = [(stem[i], *folding.after(stem[i], stem[i + 1])) for i in range(0, len(stem), 3)]
    height, width = (-(-size // 4) for size in x.shape[2:])
    y = _map(x, last[0].out_channels, height, width, x.dtype)

    def convolve(strip: Strip) -> None:
        here = x[strip.read]
        for i, (conv, weight, bias) in enumerate(first):
            here = conv_gelu(here, weight, bias, stem[3 * i + 2], conv.stride[0])
        y[strip.rows] = F.conv2d(here, *last[1:], padding=1)[strip.inner]

    each(convolve, strips(y, 4 * first[0][0].out_channels, halo=3, stride=4))
    return y


def strips(x: Tensor, wide: int, halo: int, stride: int = 1) -> list[Strip]:
    """Cut a result [B, C, H, W] into strips whose widest map, of so many channels, is about STRIP bytes at most.

    Args:
        halo: rows of the result around a strip on which it depends.
        stride: rows of what is read for each row of the result.
    """
    batch, _, height, width = x.shape
    rows = _rows(height, -(-wide * height * width * x.element_size() // STRIP), batch)
    return [
        _strip(image, top, min(top + rows, height), halo, stride)
        for image in range(batch)
        for top in range(0, height, rows)
    ]


def _rows(height: int, count: int, batch: int) -> int:
    """Rows of a strip, for this many strips of a picture; or for a few more, so that no thread waits for its share."""
    threads = torch.get_num_threads()
    step = threads // math.gcd(batch, threads)
    shared = -(-height // (-(-count // step) * step))
    return shared if shared >= FEWEST else -(-height // count)


def _strip(image: int, top: int, bottom: int, halo: int, stride: int) -> Strip:
    one, every, first = slice(image, image + 1), slice(None), max(top - halo, 0)
    return Strip(
        read=(one, every, slice(first * stride, (bottom + halo) * stride)),
        inner=(every, every, slice(top - first, bottom - first)),
        rows=(one, every, slice(top, bottom)),
    )


def _like(x: Tensor, channels: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """A map of x's size, and of at least this precision."""
    _, own, height, width = x.shape
    return _map(x, channels or own, height, width, torch.promote_types(x.dtype, dtype or x.dtype))


def _map(x: Tensor, channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """A new map for the pictures of x, whatever torch's default device is."""
    shape = len(x), channels, height, width
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=torch.channels_last)


def conv_gelu(x: Tensor, weight: Tensor, bias: Tensor, act: nn.GELU, stride: int = 1) -> Tensor:
    """GELU of a 1x1 or 3x3 convolution: in one pass where oneDNN takes it, else in the convolution's memory."""
    padding = weight.shape[2] // 2
    if FUSED and torch.backends.mkldnn.enabled and x.dtype == torch.float32:
        sizes = [padding] * 2, [stride] * 2, [1, 1]
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *sizes, 1, 'gelu', [], act.approximate)
    return _gelu(F.conv2d(x, weight, bias, stride, padding), act)


def _gelu(x: Tensor, act: nn.GELU) -> Tensor:
    return torch.ops.aten.gelu_(x, approximate=act.approximate)
