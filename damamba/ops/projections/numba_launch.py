"""What the kernels of :mod:`damamba.ops.projections.numba_kernels` are given. B batch, H x W map, L = H*W, P = B*L."""

from functools import cache
from types import ModuleType

from torch import Tensor

from damamba.ops.cpu.threads import WIDE, dense, empty, room, run, team


@cache
def _kernels() -> ModuleType:
    """Imported when they are needed: Numba takes a while to load, and longer to compile."""
    from damamba.ops.projections import numba_kernels

    return numba_kernels


def look(x: Tensor, norm: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """GELU(LayerNorm(x)) by weight [N, C] and bias: x [B, H, W, C] -> [B, H, W, N], and the statistics [2, P]."""
    kernels, (pixels, channels, count) = _kernels(), _sizes(x, weight)
    offset, stats = empty(*x.shape[:3], count), empty(2, pixels)
    threads, rooms = _team(pixels, kernels.look_room(channels, count))
    given = map(dense, (x, norm, shift, weight, bias))
    run(kernels.look, threads, *given, offset, *stats, rooms, pixels, channels, count)
    return offset, stats


def look_backward(
    doffset: Tensor, x: Tensor, stats: Tensor, norm: Tensor, shift: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of x, norm, shift, weight and bias, from that of :func:`look`'s result."""
    kernels, (pixels, channels, count) = _kernels(), _sizes(x, weight)
    dx, gradients = empty(*x.shape), empty((2 + count) * channels + count)
    threads, rooms = _team(pixels, kernels.look_backward_room(channels, count))
    given = map(dense, (doffset, x, *stats, norm, shift, weight))
    run(kernels.look_backward, threads, *given, dx, gradients, rooms, pixels, channels, count)
    dnorm, dshift, dweight, dbias = gradients.split((channels, channels, count * channels, count))
    return dx, dnorm, dshift, dweight.view_as(weight), dbias


def steps(u: Tensor, project: Tensor, expand: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u [B, H, W, C] by project [R + 2, C], padded rows; its first R columns by expand [C, R]; the other two [2, B, L].

    These are the step sizes [B, L, C], and the B and C of :func:`damamba.ops.selective_scan`.
    """
    kernels, (pixels, channels, rank) = _kernels(), _sizes(u, expand.t())
    sequence = u.shape[0], pixels // u.shape[0]
    raw, dt, by_step = empty(pixels, kernels.wide(rank + 2)), empty(*sequence, channels), empty(2, *sequence)
    threads, rooms = _team(pixels, kernels.steps_room(channels, rank))
    given = dense(u), dense(project), dense(expand)
    run(kernels.steps, threads, *given, raw, dt, by_step, rooms, pixels, channels, rank)
    return raw, dt, by_step


def steps_backward(
    ddt: Tensor, dby_step: Tensor, u: Tensor, raw: Tensor, project: Tensor, expand: Tensor, du: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of project and expand; that of u is added to du, which must be dense."""
    kernels, (pixels, channels, rank) = _kernels(), _sizes(u, expand.t())
    dproject, dexpand = empty(*project.shape), empty(*expand.shape)
    threads, rooms = _team(pixels, kernels.steps_backward_room(channels, rank))
    given = dense(ddt), dense(dby_step), dense(u), raw, dense(project), dense(expand)
    run(kernels.steps_backward, threads, *given, du, dproject, dexpand, rooms, pixels, channels, rank)
    return dproject, dexpand


def _sizes(x: Tensor, weight: Tensor) -> tuple[int, int, int]:
    """Pixels, channels, and the weight's rows."""
    channels = x.shape[-1]
    if channels % WIDE:
        raise ValueError(f'channels must be a multiple of {WIDE}, got {channels}')
    return x.numel() // channels, channels, weight.shape[0]


def _team(pixels: int, size: int) -> tuple[int, Tensor]:
    """How many threads, and their rooms."""
    count = team(-(-pixels // _kernels().BLOCK))
    return count, room(count, size)
