"""The mixer's narrow projections for the CPU, and their derivatives, against float64."""

import math
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from damamba.ops.projections import EPS, numba_launch

SHAPES = [(2, 5, 7, 16), (1, 1, 1, 32), (3, 1, 9, 48), (1, 11, 12, 80), (2, 9, 4, 320), (1, 2, 3, 512)]
shapes_and_threads = pytest.mark.parametrize(
    ('shape', 'count'), [*zip(SHAPES, (3, 2, 16, 1, 3, 16), strict=True)], ids=str
)


class Made(NamedTuple):
    """In float64 but of float32's precision."""

    x: Tensor
    norm: Tensor
    shift: Tensor
    weight: Tensor
    bias: Tensor
    project: Tensor
    expand: Tensor


def made(batch, height, width, channels) -> Made:
    rank, count = math.ceil(channels / 16), 2 * channels // 16
    shapes = (channels,), (channels,), (count, channels), (count,), (rank + 2, channels), (channels, rank)
    x = 2 * torch.randn(batch, height, width, channels) + 1
    return Made(*(t.double() for t in (x, *map(torch.randn, shapes))))


def looked(m: Made) -> tuple[list[Tensor], Tensor]:
    """The inputs, and the offsets."""
    given = [t.clone().requires_grad_() for t in m[:5]]
    x, norm, shift, weight, bias = given
    return given, F.linear(F.gelu(F.layer_norm(x, norm.shape, norm, shift, EPS)), weight, bias)


def stepped(m: Made) -> tuple[list[Tensor], Tensor, Tensor]:
    """The inputs; step sizes [B, L, C]; B and C [2, B, L]."""
    given = [t.clone().requires_grad_() for t in (m.x, m.project, m.expand)]
    x, project, expand = given
    raw, rank = F.linear(x.flatten(1, 2), project), expand.shape[1]
    return given, F.linear(raw[..., :rank], expand), raw[..., rank:].permute(2, 0, 1)


@shapes_and_threads
def test_offsets_and_their_gradients_agree_with_float64(shape, count, with_threads, poisoned_memory, close):
    m = made(*shape)
    given, exact = looked(m)
    with_threads(count)
    x, norm, shift, weight, bias = (t.float() for t in m[:5])
    offset, stats = numba_launch.look(x, norm, shift, weight, bias)
    close(offset, exact)
    close(stats[0], m.x.mean(dim=3).flatten())
    grad = torch.randn_like(offset)
    gradients = numba_launch.look_backward(grad, x, stats, norm, shift, weight)
    for value, gradient in zip(gradients, torch.autograd.grad(exact, given, grad.double()), strict=True):
        close(value, gradient)


@shapes_and_threads
def test_step_sizes_and_their_gradients_agree_with_float64(shape, count, with_threads, poisoned_memory, close):
    m = made(*shape)
    given, *exact = stepped(m)
    with_threads(count)
    x, project, expand = m.x.float(), m.project.float(), m.expand.float()
    raw, *values = numba_launch.steps(x, project, expand)
    grads, before = [torch.randn_like(value) for value in values], torch.randn_like(x)
    for value, truth in zip(values, exact, strict=True):
        close(value, truth)
    du = before.clone()
    gradients = numba_launch.steps_backward(*grads, x, raw, project, expand, du)
    dx, *weights = torch.autograd.grad(exact, given, [grad.double() for grad in grads])
    close(du, before.double() + dx)
    for value, gradient in zip(gradients, weights, strict=True):
        close(value, gradient)


def test_they_give_the_same_bits_every_time(with_threads):
    m = Made(*(t.float() for t in made(*SHAPES[3])))
    with_threads(3)

    def once():
        offset, stats = numba_launch.look(*m[:5])
        raw, dt, by_step = numba_launch.steps(m.x, m.project, m.expand)
        du = m.x.clone()
        last = numba_launch.steps_backward(dt, by_step, m.x, raw, m.project, m.expand, du)
        return offset, *numba_launch.look_backward(offset, m.x, stats, *m[1:4]), dt, by_step, du, *last

    first = once()
    for _ in range(5):
        assert all(map(torch.equal, once(), first))


@pytest.mark.parametrize('channels', [80, 512])
def test_a_constant_row_is_normalised_to_0(channels, close):
    """Its variance is 0: a mean's rounding, a thousand times over by the epsilon, would be all that is left."""
    x = torch.randn(1, 5, 1, 1).mul(1000).expand(1, 5, 1, channels).contiguous()
    norm, shift = torch.ones(channels), torch.zeros(channels)
    weight, bias = torch.randn(4, channels), torch.randn(4)
    offset, stats = numba_launch.look(x, norm, shift, weight, bias)
    assert offset.equal(bias.expand_as(offset))
    given = [t.double().requires_grad_() for t in (x, norm, shift, weight)]
    exact = F.linear(F.gelu(F.layer_norm(given[0], norm.shape, given[1], given[2], EPS)), given[3])
    gradients = numba_launch.look_backward(torch.ones_like(offset), x, stats, norm, shift, weight)
    for value, gradient in zip(gradients, torch.autograd.grad(exact.sum(), given), strict=False):
        close(value, gradient)


def test_strided_arguments_are_taken(close):
    m = made(2, 3, 5, 32)
    strided = Made(*(torch.stack([t.float(), torch.zeros_like(t).float()], dim=-1)[..., 0] for t in m))
    dense = Made(*(t.contiguous() for t in strided))
    assert not any(t.is_contiguous() for t in strided)

    def results(m):
        offset, stats = numba_launch.look(*m[:5])
        grad = torch.stack([offset, offset], dim=-1)[..., 0]
        raw, dt, by_step = numba_launch.steps(m.x, m.project, m.expand)
        du, grads = torch.zeros(m.x.shape), [torch.stack([t, t], dim=-1)[..., 0] for t in (dt, by_step)]
        last = numba_launch.steps_backward(*grads, m.x, raw, m.project, m.expand, du)
        return offset, *numba_launch.look_backward(grad, m.x, stats, *m[1:4]), dt, by_step, du, *last

    assert all(map(torch.equal, results(strided), results(dense)))


def test_enormous_rows_give_finite_values():
    x = torch.cat([torch.full((1, 1, 1, 16), -1e15), torch.full((1, 1, 1, 16), 1e15)], dim=3)
    norm, shift, weight, bias = torch.ones(32), torch.zeros(32), torch.randn(4, 32), torch.zeros(4)
    offset, stats = numba_launch.look(x, norm, shift, weight, bias)
    torch.testing.assert_close(offset, F.linear(F.gelu(x.sign()), weight, bias))
    dx, *weights = numba_launch.look_backward(torch.ones(1, 1, 1, 4), x, stats, norm, shift, weight)
    assert all(t.isfinite().all() for t in (dx, *weights))


def test_a_width_that_the_kernels_would_overrun_is_refused():
    with pytest.raises(ValueError, match='multiple of 16, got 24'):
        numba_launch.look(torch.zeros(1, 1, 1, 24), torch.ones(24), torch.zeros(24), torch.ones(3, 24), torch.zeros(3))
    with pytest.raises(ValueError, match='multiple of 16, got 40'):
        numba_launch.steps(torch.zeros(1, 1, 1, 40), torch.zeros(5, 40), torch.zeros(40, 3))
