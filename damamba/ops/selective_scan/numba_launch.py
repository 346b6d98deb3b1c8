"""What the kernels of :mod:`damamba.ops.selective_scan.numba_kernels` are given. N batch, L length, C channels."""

from types import ModuleType

import torch.nn.functional as F
from torch import Tensor

from damamba.ops.cpu import threads
from damamba.ops.cpu.threads import WIDTH, empty, run, team, zeros


def why_not(u: Tensor, *others: Tensor) -> str | None:
    """Say why the kernels can't run these arguments, or return None."""
    return threads.why_not(u)


def _kernels() -> ModuleType:
    """Imported when they are needed: Numba takes a while to load, and longer to compile."""
    from damamba.ops.selective_scan import numba_kernels

    return numba_kernels


def forward(*inputs: Tensor) -> Tensor:
    """Scan; inputs as of :func:`damamba.ops.selective_scan`, in its order."""
    u, *_ = plain = _plain(*inputs)
    batch, _, channels = u.shape
    y, states = empty(*u.shape), zeros(batch, channels)
    run(_kernels().forward, team(batch * channels // WIDTH), *plain, y, states, *u.shape)
    return _like(y, inputs[0])


def backward(dy: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the seven inputs, in their order and of their dtypes."""
    u, *_ = plain = _plain(*inputs)
    batch, length, channels = u.shape
    count, segment = team(batch * channels // WIDTH), _kernels().SEGMENT
    du, ddt = empty(*u.shape), empty(*u.shape)
    by_channel = zeros(3, batch, channels)  # dA, dD, dbias
    by_step = zeros(2, count, batch, length)  # dB, dC
    starts, ends = zeros(-(-length // segment) + 1, batch, channels), zeros(batch, channels)
    steps = empty(count, 4, segment + 1, WIDTH)
    scratch = du, ddt, *by_channel, *by_step, starts, ends, steps
    run(_kernels().backward, count, _wide(dy), *plain, *scratch, *u.shape)
    dA, dD, dbias, dB, dC = (part.sum(dim=0) for part in (*by_channel, *by_step))
    return tuple(_like(*pair) for pair in zip((du, ddt, dA, dB, dC, dD, dbias), inputs, strict=True))


def _plain(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, dt_bias: Tensor) -> list[Tensor]:
    """The inputs as the kernels take them."""
    B, C = B.float().contiguous(), C.float().contiguous()
    return [_wide(u), _wide(dt), _wide(A), B, C, _wide(D), _wide(dt_bias)]


def _wide(value: Tensor) -> Tensor:
    """In contiguous float32, with channels of zeros up to a multiple of WIDTH."""
    more = -value.shape[-1] % WIDTH
    return (F.pad(value.float(), (0, more)) if more else value.float()).contiguous()


def _like(value: Tensor, model: Tensor) -> Tensor:
    """The channels and the dtype of an input."""
    return value[..., : model.shape[-1]].to(model.dtype).contiguous()
