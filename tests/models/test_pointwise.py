"""The derivative of 1x1 convolutions of maps, against autograd's in float64."""

import pytest
import torch
import torch.nn.functional as F

from damamba.models import pointwise

SHAPES = [  # pixels of each of two pictures, channels before, channels behind
    (1, 16, 16),
    (1, 48, 16),
    (63, 16, 48),
    (63, 48, 16),
    (63, 48, 48),
    (pointwise.FEW // 2, 80, 24),
    (pointwise.FEW // 2 + 1, 80, 24),
    (pointwise.FEW // 2 + 1, 24, 80),
]
STRIDES = {
    'channels-last': lambda x: x.to(memory_format=torch.channels_last),
    'channels first': lambda x: x,
    'expanded': lambda x: x[:, :, :1, :1].expand_as(x),
    'a part': lambda x: torch.cat([x, x + 1], dim=1).to(memory_format=torch.channels_last)[:, : x.shape[1]],
}


def draw(pixels: int, before: int, behind: int) -> tuple[torch.Tensor, ...]:
    """The output's gradient, the input, and the weight."""
    torch.manual_seed(pixels + before)
    return torch.randn(2, behind, pixels, 1), torch.randn(2, before, pixels, 1), torch.randn(behind, before, 1, 1)


def assert_near(value, truth):
    """To float32's roundings of the largest number: sums of thousands of equal signs have many."""
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), truth, rtol=0, atol=4e-6 * truth.abs().max().item())


@pytest.mark.parametrize(('shape', 'strides'), zip(SHAPES, [*STRIDES] * 2, strict=True), ids=str)
@pytest.mark.parametrize('onednn', [True, False])
def test_it_is_a_convolutions_derivative(shape, strides, onednn, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, 'enabled', onednn)
    dy, x, weight = draw(*shape)
    dy, x = STRIDES[strides](dy), STRIDES[strides](x)
    given = [t.double().requires_grad_() for t in (x, weight)]
    truths = torch.autograd.grad(F.conv2d(*given), given, dy.double())
    assert_near(pointwise.input_gradient(dy, x, weight), truths[0])
    assert_near(pointwise.input_gradient(dy, x, weight, plus=3 * x), truths[0] + 3 * x)
    assert_near(pointwise.weight_gradient(dy, x), truths[1])


@pytest.mark.parametrize('shape', SHAPES[1:3])
def test_a_weight_takes_its_gradient_as_it_is(shape):
    """Autograd would copy one of other strides."""
    dy, x, weight = draw(*shape)
    assert pointwise.weight_gradient(dy, x).flatten(1).stride() == weight.flatten(1).stride()
