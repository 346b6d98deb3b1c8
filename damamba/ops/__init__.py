"""The two operators of DAMamba, on torch's tensors: shapes, checks, dispatch.

B batch, H x W feature map, L sequence length (H*W row-major), C channels, G groups of C/G channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from damamba.ops import adaptive_sample as _sample
from damamba.ops import selective_scan as _scan

__all__ = ['adaptive_sample', 'selective_scan']

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# Let one exponential overflow. Torch's, with AVX-512, reads infinity through a mask that only arguments above 100 open:
# on AMD's Zen 4, a page that nobody read before costs hundreds of cycles each time, in SiLU, sigmoid and GELU.
torch.full((64,), -200.0, dtype=torch.float32, device='cpu').sigmoid()


def adaptive_sample(x: Tensor, offset: Tensor, *, backend: str | None = None) -> Tensor:
    """Sample every position of a map bilinearly at its own displacement, group by group of channels.

    The value at row h, column w of group g is read at (w + dx, h + dy), (dx, dy) = offset[b, h, w, 2g : 2g + 2] in
    pixels. A sample counts where -1 < w + dx < W and -1 < h + dy < H; elsewhere its value and gradients are 0, and so
    is the share of a corner outside the map. At an integer position the derivative is that of the cell to the right
    and below. Coordinates and weights are computed in float32 at least.

    Args:
        x: the map, (B, H, W, C), floating point, any strides.
        offset: (B, H, W, 2G), ordered (g0 dx, g0 dy, g1 dx, ...); x's dtype or float32. C is divisible by G.
        backend: 'triton', 'numba', 'vectorized' or 'reference'; by default ``DAMAMBA_BACKEND``, else the first that
            can run.

    Returns:
        (B, H, W, C) in x's dtype.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or device; the text names it.
        RuntimeError: the backend asked for can't run.

    Source: DAMamba, arXiv 2502.12627, section 3.2 (dynamic adaptive scan).
    """
    _check_sample(x, offset)
    return _sample.OPERATOR.forward(x, offset, backend)


def selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    dt_bias: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """Run the selective state-space recurrence with one state per channel along a sequence.

    With d_t = softplus(dt_t + dt_bias):  h_t = exp(d_t A) h_{t-1} + d_t B_t u_t,  h_{-1} = 0;  y_t = C_t h_t + D u_t.
    The state and everything that feeds it are computed in float32 at least.

    Args:
        u: the sequence, (B, L, C), floating point, any strides.
        dt: step sizes before bias and softplus, (B, L, C), u's dtype.
        A: decay rates, (C), negative for a stable recurrence; u's dtype or float32.
        B: input weights shared by all channels, (B, L), u's dtype.
        C: output weights shared by all channels, (B, L), u's dtype.
        D: skip weights, (C), u's dtype or float32.
        dt_bias: (C), u's dtype or float32.
        backend: 'triton', 'numba', 'vectorized' or 'reference'; by default ``DAMAMBA_BACKEND``, else the first that
            can run.

    Returns:
        y, (B, L, C) in u's dtype.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or device; the text names it.
        RuntimeError: the backend asked for can't run.

    Source: Mamba, arXiv 2312.00752, section 3.2; state size 1 as in DAMamba, arXiv 2502.12627.
    """
    _check_scan(u, dt, A, B, C, D, dt_bias)
    return _scan.OPERATOR.forward(u, dt, A, B, C, D, dt_bias, backend)


def _check_sample(x: Tensor, offset: Tensor) -> None:
    name = 'adaptive_sample'
    _check(name, 'x', x, ('B', 'H', 'W', 'C'))
    _check(name, 'offset', offset, (*x.shape[:3], '2G'), ('x', x), or_float32=True)
    groups, odd = offset.shape[3] // 2, offset.shape[3] % 2  # a compiler can't trace divmod
    if odd or not groups:
        raise ValueError(f'{name}: offset must be (B, H, W, 2G) with G from 1 on, got {tuple(offset.shape)}')
    if x.shape[3] % groups or not x.shape[3]:
        raise ValueError(f'{name}: the {x.shape[3]} channels of x do not divide into {groups} groups of offset')


def _check_scan(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, dt_bias: Tensor) -> None:
    name = 'selective_scan'
    _check(name, 'u', u, ('B', 'L', 'C'))
    sequence, steps, channels, device, dtype = u.shape, u.shape[:2], u.shape[2:], u.device, u.dtype
    for arg, value, shape, wide in (
        *(('dt', dt, sequence, False), ('A', A, channels, True), ('B', B, steps, False)),
        *(('C', C, steps, False), ('D', D, channels, True), ('dt_bias', dt_bias, channels, True)),
    ):
        is_like_u = isinstance(value, Tensor) and value.dtype is dtype and value.device == device
        if not (is_like_u and value.shape == shape):  # asked here, since that takes a tenth of the time
            _check(name, arg, value, shape, ('u', u), wide)


def _check(
    operator: str,
    name: str,
    value: object,
    shape: Sequence[int | str],
    like: tuple[str, Tensor] | None = None,
    or_float32: bool = False,
) -> None:
    """Compare an argument with a shape, in which letters stand for any size, and with device and dtype of another."""
    if not isinstance(value, Tensor):
        raise TypeError(f'{operator}: {name} must be a tensor, got {type(value).__name__}')
    if value.ndim != len(shape) or any(
        not isinstance(wanted, str) and size != wanted for size, wanted in zip(value.shape, shape, strict=True)
    ):
        raise ValueError(f'{operator}: {name} must be ({", ".join(map(str, shape))}), got {tuple(value.shape)}')
    if value.dtype not in FLOATS:
        raise TypeError(f'{operator}: {name} must be float16, bfloat16, float32 or float64, got {value.dtype}')
    if like is None:
        return
    first, model = like
    if value.device != model.device:
        raise ValueError(f'{operator}: {name} must be on {model.device} like {first}, got {value.device}')
    if value.dtype is not model.dtype and not (or_float32 and value.dtype is torch.float32):
        allowed = dict.fromkeys(map(str, (model.dtype, torch.float32) if or_float32 else (model.dtype,)))
        raise TypeError(f'{operator}: {name} must be {" or ".join(allowed)} (the dtype of {first}), got {value.dtype}')
