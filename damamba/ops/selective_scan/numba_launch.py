"""What the kernels of :mod:`damamba.ops.selective_scan.numba_kernels` are given. N batch, L length, C channels."""

from functools import cache
from types import ModuleType

import torch.nn.functional as F
from torch import Tensor

from damamba.ops.cpu import threads
from damamba.ops.cpu.threads import WIDTH, dense, empty, run, team, zeros


def why_not(u: Tensor, *others: Tensor) -> str | None:
    """Say why the kernels can't run these arguments, or return None."""
    return threads.why_not(u)


@cache
def _kernels() -> ModuleType:
    """Imported when they are needed: Numba takes a while to load, and longer to compile."""
    from damamba.ops.selective_scan import numba_kernels

    return numba_kernels


def forward(*inputs: Tensor) -> Tensor:
    """Scan; inputs as of :func:`damamba.ops.selective_scan`, in its order."""
    given = _plain(*inputs)
    y = empty(*given[0].shape)
    _scan(given, y)
    return _like(y, inputs[0])


def _scan(given: list[Tensor], y: Tensor) -> Tensor:
    """Fill y; returns the states at the segments' beginnings."""
    batch, length, channels = y.shape
    starts = zeros(-(-length // _kernels().SEGMENT) + 1, batch, channels)
    run(_kernels().forward, team(batch * channels // WIDTH), *given, y, starts, *y.shape)
    return starts


def backward(dy: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the seven inputs, in their order and of their dtypes."""
    given = _plain(*inputs)
    batch, length, channels = shape = given[0].shape
    count = team(batch * channels // WIDTH)
    du, ddt = empty(*shape), empty(*shape)
    starts = _scan(given, du)  # what it writes to du is written over below
    by_channel = zeros(4, batch, channels)  # the last one is the kernel's own
    by_step = zeros(count, 2, batch, length)
    steps = empty(count, 4, _kernels().SEGMENT + 1, WIDTH)
    run(_kernels().backward, count, _wide(dy), *given, du, ddt, by_channel, by_step, starts, steps, *shape)
    dA, dD, dbias = (part.sum(dim=0) for part in by_channel[:3])
    dB, dC = (part.sum(dim=0) for part in by_step.unbind(1))
    return tuple(_like(*pair) for pair in zip((du, ddt, dA, dB, dC, dD, dbias), inputs, strict=True))


def _plain(*inputs: Tensor) -> list[Tensor]:
    """The inputs as the kernels take them."""
    u, dt, A, B, C, D, dt_bias = inputs
    return [_wide(u), _wide(dt), _wide(A), dense(B), dense(C), _wide(D), _wide(dt_bias)]


def _wide(value: Tensor) -> Tensor:
    """In contiguous float32, with channels of zeros up to a multiple of WIDTH."""
    more = -value.shape[-1] % WIDTH
    return dense(F.pad(value, (0, more)) if more else value)


def _like(value: Tensor, model: Tensor) -> Tensor:
    """The channels and the dtype of an input, and no view of another tensor."""
    if value.shape == model.shape:
        return value.to(model.dtype)
    return model.new_empty(model.shape).copy_(value[..., : model.shape[-1]])
