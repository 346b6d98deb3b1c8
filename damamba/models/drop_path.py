"""Stochastic depth: a residual branch is left out at random, for each sample by itself.

Source: Huang et al., arXiv 1603.09382.
"""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, 0 for the samples whose branch is left out; the others are divided by how often they are not.

    Args:
        drop_prob: how often a sample's branch is left out, from 0 to less than 1.
    """

    def __init__(self, drop_prob: float):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        if not self.drops():
            return x
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.drop_prob
        return x * kept / (1 - self.drop_prob)

    def drops(self) -> bool:
        """Whether it does anything now."""
        return self.training and self.drop_prob > 0

    def extra_repr(self) -> str:
        return f'drop_prob={self.drop_prob:g}'
