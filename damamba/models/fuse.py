"""A backbone for inference alone: batch normalisation folded into convolutions, each pair of kernels made one."""

from typing import TypeVar

import torch
from torch import nn

from damamba.models.backbone import Block
from damamba.models.folding import can_fold, folded, folded_before
from damamba.models.layers import Downsample, ResidualDepthwiseConv, Stem

Module = TypeVar('Module', bound=nn.Module)


@torch.no_grad()
def fuse(model: Module) -> Module:
    """Fold what can be folded in a DAMamba, or in every DAMamba inside a detector, in place; return the model.

    It is in evaluation mode then, and gives the same features but for rounding. It is not for training: its batch
    normalisations are gone, also from its state dict, but for those that keep no statistics.
    """
    model.eval()
    for module in list(model.modules()):
        if isinstance(module, Stem | Downsample):
            for i in range(0, len(module), 3):
                if can_fold(module[i + 1]):
                    _set(module[i], folded(module[i], module[i + 1]))
                    module[i + 1] = nn.Identity()
        elif isinstance(module, Block) and can_fold(module.norm2):
            _set(module.mlp.fc1, folded_before(module.norm2, module.mlp.fc1))
            module.norm2 = nn.Identity()
        elif isinstance(module, ResidualDepthwiseConv):
            module.merge()
    return model


def _set(conv: nn.Conv2d, weights: tuple[torch.Tensor, torch.Tensor]) -> None:
    for parameter, value in zip((conv.weight, conv.bias), weights, strict=True):
        parameter.copy_(value)
