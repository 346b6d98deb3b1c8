"""Training with stochastic depth: a branch is computed for the samples that go through it, not for those left out.

At a rate of 0.6 a branch takes 0.4 of its time. Values and gradients are those of the formula, which computes a branch
for all samples and multiplies some by 0; a branch that none goes through gets gradients of 0. The draws are the CPU's,
so that no GPU has to be waited for, and those of a whole model go to its device in one copy.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from damamba.execution import memory
from damamba.execution.parts import as_built

Kept = Tensor | None  # the numbers of the samples that go through a branch, [K]; None for all


class Draws(NamedTuple):
    """What was drawn for a forward."""

    kept: Mapping[nn.Module, tuple[Kept, Kept]]  # by the block's drop path
    batch: int
    surroundings: tuple


_drawn: ContextVar[Draws | None] = ContextVar('drawn', default=None)


def applies(block: nn.Module, x: Tensor) -> bool:
    """Whether stochastic depth is at work; or statistics are other processes' too, which are to be gathered once."""
    return block.drop_path.drops() or gathers(block)


def gathers(block: nn.Module) -> bool:
    """Whether statistics of a batch are gathered from all processes, which is not to be done again in a backward."""
    return isinstance(block.norm2, nn.SyncBatchNorm) and block.norm2.training and torch.is_grad_enabled()


def run(block: nn.Module, x: Tensor) -> Tensor:
    """The formula: [B, C, H, W] -> [B, C, H, W]."""
    kept = None, None
    if block.drop_path.drops():
        kept = _drawn_for(block.drop_path, x) or _draw([block.drop_path], len(x), x.device)[0]
    recomputes = memory.applies(block, x) or (block.with_cp and torch.is_grad_enabled())
    again = partial(memory.recompute, module=block)
    if recomputes and not gathers(block):
        return again(_formula, block, x, *kept)
    return _formula(block, x, *kept, call=again if recomputes else _call)


def run_parts(block: nn.Module, x: Tensor) -> Tensor:
    """The formula, whose branches are recomputed, and what is between them is not: [B, C, H, W] -> [B, C, H, W]."""
    again = partial(memory.recompute, module=block)
    return _formula(block, x, None, None, again, lambda x, branch, *_: x + block.drop_path(branch))


def _call(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return function(x)


def _formula(
    block: nn.Module, x: Tensor, first: Kept, second: Kept, call: Callable = _call, add: Callable | None = None
) -> Tensor:
    """The block's formula, of the samples that go through the mixer, and through the feed-forward network."""
    add = add or partial(_add, drop_path=block.drop_path)
    x = block.pos_embed(x)
    branch = call(lambda y: block.token_mixer(block.norm1(y)), _take(x, first))
    x = add(x, block.scale(branch, block.layer_scale_1), first)
    branch = call(block.mlp, _take(block.norm2(x), second))
    return add(x, block.scale(branch, block.layer_scale_2), second)


def _take(x: Tensor, kept: Kept) -> Tensor:
    """These samples of x [B, C, H, W]."""
    return x if kept is None else x.permute(0, 2, 3, 1).index_select(0, kept).permute(0, 3, 1, 2)


def _add(x: Tensor, branch: Tensor, kept: Kept, drop_path: nn.Module) -> Tensor:
    """x [B, C, H, W] and the branch of the samples kept, each divided by how often it is not left out."""
    share = 1 / (1 - drop_path.drop_prob) if drop_path.drops() else 1
    if kept is None:
        return torch.add(x, branch, alpha=share)
    dtype = torch.promote_types(x.dtype, branch.dtype)
    rows, more = (t.to(dtype).permute(0, 2, 3, 1) for t in (x, branch))
    return rows.index_add(0, kept, more, alpha=share).permute(0, 3, 1, 2)


@contextmanager
def drawn(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Inside, the blocks of a model know what was drawn for them, with one copy to the device of x."""
    blocks = [block for stage in model.stages for block in getattr(stage, 'blocks', ())]
    paths = [block.drop_path for block in blocks if as_built(block) and block.drop_path.drops()]
    kept = _draw(paths, len(x), x.device) if paths else ()
    token = _drawn.set(Draws(dict(zip(paths, kept, strict=True)), len(x), _surroundings()))
    try:
        yield
    finally:
        _drawn.reset(token)


def _drawn_for(path: nn.Module, x: Tensor) -> tuple[Kept, Kept] | None:
    """What was drawn for a block, unless somebody around it recomputes it: that repeats only the draws inside."""
    drawn = _drawn.get()
    fits = drawn and drawn.batch == len(x) and drawn.surroundings == _surroundings()
    return drawn.kept.get(path) if fits else None


def _surroundings() -> tuple:
    """By which checkpointing, of both kinds, shows itself in a forward."""
    return torch.is_grad_enabled(), torch._C._autograd._top_saved_tensors_default_hooks(False)


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
