"""What the kernels of :mod:`damamba.ops.gelu_conv.numba_kernels` are given: maps [B, C, H, W], weights [C, 1, 3, 3]."""

import os
from types import ModuleType

from torch import Tensor

from damamba.ops.backend import ENV
from damamba.ops.cpu import threads
from damamba.ops.cpu.threads import WIDTH, empty, run, team, zeros

NAME = 'numba'


def takes(x: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether the kernels run on these, and nobody asked for another backend."""
    fits = weight.shape == (x.shape[1], 1, 3, 3) and x.shape[1] % WIDTH == 0 and x.numel() > 0
    asked = os.environ.get(ENV) or NAME
    return fits and asked == NAME and threads.plain(x, weight, bias) and threads.missing() is None


def _kernels() -> ModuleType:
    """Imported when they are needed: Numba takes a while to load, and longer to compile."""
    from damamba.ops.gelu_conv import numba_kernels

    return numba_kernels


def backward(dy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias from that of the convolution of GELU(x)."""
    maps, taps = _rows(x), _taps(weight.flip(2, 3))
    batch, height, width, channels = maps.shape
    dx, count = empty(*maps.shape), team(batch * height)
    sums = zeros(count, _kernels().SUMS, channels)
    room = zeros(count, _kernels().ROWS, width + 2, channels)
    run(_kernels().backward, count, _rows(dy), maps, taps, dx, sums, room, *maps.shape)
    sums = sums.sum(dim=0)
    dweight = sums[:9].view(3, 3, 1, -1).permute(3, 2, 1, 0).flip(2, 3)
    return dx.permute(0, 3, 1, 2), dweight, sums[9]


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


def _taps(weight: Tensor) -> Tensor:
    """[C, 1, 3, 3] -> (9, C), column by column."""
    return weight.permute(3, 2, 1, 0).contiguous()
