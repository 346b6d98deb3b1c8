"""Go through a map [B, C, H, W] in strips of rows, so that what is wide inside stays small."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

STRIP = 20 * 2**20  # bytes of the widest map inside: what the CPU's caches hold and the allocator does not give back


class Last(NamedTuple):
    """The last step to a result, which writes it where it belongs: ``step(*args, out=...)``, element by element."""

    step: Callable[..., Tensor]
    args: tuple[Tensor, ...]  # the first one is of the result's shape and dtype, and may be overwritten


def _write(result: Tensor | Last, out: Tensor) -> None:
    if isinstance(result, Last):
        result.step(*result.args, out=out)
    else:
        out.copy_(result)


def _finish(result: Tensor | Last) -> Tensor:
    if not isinstance(result, Last):
        return result
    out = {} if torch.compiler.is_compiling() else {'out': result.args[0]}
    return result.step(*result.args, **out)


def in_strips(
    function: Callable[..., tuple[Tensor | Last, ...]], maps: Sequence[Tensor], widest: int, halo: int, stride: int = 1
) -> tuple[Tensor, ...]:
    """Return ``function(*maps, all rows)``; on the CPU, where a map inside is large, strip by strip. For inference.

    Args:
        function: of the same part of each map, and of the rows of its result that are wanted; as far as the maps go,
            the part reaches ``halo`` rows of the result further. It gives maps of those rows,
            channels-last, or their last steps.
        maps: of one height and width, channels-last.
        widest: numbers in the largest map inside, for one picture.
        stride: rows of the maps for each row of the result.
    """
    height = -(-maps[0].shape[2] // stride)
    whole = torch.compiler.is_compiling() or maps[0].device.type != 'cpu' or not len(maps[0])
    strips = 1 if whole else -(-widest * maps[0].element_size() // STRIP)
    if strips <= 1:
        return tuple(map(_finish, function(*maps, slice(0, height))))
    batch, rows = len(maps[0]), -(-height // strips)
    outs: list[Tensor] = []
    for image in range(batch):
        for top in range(0, height, rows):
            first = max(top - halo, 0)
            last = min(top + rows, height) + halo
            parts = [x[image : image + 1, :, first * stride : last * stride] for x in maps]
            results = function(*parts, slice(top - first, last - halo - first))
            outs = outs or [_like(result, batch, height) for result in results]
            for result, out in zip(results, outs, strict=True):
                _write(result, out[image : image + 1, :, top : top + rows])
    return tuple(outs)


def _like(strip: Tensor | Last, batch: int, height: int) -> Tensor:
    """A map for all the strips."""
    strip = strip.args[0] if isinstance(strip, Last) else strip
    size = batch, strip.shape[1], height, strip.shape[3]
    return torch.empty(size, dtype=strip.dtype, device=strip.device, memory_format=torch.channels_last)
