"""What the kernels of :mod:`damamba.ops.adaptive_sample.numba_kernels` are given. Letters as there."""

from functools import cache
from types import ModuleType

import torch.nn.functional as F
from torch import Tensor

from damamba.ops.cpu import threads
from damamba.ops.cpu.threads import WIDTH, dense, empty, run, team, zeros


def why_not(x: Tensor, offset: Tensor) -> str | None:
    """Say why the kernels can't run these arguments, or return None."""
    return threads.why_not(x)


@cache
def _kernels() -> ModuleType:
    """Imported when they are needed: Numba takes a while to load, and longer to compile."""
    from damamba.ops.adaptive_sample import numba_kernels

    return numba_kernels


def forward(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x (B, H, W, C) at offset (B, H, W, 2G); see :func:`damamba.ops.adaptive_sample`."""
    groups = offset.shape[3] // 2
    wide = _wide(x, groups)
    y = empty(*wide.shape)
    run(_kernels().forward, team(x.shape[0] * x.shape[1]), wide, dense(offset), y, *wide.shape, groups)
    return _narrow(y, x, groups)


def backward(dy: Tensor, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and offset, of their dtypes."""
    groups = offset.shape[3] // 2
    wide = _wide(x, groups)
    dx, doffset = zeros(*wide.shape), zeros(*offset.shape)
    tensors = _wide(dy, groups), wide, dense(offset), dx, doffset
    run(_kernels().backward, team(x.shape[0] * groups), *tensors, *wide.shape, groups)
    return _narrow(dx, x, groups), doffset.to(offset.dtype)


def _wide(x: Tensor, groups: int) -> Tensor:
    """In contiguous float32, with channels of zeros in each group up to a multiple of WIDTH."""
    more = -(x.shape[3] // groups) % WIDTH
    return dense(F.pad(x.float().unflatten(3, (groups, -1)), (0, more)).flatten(3) if more else x)


def _narrow(value: Tensor, x: Tensor, groups: int) -> Tensor:
    """The channels and the dtype of x, and no view of another tensor."""
    if value.shape == x.shape:
        return value.to(x.dtype)
    y = x.new_empty(x.shape)
    y.unflatten(3, (groups, -1)).copy_(value.unflatten(3, (groups, -1))[..., : x.shape[3] // groups])
    return y
