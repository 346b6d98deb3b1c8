"""Training with stochastic depth: a branch is computed for the samples that go through it, not for those left out.

At a rate of 0.6 a branch takes 0.4 of its time. Values and gradients are those of the formula, which computes a branch
for all samples and multiplies some by 0; a branch that none goes through gets gradients of 0. The draws are the CPU's,
so that no GPU has to be waited for, and those of a whole model go to its device in one copy.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn

from damamba.execution import memory

Kept = Tensor | None  # the numbers of the samples that go through a branch, [K]; None for all

_drawn: ContextVar[Mapping[nn.Module, tuple[Kept, Kept]]] = ContextVar('drawn', default=MappingProxyType({}))


def applies(block: nn.Module, x: Tensor) -> bool:
    """Whether stochastic depth is at work; or statistics are other processes' too, which are to be gathered once."""
    return not x.is_meta and (block.drop_path.drops() or _gathers(block))


def _gathers(block: nn.Module) -> bool:
    return isinstance(block.norm2, nn.SyncBatchNorm) and block.norm2.training and torch.is_grad_enabled()


def run(block: nn.Module, x: Tensor) -> Tensor:
    """The formula: [B, C, H, W] -> [B, C, H, W]."""
    kept = None, None
    if block.drop_path.drops():
        kept = _drawn.get().get(block.drop_path) or _draw([block.drop_path], len(x), x.device)[0]
    recomputes = memory.applies(block, x) or (block.with_cp and torch.is_grad_enabled())
    again = partial(memory.recompute, block=block)
    if recomputes and not _gathers(block):
        return again(_formula, block, x, *kept)
    return _formula(block, x, *kept, call=again if recomputes else _call)


def _call(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return function(x)


def _formula(block: nn.Module, x: Tensor, first: Kept, second: Kept, call: Callable = _call) -> Tensor:
    """The block's formula, of the samples that go through the mixer, and through the feed-forward network."""
    x = block.pos_embed(x)
    branch = call(lambda y: block.token_mixer(block.norm1(y)), _take(x, first))
    x = _add(x, branch, block.layer_scale_1, first, block.drop_path)
    branch = call(block.mlp, _take(block.norm2(x), second))
    return _add(x, branch, block.layer_scale_2, second, block.drop_path)


def _take(x: Tensor, kept: Kept) -> Tensor:
    """These samples of x [B, C, H, W]."""
    return x if kept is None else x.permute(0, 2, 3, 1).index_select(0, kept).permute(0, 3, 1, 2)


def _add(x: Tensor, branch: Tensor, scale: Tensor | None, kept: Kept, drop_path: nn.Module) -> Tensor:
    """x [B, C, H, W] and the branch of the samples kept, each divided by how often it is not left out."""
    if scale is not None:
        branch = (branch * scale.view(1, -1, 1, 1)).to(branch.dtype)
    share = 1 / (1 - drop_path.drop_prob) if drop_path.drops() else 1
    if kept is None:
        return torch.add(x, branch, alpha=share)
    dtype = torch.promote_types(x.dtype, branch.dtype)
    rows, more = (t.to(dtype).permute(0, 2, 3, 1) for t in (x, branch))
    return rows.index_add(0, kept, more, alpha=share).permute(0, 3, 1, 2)


@contextmanager
def drawn(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Inside, the blocks of a model know what was drawn for them, with one copy to the device of x."""
    paths = [block.drop_path for stage in model.stages for block in stage.blocks if block.drop_path.drops()]
    token = _drawn.set(dict(zip(paths, _draw(paths, len(x), x.device), strict=True)))
    try:
        yield
    finally:
        _drawn.reset(token)


def _draw(paths: Sequence[nn.Module], batch: int, device: torch.device) -> list[tuple[Kept, Kept]]:
    """For each block the samples that go through its two branches; in the order in which the formula draws."""
    rates = torch.tensor([path.drop_prob for path in paths for _ in range(2)], device='cpu')
    goes = torch.rand(len(rates), batch, device='cpu') >= rates[:, None]
    numbers = goes.nonzero()[:, 1]
    if device.type == 'cuda':
        numbers = numbers.pin_memory()
    parts = numbers.to(device, non_blocking=True).split(goes.sum(1).tolist())
    kept = [None if len(part) == batch else part for part in parts]
    return list(zip(kept[::2], kept[1::2], strict=True))
