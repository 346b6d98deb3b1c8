"""A depthwise convolution between activations for the CPU, and its derivative, against float64."""

import pytest
import torch
import torch.nn.functional as F

from damamba.ops.depthwise import numba_launch
from tests.ops.helpers import pairwise, parametrize

SHAPES = [(2, 24, 5, 7), (1, 8, 1, 1), (3, 16, 1, 9), (2, 32, 6, 1), (1, 40, 33, 20)]
COUNTS = [1, 3]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def made(batch, channels, height, width):
    """A map, weights, a bias, and the gradient of the result, in float64 but of float32's precision."""
    shapes = (batch, channels, height, width), (channels, 1, 3, 3), (channels,), (batch, channels, height, width)
    x, weight, bias, grad = (torch.randn(shape).double() for shape in shapes)
    return 3 * x, weight, bias, grad


def truth(x, weight, bias, grad, gelu, silu):
    """The gradients of all three and of a bias that was added to x, and the convolution's result."""
    x, weight, bias = (t.clone().requires_grad_() for t in (x, weight, bias))
    before = torch.zeros_like(bias, requires_grad=True)
    given = x + before.view(-1, 1, 1)
    z = F.conv2d(F.gelu(given) if gelu else given, weight, bias, padding=1, groups=len(bias))
    return torch.autograd.grad(F.silu(z) if silu else z, (x, weight, bias, before), grad), z.detach()


def ours(x, weight, grad, gelu=False, silu=None):
    return numba_launch.backward(grad.float(), x.float(), weight.float(), gelu, silu)


@parametrize(
    pairwise({'shape': SHAPES, 'count': COUNTS, 'layout': LAYOUTS, 'gelu': [False, True], 'silu': [False, True]})
)
def test_it_agrees_with_float64(shape, count, layout, gelu, silu, with_threads, poisoned_memory, close):
    x, weight, bias, grad = made(*shape)
    exact, z = truth(x, weight, bias, grad, gelu, silu)
    with_threads(count)
    x, grad, z = (t.contiguous(memory_format=layout) for t in (x, grad, z.float()))
    for value, gradient in zip(ours(x, weight, grad, gelu, z if silu else None), exact, strict=True):
        close(value, gradient)


@pytest.mark.parametrize(
    ('shape', 'count', 'layout'), zip(SHAPES, [3, 1, 3, 1, 3], [*LAYOUTS, *LAYOUTS, LAYOUTS[1]], strict=True), ids=str
)
def test_the_convolution_between_activations_agrees_with_float64(
    shape, count, layout, with_threads, poisoned_memory, close
):
    x, weight, bias, _ = made(*shape)
    with_threads(count)
    given = x.float().contiguous(memory_format=layout), weight.float(), bias.float()
    close(numba_launch.of_gelu(*given), F.conv2d(F.gelu(x), weight, bias, padding=1, groups=len(bias)))
    z, active = numba_launch.with_silu(*given)
    exact = F.conv2d(x, weight, bias, padding=1, groups=len(bias))
    close(z, exact)
    close(active, F.silu(exact))


@pytest.mark.parametrize(('count', 'silu'), [(1, False), (3, True)])
@pytest.mark.parametrize('shape', SHAPES[::2], ids=str)
def test_the_inputs_gradient_takes_the_outputs_memory_alone(shape, count, silu, with_threads):
    with_threads(count)
    x, weight, _, grad = (t.float() for t in made(*shape))
    x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
    z, copies = x + 1, [t.clone() for t in (x, grad)]
    dx = numba_launch.backward(grad, x, weight, silu=z if silu else None)[0]
    assert dx.data_ptr() == grad.data_ptr() and x.equal(copies[0]) and z.equal(x + 1)
    elsewhere = torch.stack([copies[1], copies[1]], dim=-1)[..., 0]  # not dense, so copied
    assert dx.equal(numba_launch.backward(elsewhere, x, weight, silu=z if silu else None)[0])
    assert elsewhere.equal(copies[1])


def test_it_gives_the_same_bits_every_time(with_threads):
    x, weight, _, grad = made(*SHAPES[0])
    with_threads(3)
    first = ours(x, weight, grad, gelu=True)
    for _ in range(5):
        assert all(again.equal(value) for again, value in zip(ours(x, weight, grad, True), first, strict=True))


def test_enormous_activations_give_finite_gradients():
    x = torch.tensor([-3e38, -1e20, -90.0, -13.5, -0.0, 0.0, 13.5, 3e38]).view(1, 8, 1, 1).expand(1, 8, 2, 3)
    weight, grad = torch.full((8, 1, 3, 3), 0.01), torch.ones(1, 8, 2, 3)
    dx, dweight, dbias, _ = numba_launch.backward(grad.clone(), x, weight, gelu=True)
    assert dx[:, :4].abs().max() < 1e-30
    assert dx.isfinite().all() and dweight[:7].isfinite().all() and dbias.eq(6).all()
    assert dx[0, 7, 0, 0] == pytest.approx(0.04)  # four neighbours, a slope of 1
    dx, _, dbias, _ = numba_launch.backward(grad.clone(), torch.ones_like(x), weight, silu=x)
    assert dx[:, :2].abs().max() < 1e-30 and dx[0, 7, 0, 0] == pytest.approx(0.04)
    assert dbias[:2].abs().max() < 1e-30 and dbias[7] == 6 and dbias.isfinite().all()
    assert numba_launch.of_gelu(x, weight, torch.zeros(8)).isfinite().all()
    assert all(value.isfinite().all() for value in numba_launch.with_silu(x, weight, torch.zeros(8)))
