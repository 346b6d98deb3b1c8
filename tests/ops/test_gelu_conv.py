"""The derivative of a depthwise convolution of GELU(x) for the CPU, against float64."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from damamba.ops.cpu import threads
from damamba.ops.gelu_conv import numba_launch

SHAPES = [(2, 24, 5, 7), (1, 8, 1, 1), (3, 16, 1, 9), (2, 32, 6, 1), (1, 40, 33, 20)]


def made(batch, channels, height, width):
    """A map, weights, a bias, and the gradient of the result, in float64 but of float32's precision."""
    shapes = (batch, channels, height, width), (channels, 1, 3, 3), (channels,), (batch, channels, height, width)
    x, weight, bias, grad = (torch.randn(shape).double() for shape in shapes)
    return 3 * x, weight, bias, grad


def truth(x, weight, bias, grad):
    """The three gradients."""
    x, weight, bias = (t.clone().requires_grad_() for t in (x, weight, bias))
    y = F.conv2d(F.gelu(x), weight, bias, padding=1, groups=len(bias))
    return torch.autograd.grad(y, (x, weight, bias), grad)


def ours(x, weight, bias, grad):
    return numba_launch.backward(grad.float(), x.float(), weight.float())


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['contiguous', 'channels-last'])
@pytest.mark.parametrize('count', [1, 2, 3, 16])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_it_agrees_with_float64(shape, count, layout, with_threads, poisoned_memory, close):
    x, weight, bias, grad = made(*shape)
    with_threads(count)
    found = ours(x.contiguous(memory_format=layout), weight, bias, grad.contiguous(memory_format=layout))
    for value, exact in zip(found, truth(x, weight, bias, grad), strict=True):
        close(value, exact)


def test_it_gives_the_same_bits_every_time(with_threads):
    arguments = made(*SHAPES[0])
    with_threads(3)
    first = ours(*arguments)
    for _ in range(5):
        assert all(again.equal(value) for again, value in zip(ours(*arguments), first, strict=True))


def test_enormous_activations_give_finite_gradients():
    x = torch.tensor([-3e38, -1e20, -90.0, -13.5, -0.0, 0.0, 13.5, 3e38]).view(1, 8, 1, 1).expand(1, 8, 2, 3)
    weight, grad = torch.full((8, 1, 3, 3), 0.01), torch.ones(1, 8, 2, 3)
    dx, dweight, dbias = numba_launch.backward(grad, x, weight)
    assert dx[:, :4].abs().max() < 1e-30
    assert dx.isfinite().all() and dweight[:7].isfinite().all() and dbias.eq(6).all()
    assert dx[0, 7, 0, 0] == pytest.approx(0.04)  # four neighbours, a slope of 1


def test_it_says_what_it_takes():
    x, weight, bias, _ = (t.float() for t in made(1, 16, 4, 4))
    assert numba_launch.takes(x, weight, bias)
    assert not numba_launch.takes(x.double(), weight.double(), bias.double())
    assert not numba_launch.takes(x[:, :12], weight[:12], bias[:12])  # no multiple of 8
    assert not numba_launch.takes(x[:0], weight, bias)
    assert not numba_launch.takes(x, torch.randn(16, 16, 3, 3), bias)
    with torch.autocast('cpu', torch.bfloat16):
        assert not numba_launch.takes(x, weight, bias)


def test_whoever_counts_or_fakes_sees_torchs_own_operators():
    x, weight, bias, _ = (t.float() for t in made(1, 16, 4, 4))
    with FlopCounterMode(display=False):
        assert not numba_launch.takes(x, weight, bias)
    with FakeTensorMode() as mode:
        assert not numba_launch.takes(*(mode.from_tensor(t) for t in (x, weight, bias)))


def test_without_numba_it_takes_nothing(monkeypatch):
    x, weight, bias, _ = (t.float() for t in made(1, 16, 4, 4))
    monkeypatch.setattr(threads, 'missing', lambda: 'Numba is not installed')
    assert not numba_launch.takes(x, weight, bias)


def test_who_asks_for_another_backend_gets_none_of_numbas_kernels(monkeypatch):
    x, weight, bias, _ = (t.float() for t in made(1, 16, 4, 4))
    for backend, taken in (('vectorized', False), ('reference', False), ('numba', True), ('', True)):
        monkeypatch.setenv('DAMAMBA_BACKEND', backend)
        assert numba_launch.takes(x, weight, bias) is taken
