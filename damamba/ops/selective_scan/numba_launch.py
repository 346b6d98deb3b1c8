"""What the kernels of :mod:`damamba.ops.selective_scan.numba_kernels` are given. N batch, L length, C channels."""

from functools import cache
from types import ModuleType

import torch.nn.functional as F
from torch import Tensor

from damamba.ops.cpu import threads
from damamba.ops.cpu.threads import WIDTH, dense, empty, room, run, team, zeros


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
    return scan(*inputs)[0]


def scan(*inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The same, and the states at the segments' beginnings, which :func:`gradients` may be given."""
    given = _plain(*inputs)
    y = empty(*given[0].shape)
    starts = _scan(given, y)
    return _like(y, inputs[0]), starts


def _scan(given: list[Tensor], y: Tensor) -> Tensor:
    """Fill y; the states at the segments' beginnings."""
    batch, length, channels = y.shape
    starts = zeros(-(-length // _kernels().SEGMENT) + 1, batch, channels)
    run(_kernels().forward, team(batch * channels // WIDTH), *given, y, starts, *y.shape)
    return starts


def backward(dy: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the seven inputs, in their order and of their dtypes."""
    du, ddt, (dA, dD, dbias), (dB, dC) = gradients(dy, *inputs)
    parts = (part.clone() for part in (dA, dB, dC, dD, dbias))  # none may share memory with another
    return tuple(_like(*pair) for pair in zip((du, ddt, *parts), inputs, strict=True))


def gradients(dy: Tensor, *inputs: Tensor, starts: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Those of u and dt [N, L, C], of A, D and dt_bias [3, C], of B and C [2, N, L]; C may be more than u's.

    Args:
        starts: what :func:`scan` gave beside its result; computed anew if it is missing.
    """
    given = _plain(*inputs)
    batch, length, channels = shape = given[0].shape
    count, segment = team(batch * channels // WIDTH), _kernels().SEGMENT
    du, ddt = empty(*shape), empty(*shape)
    if starts is None:
        starts = _scan(given, du)  # what it writes there is written over below
    by_channel = zeros(4, batch, channels)  # the last one is the kernel's own
    by_step = zeros(count, 2, batch, length)
    steps = room(count, 4, segment + 1, WIDTH)
    run(_kernels().backward, count, _wide(dy), *given, du, ddt, by_channel, by_step, starts, steps, *shape)
    return du, ddt, by_channel[:3].sum(dim=1), by_step.sum(dim=0)


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
