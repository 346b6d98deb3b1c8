"""What the kernels of :mod:`damamba.ops.selective_scan.numba_kernels` are given. N batch, L length, C channels."""

from functools import cache, partial
from importlib import import_module

from torch import Tensor

from damamba.ops.cpu import threads
from damamba.ops.cpu.threads import WIDTH, dense, empty, narrow, run, team, widen, zeros


def why_not(u: Tensor, *others: Tensor) -> str | None:
    """Say why the kernels can't run these arguments, or return None."""
    return threads.why_not(u)


# Imported when they are needed: Numba takes a while to load, and longer to compile.
_kernels = cache(partial(import_module, 'damamba.ops.selective_scan.numba_kernels'))


def forward(*inputs: Tensor) -> Tensor:
    """Scan; inputs as of :func:`damamba.ops.selective_scan`, in its order."""
    given = _plain(*inputs)
    y = empty(*given[0].shape)
    _scan(given, y)
    return narrow(y, inputs[0])


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
    run(_kernels().backward, count, widen(dy), *given, du, ddt, by_channel, by_step, starts, steps, *shape)
    dA, dD, dbias = (part.sum(dim=0) for part in by_channel[:3])
    dB, dC = (part.sum(dim=0) for part in by_step.unbind(1))
    return tuple(narrow(*pair) for pair in zip((du, ddt, dA, dB, dC, dD, dbias), inputs, strict=True))


def _plain(*inputs: Tensor) -> list[Tensor]:
    """The inputs as the kernels take them."""
    u, dt, A, B, C, D, dt_bias = inputs
    return [widen(u), widen(dt), widen(A), dense(B), dense(C), widen(D), widen(dt_bias)]
