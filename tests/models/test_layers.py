"""The layers of DAMamba, each against its formula in plain torch, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from damamba.models.layers import (
    Downsample,
    FeedForward,
    LayerNorm2d,
    Permute,
    ResidualDepthwiseConv,
    Stem,
    build_norm,
)


def conv(x, weight, bias, groups=1):
    """A 3x3 convolution as nine shifted products, no torch convolution."""
    out = torch.zeros(x.shape[0], weight.shape[0], *x.shape[2:], dtype=x.dtype)
    padded = F.pad(x, (1, 1, 1, 1))
    for row in range(3):
        for column in range(3):
            shifted = padded[:, :, row : row + x.shape[2], column : column + x.shape[3]]
            tap = weight[:, :, row, column]
            out += shifted * tap.view(1, -1, 1, 1) if groups > 1 else torch.einsum('bchw,oc->bohw', shifted, tap)
    return out + bias.view(1, -1, 1, 1)


def test_the_residual_depthwise_convolution_is_x_plus_the_depthwise_one_in_values_and_gradients(close):
    layer = ResidualDepthwiseConv(8).double()
    x = torch.randn(2, 8, 5, 7, dtype=torch.float64, requires_grad=True)
    inputs, upstream = (x, layer.conv.weight, layer.conv.bias), torch.randn_like(x)
    value, truth = layer(x), x + conv(*inputs, groups=8)
    close(value, truth)
    for grad, true in zip(*(torch.autograd.grad(y, inputs, upstream) for y in (value, truth)), strict=True):
        close(grad, true)


def test_the_identity_is_added_to_the_kernel_before_autocast_rounds_it():
    layer = ResidualDepthwiseConv(4)
    nn.init.constant_(layer.conv.weight, 1e-3)  # 1 + 0.001 is 1 in bfloat16
    nn.init.zeros_(layer.conv.bias)
    x = torch.zeros(1, 4, 5, 5)
    x[:, :, 2, 2] = 1
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert y[0, :, 2, 2].tolist() == [1] * 4
    assert y[0, :, 2, 1].tolist() == [torch.tensor(1e-3).bfloat16().item()] * 4


def test_the_identity_kernel_is_a_parameter_that_is_never_trained():
    layer = ResidualDepthwiseConv(4)
    assert layer.conv_constant.tolist() == [[[[0, 0, 0], [0, 1, 0], [0, 0, 0]]]]
    assert not layer.conv_constant.requires_grad
    layer.requires_grad_(True)
    layer(torch.randn(1, 4, 5, 5)).sum().backward()
    assert layer.conv_constant.grad is None
    assert layer.conv.weight.grad is not None


def test_layer_norm_is_over_the_channels_of_every_pixel_with_its_small_epsilon(close):
    layer = LayerNorm2d(6).double()
    nn.init.normal_(layer.norm.weight)
    nn.init.normal_(layer.norm.bias)
    x = 1e-3 * torch.randn(2, 6, 3, 4, dtype=torch.float64)  # of the size of the epsilon's root
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    truth = (x - mean) / (variance + 1e-6).sqrt()
    close(layer(x), truth * layer.norm.weight.view(1, -1, 1, 1) + layer.norm.bias.view(1, -1, 1, 1))


def test_permute_moves_the_channels_last_without_a_copy():
    x = torch.randn(2, 6, 3, 4)
    y = Permute()(x)
    assert y.shape == (2, 3, 4, 6)
    assert torch.equal(y[1, 2, 3], x[1, :, 2, 3])
    assert y.data_ptr() == x.data_ptr()


def test_the_feed_forward_network_is_its_formula_with_the_exact_gelu(close):
    layer = FeedForward(6, 2.5).double()
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    hidden = torch.einsum('bchw,oc->bohw', x, layer.fc1.weight[:, :, 0, 0]) + layer.fc1.bias.view(1, -1, 1, 1)
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    hidden = hidden + conv(hidden, layer.conv.conv.weight, layer.conv.conv.bias, groups=15)
    truth = torch.einsum('bchw,oc->bohw', hidden, layer.fc2.weight[:, :, 0, 0]) + layer.fc2.bias.view(1, -1, 1, 1)
    close(layer(x), truth)


def test_the_stem_is_four_convolutions_without_an_activation_at_the_end():
    layers = Stem(3, 16, dict(type='BN'))
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.stride[0]) for c in convs] == [
        (3, 8, 2),
        (8, 8, 1),
        (8, 16, 2),
        (16, 16, 1),
    ]
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.GELU] * 3 + [nn.Conv2d, nn.BatchNorm2d]
    assert all(layer.approximate == 'none' for layer in layers if isinstance(layer, nn.GELU))
    assert layers(torch.randn(2, 3, 64, 33)).shape == (2, 16, 16, 9)


def test_a_downsampling_halves_the_map_and_normalises_it():
    layers = Downsample(16, 32, dict(type='BN'))
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d]
    assert layers(torch.randn(2, 16, 7, 10)).shape == (2, 32, 4, 5)


@pytest.mark.parametrize(
    ('kind', 'built'), [('BN', nn.BatchNorm2d), ('BN2d', nn.BatchNorm2d), ('SyncBN', nn.SyncBatchNorm)]
)
def test_a_batch_normalisation_is_built_from_its_configuration_which_is_left_alone(kind, built):
    for eps, momentum, trains in ((1e-5, 0.1, True), (1e-3, 0.02, False)):
        config = dict(type=kind) if trains else dict(type=kind, eps=eps, momentum=momentum, requires_grad=False)
        norm = build_norm(6, given := dict(config))
        assert (type(norm), norm.num_features, norm.eps, norm.momentum) == (built, 6, eps, momentum)
        assert [p.requires_grad for p in norm.parameters()] == [trains] * 2
        assert given == config
    with pytest.raises(TypeError, match='num_groups'):
        build_norm(6, dict(type=kind, num_groups=2))
