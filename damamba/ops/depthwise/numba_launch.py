"""What the kernels of :mod:`damamba.ops.depthwise.numba_kernels` are given: maps [B, C, H, W], weights [C, 1, 3, 3]."""

from types import ModuleType

from torch import Tensor

from damamba.ops.cpu.threads import dense, empty, run, team, zeros


def _kernels() -> ModuleType:
    """Imported when they are needed: Numba takes a while to load, and longer to compile."""
    from damamba.ops.depthwise import numba_kernels

    return numba_kernels


def backward(
    dy: Tensor, x: Tensor, weight: Tensor, gelu: bool = False, silu: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias, and of a bias that was added to x.

    Args:
        gelu: the convolution is one of GELU(x).
        silu: the convolution's result, if dy is the gradient of its SiLU.
    """
    kernels, maps = _kernels(), _rows(x)
    rows, channels = maps.shape[0] * maps.shape[1], maps.shape[3]
    dx, count = empty(*maps.shape), team(rows)
    sums, gradients = zeros(count, kernels.SUMS, channels), empty(kernels.SUMS * channels)
    room, own = empty(count, kernels.ROWS, maps.shape[2] + 2, channels), empty(count, 9, channels)
    upstream = _rows(dy)
    result = upstream if silu is None else _rows(silu)
    given = upstream, maps, result, dense(weight), dx, sums, room, own
    run(kernels.backward, count, *given, *maps.shape, int(gelu), int(silu is not None))
    run(kernels.finish, 1, sums, gradients, count, channels)
    dweight, dbias, dbefore = gradients.split((9 * channels, channels, channels))
    return dx.permute(0, 3, 1, 2), dweight.view_as(weight), dbias, dbefore


def _rows(x: Tensor) -> Tensor:
    return dense(x.permute(0, 2, 3, 1))
