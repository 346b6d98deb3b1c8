"""What the kernels of :mod:`damamba.ops.selective_scan.numba_kernels` are given. N batch, L length, C channels."""

from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from damamba.ops.threads import WIDTH, missing, run


def why_not(u: Tensor, *others: Tensor) -> str | None:
    """Say why the kernels can't run these arguments, or return None."""
    if u.device.type != 'cpu':
        return f'it is for the CPU, and the arguments are on {u.device.type}'
    if u.dtype == torch.float64:
        return 'it computes in float32, and the arguments are float64'
    return missing()


def _kernels() -> ModuleType:
    """Imported when they are needed: Numba takes a while to load, and longer to compile."""
    from damamba.ops.selective_scan import numba_kernels

    return numba_kernels


def forward(*inputs: Tensor) -> Tensor:
    """Scan; inputs as of :func:`damamba.ops.selective_scan`, in its order."""
    u, *_ = plain = _plain(*inputs)
    y, states = torch.empty(u.shape), torch.zeros(u.shape[0], u.shape[2])
    run(_kernels().forward, *plain, y, states, *u.shape)
    return _like(y, inputs[0])


def backward(dy: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the seven inputs, in their order and of their dtypes."""
    plain = _plain(*inputs)
    batch, length, channels = plain[0].shape
    threads, segment = torch.get_num_threads(), _kernels().SEGMENT
    du, ddt = torch.empty(plain[0].shape), torch.empty(plain[0].shape)
    by_channel = torch.zeros(3, batch, channels)  # dA, dD, dbias
    by_step = torch.zeros(2, threads, batch, length)  # dB, dC
    starts, ends = torch.zeros(-(-length // segment) + 1, batch, channels), torch.zeros(batch, channels)
    steps = torch.empty(threads, 4, segment + 1, WIDTH)
    run(_kernels().backward, _wide(dy), *plain, du, ddt, *by_channel, *by_step, starts, ends, steps, *du.shape)
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
