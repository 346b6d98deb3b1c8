"""Go through a map [B, C, H, W] in strips of rows, so that what is wide inside stays small."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

STRIP = 16 * 2**20  # bytes of the widest map inside: what the CPU's caches hold and the allocator does not give back

_cuts = ContextVar('cuts maps into strips', default=True)


@contextmanager
def whole_maps() -> Iterator[None]:
    """Cut nothing into strips inside: for who counts operations, since strips overlap by two rows."""
    token = _cuts.set(False)
    try:
        yield
    finally:
        _cuts.reset(token)


def in_strips(function: Callable[[Tensor, slice], Tensor], x: Tensor, width: int) -> Tensor:
    """Return ``function(x, all rows)``; on the CPU, where the map inside is large, strip by strip. For inference.

    Args:
        function: of a part of x and of the rows wanted of it; each of these has its neighbours above and below in the
            part, as far as the map has any. It gives those rows, of x's channels and dtype.
        width: channels of the widest map inside.
    """
    height = x.shape[2]
    strips = -(-height * x.shape[3] * width * x.element_size() // STRIP)
    if strips <= 1 or x.device.type != 'cpu' or torch.compiler.is_compiling() or not _cuts.get():
        return function(x, slice(0, height))
    rows = -(-height // strips)
    out = torch.empty_like(x, memory_format=torch.channels_last)
    for image, result in zip(x.split(1), out.split(1), strict=True):
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first = max(top - 1, 0)
            result[:, :, top:bottom] = function(image[:, :, first : bottom + 1], slice(top - first, bottom - first))
    return out
