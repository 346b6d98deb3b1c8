"""1x1 convolutions of rows, and their derivatives, against torch's convolutions in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from damamba.models import onednn, pointwise

SHAPES = [  # pixels of each of two pictures, channels before, channels behind
    (1, 16, 16),
    (1, 48, 16),
    (63, 16, 48),
    (63, 48, 16),
    (pointwise.FEW // 2, 80, 24),
    (pointwise.FEW // 2 + 1, 80, 24),
    (pointwise.FEW // 2 + 1, 24, 80),
]
STRIDES = {
    'contiguous': lambda x: x,
    'channels first': lambda x: x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1),
    'expanded': lambda x: x[:, :1, :1].expand_as(x),
    'a part': lambda x: torch.cat([x, x + 1], dim=3)[..., : x.shape[3]],
}


@pytest.fixture(params=[True, False], ids=['onednn', 'plain'], autouse=True)
def library(request, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, 'enabled', request.param)
    return request.param


def draw(pixels: int, before: int, behind: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(pixels + before)
    x, dy = torch.randn(2, pixels, 1, before), torch.randn(2, pixels, 1, behind)
    return x, torch.randn(behind, before, 1, 1), torch.randn(behind), dy


def differentiate(x, weight, bias, dy):
    """A convolution's output in float64, and the gradients of input and weight."""
    given = [t.double().requires_grad_() for t in (x.permute(0, 3, 1, 2), weight)]
    y = F.conv2d(*given, bias.double())
    return y.detach(), *torch.autograd.grad(y, given, dy.double().permute(0, 3, 1, 2))


def assert_near(value, truth):
    """To float32's roundings of the largest number: sums of thousands of equal signs have many."""
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), truth, rtol=0, atol=4e-6 * truth.abs().max().item())


@pytest.mark.parametrize('strides', STRIDES)
@pytest.mark.parametrize('shape', SHAPES)
def test_it_is_a_convolution(shape, strides):
    x, weight, bias, dy = draw(*shape)
    x, dy, more = (STRIDES[strides](t) for t in (x, dy, torch.randn_like(x)))
    y, dx, dweight = differentiate(x, weight, bias, dy)

    assert_near(pointwise.forward(x, weight, bias).permute(0, 3, 1, 2), y)
    assert_near(pointwise.forward(x, weight).permute(0, 3, 1, 2), y - bias.double().view(1, -1, 1, 1))
    assert_near(pointwise.input_gradient(dy, weight).permute(0, 3, 1, 2), dx)
    assert_near(pointwise.input_gradient(dy, weight, plus=more).permute(0, 3, 1, 2), dx + more.permute(0, 3, 1, 2))
    assert_near(pointwise.weight_gradient(dy, x), dweight)


@pytest.mark.parametrize('shape', SHAPES)
def test_a_weight_takes_its_gradient_as_it_is(shape):
    """Autograd would copy one of other strides."""
    x, weight, _, dy = draw(*shape)
    assert pointwise.weight_gradient(dy, x).flatten(1).stride() == weight.flatten(1).stride()


def test_onednns_operators_run_where_torch_has_them(library):
    calls = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            calls.append(function.name())
            return function(*args, **(kwargs or {}))

    x, weight, bias, dy = draw(63, 48, 16)
    with Watch():
        pointwise.forward(x, weight, bias)
        pointwise.input_gradient(dy, weight, plus=x)
    taken = [name for name in calls if name in pointwise.OPERATORS]
    assert taken == (list(pointwise.OPERATORS) if library else [])


def test_without_the_operators_products_are_torchs(monkeypatch):
    monkeypatch.setattr(pointwise, 'OPERATORS', ('mkldnn::_of_another_version',))
    x, weight, bias, _ = draw(63, 48, 16)
    assert not onednn.has(*pointwise.OPERATORS)
    assert pointwise.forward(x, weight, bias).equal(F.linear(x, weight.flatten(1), bias))
