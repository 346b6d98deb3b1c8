"""1x1 convolutions of rows, and their derivatives, against torch's convolutions in float64."""

import pytest
import torch
import torch.nn.functional as F

from damamba.models import pointwise

SHAPES = [  # pixels, channels before, channels behind
    (1, 16, 16),
    (63, 16, 48),
    (63, 48, 16),
    (pointwise.FEW, 80, 24),
    (pointwise.FEW + 1, 80, 24),
    (pointwise.FEW + 1, 24, 80),
]


@pytest.fixture(params=[True, False], ids=['onednn', 'plain'], autouse=True)
def library(request, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, 'enabled', request.param)


def draw(pixels: int, before: int, behind: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(pixels + before)
    x, dy = torch.randn(1, pixels, 1, before), torch.randn(1, pixels, 1, behind)
    return x, torch.randn(behind, before, 1, 1), torch.randn(behind), dy


def differentiate(x, weight, bias, dy):
    """A convolution's output in float64, and the gradients of input and weight."""
    given = [t.double().requires_grad_() for t in (x.permute(0, 3, 1, 2), weight)]
    y = F.conv2d(*given, bias.double())
    return y.detach(), *torch.autograd.grad(y, given, dy.double().permute(0, 3, 1, 2))


@pytest.mark.parametrize('shape', SHAPES)
def test_it_is_a_convolution(shape):
    x, weight, bias, dy = draw(*shape)
    y, dx, dweight = differentiate(x, weight, bias, dy)
    more = torch.randn_like(x)
    close = dict(rtol=1e-5, atol=1e-5 * max(shape) ** 0.5, check_dtype=False)

    torch.testing.assert_close(pointwise.forward(x, weight, bias).permute(0, 3, 1, 2), y, **close)
    torch.testing.assert_close(
        pointwise.forward(x, weight).permute(0, 3, 1, 2), y - bias.double().view(1, -1, 1, 1), **close
    )
    torch.testing.assert_close(pointwise.input_gradient(dy, weight).permute(0, 3, 1, 2), dx, **close)
    summed = pointwise.input_gradient(dy, weight, plus=more).permute(0, 3, 1, 2)
    torch.testing.assert_close(summed, dx + more.permute(0, 3, 1, 2), **close)
    torch.testing.assert_close(pointwise.weight_gradient(dy, x), dweight, **close)


@pytest.mark.parametrize('shape', SHAPES)
def test_a_weight_takes_its_gradient_as_it_is(shape):
    """Autograd would copy one of other strides."""
    x, weight, _, dy = draw(*shape)
    assert pointwise.weight_gradient(dy, x).flatten(1).stride() == weight.flatten(1).stride()
