"""Batch normalisation at inference is a scale and a shift, which the convolution beside it can take in."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from damamba.execution.parts import as_built, note_parts

Module = TypeVar('Module', bound=nn.Module)


@torch.no_grad()
def fuse(model: Module) -> Module:
    """Fold what can be folded in a DAMamba, or in every DAMamba inside a detector, in place; return the model.

    Batch normalisation goes into the convolution beside it, and each residual depthwise convolution becomes a plain
    one. The model is in evaluation mode then, and gives the same features but for rounding. It is not for training or
    loading: its state dict has other names. What cannot be folded stays: a batch normalisation without statistics, a
    block of which somebody has changed a part.
    """
    model.eval()
    for module in list(model.modules()):
        if as_built(module):
            _fuse_convs(module) if isinstance(module, nn.Sequential) else _fuse_block(module)
            note_parts(module)
    return model


def _fuse_convs(convs: nn.Sequential) -> None:
    for i in range(0, len(convs), 3):
        if can_fold(convs[i + 1]):
            _assign(convs[i], after(convs[i], convs[i + 1]))
            convs[i + 1] = nn.Identity()


def _fuse_block(block: nn.Module) -> None:
    if can_fold(block.norm2):
        _assign(block.mlp.fc1, before(block.norm2, block.mlp.fc1))
        block.norm2 = nn.Identity()
    for parent, name in ((block, 'pos_embed'), (block.mlp, 'conv')):
        part = getattr(parent, name)
        if not isinstance(part, nn.Conv2d):  # it was merged before
            setattr(parent, name, part.merged())


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


def _assign(conv: nn.Conv2d, weights: tuple[Tensor, Tensor]) -> None:
    """Give a convolution this weight and bias."""
    for parameter, value in zip((conv.weight, conv.bias), weights, strict=True):
        parameter.copy_(value)


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias
