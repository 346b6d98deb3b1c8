"""What the kernels of :mod:`damamba.ops.depthwise.numba_kernels` are given: maps [B, C, H, W], weights [C, 1, 3, 3]."""

from functools import cache
from types import ModuleType

from torch import Tensor

from damamba.ops.cpu.threads import dense, empty, room, run, team


@cache
def _kernels() -> ModuleType:
    """Imported when they are needed: Numba takes a while to load, and longer to compile."""
    from damamba.ops.depthwise import numba_kernels

    return numba_kernels


def of_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution of GELU(x)."""
    (y,) = _forward(x, weight, bias, _kernels().GELU, 1)
    return y


def with_silu(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The convolution of x, and its SiLU."""
    y, active = _forward(x, weight, bias, _kernels().COPY, 2)
    return y, active


def _forward(x: Tensor, weight: Tensor, bias: Tensor, how: int, results: int) -> list[Tensor]:
    maps = _rows(x)
    ys, (count, rooms) = [empty(*maps.shape) for _ in range(results)], _team(maps)
    given = maps, dense(weight), dense(bias), ys[0], ys[-1], rooms
    run(_kernels().forward, count, *given, *maps.shape, how, int(results > 1))
    return [y.permute(0, 3, 1, 2) for y in ys]


def backward(
    dy: Tensor, x: Tensor, weight: Tensor, gelu: bool = False, silu: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias, and of a bias that was added to x; that of x is written over dy.

    dy must be the caller's own, and is not to be read again; of one that is not dense channels-last, a copy is taken.

    Args:
        gelu: the convolution is one of GELU(x).
        silu: the convolution's result, if dy is the gradient of its SiLU.
    """
    kernels, maps, dx = _kernels(), _rows(x), _rows(dy)
    (count, rooms), channels = _team(maps), maps.shape[3]
    result, how = (maps, kernels.COPY) if silu is None else (_rows(silu), kernels.SLOPE)  # without SiLU it is not read
    gradients = empty(kernels.SUMS * channels)
    run(kernels.backward, count, dx, maps, result, dense(weight), gradients, rooms, *maps.shape, int(gelu), how)
    dweight, dbias, dbefore = gradients.split((9 * channels, channels, channels))
    return dx.permute(0, 3, 1, 2), dweight.view_as(weight), dbias, dbefore


def _team(maps: Tensor) -> tuple[int, Tensor]:
    """How many threads, and their rooms."""
    batch, height, width, channels = maps.shape
    count = team(batch * height)
    return count, room(count, _kernels().room_size(width, channels))


def _rows(x: Tensor) -> Tensor:
    return dense(x.permute(0, 2, 3, 1))
