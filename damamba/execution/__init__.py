"""Ways to run a block faster, or in less memory, with the same result: the seam between what is computed and how.

A strategy knows a block by its modules, and is tested against the block's ``formula``. In front of all of them stands
one question: are the modules what they were built as? Where somebody hooked, wrapped, pruned or replaced one, the
formula runs, in which every module is called. It also runs when the model is compiled or exported.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from damamba.execution import memory, skipping, strips
from damamba.execution.parts import as_built, note_parts

__all__ = ['as_built', 'draw_depths', 'note_parts', 'only', 'run', 'run_stem']


class Strategy(NamedTuple):
    """One way to run a block."""

    name: str
    applies: Callable[[nn.Module, Tensor], bool]  # whether it is of use for this block and input
    run: Callable[[nn.Module, Tensor], Tensor]


BLOCK = (
    Strategy('strips', strips.applies, strips.run),  # inference on the CPU
    Strategy('skipping', skipping.applies, skipping.run),  # training with stochastic depth
    Strategy('memory', memory.applies, memory.run),  # training
)
STEM = (
    Strategy('strips', strips.applies_to_stem, strips.run_stem),
    Strategy('memory', memory.applies, memory.run_stem),
)
_allowed: frozenset[str] = frozenset(strategy.name for strategy in BLOCK + STEM)


def run(block: nn.Module, x: Tensor) -> Tensor:
    """Run a block's formula, or the first strategy that gives the same and is of use: [B, C, H, W] -> the same."""
    strategy = _choose(BLOCK, block, x)
    return strategy.run(block, x) if strategy else _run_formula(block, x)


def _run_formula(block: nn.Module, x: Tensor) -> Tensor:
    """Run the formula, and for ``with_cp`` once more in the backward; also when the model is compiled."""
    if not (block.with_cp and torch.is_grad_enabled()):
        return block.formula(x)
    if torch.compiler.is_compiling():  # which moves the statistics once by itself
        return checkpoint(block.formula, x, use_reentrant=False)
    return skipping.run_parts(block, x) if skipping.gathers(block) else memory.run(block, x)


def run_stem(stem: nn.Module, x: Tensor) -> Tensor:
    """The same of the stem: [B, 3, H, W] -> [B, C, H/4, W/4]."""
    strategy = _choose(STEM, stem, x)
    return strategy.run(stem, x) if strategy else stem.formula(x)


def draw_depths(model: nn.Module, x: Tensor) -> AbstractContextManager:
    """Draw stochastic depth for all blocks of a model that is about to see x, at once."""
    draws = 'skipping' in _allowed and model.training and not _is_traced(x)
    return skipping.drawn(model, x) if draws else nullcontext()


def _choose(strategies: Sequence[Strategy], module: nn.Module, x: Tensor) -> Strategy | None:
    infers_elsewhere = not (x.is_cpu or module.training or torch.is_grad_enabled())  # there is no strategy for that
    if _is_traced(x) or infers_elsewhere or not as_built(module):
        return None
    suits = (it for it in strategies if it.name in _allowed and it.applies(module, x))
    return next(suits, None)


def _is_traced(x: Tensor) -> bool:
    """Whether a program is made of this call, not results."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or type(x) is not Tensor or x.is_meta


@contextmanager
def only(*names: str) -> Iterator[None]:
    """Allow these strategies alone, for tests and measurements; without a name, the formula alone."""
    global _allowed
    before, _allowed = _allowed, frozenset(names)
    try:
        yield
    finally:
        _allowed = before
