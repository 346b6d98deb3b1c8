"""Batch normalisation at inference is a scale and a shift, which the convolution beside it can take in."""

import torch
from torch import Tensor, nn


def can_fold(norm: nn.Module) -> bool:
    """Whether this normalisation is only a scale and a shift: in evaluation, with statistics; or was folded before."""
    if isinstance(norm, nn.Identity):
        return True
    return not norm.training and norm.running_var is not None


def after(conv: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of norm(conv(x)) as one convolution."""
    if isinstance(norm, nn.Identity):
        return conv.weight, conv.bias
    scale, shift = _affine(norm)
    return conv.weight * scale.view(-1, 1, 1, 1), conv.bias * scale + shift


def before(norm: nn.Module, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of conv(norm(x)), conv being 1x1, as one convolution."""
    if isinstance(norm, nn.Identity):
        return conv.weight, conv.bias
    scale, shift = _affine(norm)
    return conv.weight * scale.view(1, -1, 1, 1), conv.bias + conv.weight.flatten(1) @ shift


@torch.no_grad()
def assign(conv: nn.Conv2d, weights: tuple[Tensor, Tensor]) -> None:
    """Give a convolution this weight and bias."""
    for parameter, value in zip((conv.weight, conv.bias), weights, strict=True):
        parameter.copy_(value)


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias
