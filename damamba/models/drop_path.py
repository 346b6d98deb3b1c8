"""Stochastic depth that does not compute what it drops: at a rate of 0.6 a branch takes 0.4 of its time.

The results are those of the usual way, which computes a branch for every sample and multiplies some by 0. What is
drawn are the samples that go through the branch; a branch that none goes through gets gradients of 0.
Source: Huang et al., arXiv 1603.09382.
"""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """x + branch(x) in training: for each sample by itself the branch is left out, or divided by how often it is not.

    Args:
        drop_prob: how often a sample's branch is left out, from 0 to less than 1.
    """

    def __init__(self, drop_prob: float):
        super().__init__()
        self.drop_prob = drop_prob

    def draw(self, batch: int) -> Tensor | None:
        """The samples that go through the branch; None for all of them.

        Drawn on the CPU, so that no GPU has to be waited for. A compiled model computes all: sizes that only a draw
        tells would break its graph.
        """
        if not self._drops() or torch.compiler.is_compiling():
            return None
        kept = torch.rand(batch, device='cpu') >= self.drop_prob
        return None if kept.all() else kept.nonzero().squeeze(1)

    def add(self, x: Tensor, branch: Tensor, kept: Tensor | None) -> Tensor:
        """x [B, C, H, W] and what the branch made of the samples that :meth:`draw` gave; channels-last."""
        if not self._drops():
            return x + branch
        if torch.compiler.is_compiling():
            mask = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop_prob
            branch = branch * mask
        scale = 1 / (1 - self.drop_prob)
        if kept is None:
            return torch.add(x, branch, alpha=scale)
        dtype = torch.promote_types(x.dtype, branch.dtype)
        rows, more = (t.to(dtype).permute(0, 2, 3, 1) for t in (x, branch))
        return rows.index_add(0, kept.to(x.device), more, alpha=scale).permute(0, 3, 1, 2)

    def _drops(self) -> bool:
        return self.training and self.drop_prob > 0

    def extra_repr(self) -> str:
        return f'drop_prob={self.drop_prob:g}'


def take(x: Tensor, kept: Tensor | None) -> Tensor:
    """These samples of x [B, C, H, W], channels-last; all for None."""
    if kept is None:
        return x
    return x.permute(0, 2, 3, 1).index_select(0, kept.to(x.device)).permute(0, 3, 1, 2)
