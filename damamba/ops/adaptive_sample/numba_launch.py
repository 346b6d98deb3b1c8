"""What the kernels of :mod:`damamba.ops.adaptive_sample.numba_kernels` are given. Letters as there."""

from functools import cache, partial
from importlib import import_module

from torch import Tensor

from damamba.ops.cpu import threads
from damamba.ops.cpu.threads import dense, empty, narrow, run, team, widen, zeros


def why_not(x: Tensor, offset: Tensor) -> str | None:
    """Say why the kernels can't run these arguments, or return None."""
    return threads.why_not(x)


# Imported when they are needed: Numba takes a while to load, and longer to compile.
_kernels = cache(partial(import_module, 'damamba.ops.adaptive_sample.numba_kernels'))


def forward(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x (B, H, W, C) at offset (B, H, W, 2G); see :func:`damamba.ops.adaptive_sample`."""
    groups = offset.shape[3] // 2
    wide = widen(x, groups)
    y = empty(*wide.shape)
    run(_kernels().forward, team(x.shape[0] * x.shape[1]), wide, dense(offset), y, *wide.shape, groups)
    return narrow(y, x, groups)


def backward(dy: Tensor, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and offset, of their dtypes."""
    groups = offset.shape[3] // 2
    wide = widen(x, groups)
    dx, doffset = zeros(*wide.shape), zeros(*offset.shape)
    tensors = widen(dy, groups), wide, dense(offset), dx, doffset
    run(_kernels().backward, team(x.shape[0] * groups), *tensors, *wide.shape, groups)
    return narrow(dx, x, groups), doffset.to(offset.dtype)
