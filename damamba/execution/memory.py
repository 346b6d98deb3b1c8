"""Training in less memory: what is cheap to compute is not kept for the backward, but computed once more there.

Autograd keeps the input of nearly every operator: for DAMamba twice what it keeps for a Swin of its size. Torch's
selective checkpointing keeps the outputs of convolutions, matrix products and the two operators; activations,
normalisations, sums, casts and two products are recomputed. With a block's ``with_cp`` everything is.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

import damamba.ops  # noqa: F401  defines the two operators

WORTH = 2**20  # numbers in a map: with fewer, too little memory is saved for the time that it costs
aten = torch.ops.aten
KEPT = {
    aten.convolution.default,
    aten.mm.default,
    aten.addmm.default,
    torch.ops.damamba.adaptive_sample.default,
    torch.ops.damamba.selective_scan.default,
}


def applies(block: nn.Module, x: Tensor) -> bool:
    """Whether a training would keep much for this map."""
    return torch.is_grad_enabled() and x.numel() >= WORTH and not x.is_meta


def run(block: nn.Module, x: Tensor) -> Tensor:
    """The formula: [B, C, H, W] -> [B, C, H, W]."""
    return recompute(block.formula, x, block=block)


def run_stem(stem: nn.Sequential, x: Tensor) -> Tensor:
    """The formula: [B, 3, H, W] -> [B, C, H/4, W/4]; the activations are recomputed."""
    x = stem[1](stem[0](x))
    for i in range(2, len(stem), 3):
        act, conv, norm = stem[i], stem[i + 1], stem[i + 2]
        x = norm(recompute(lambda y, act=act, conv=conv: conv(act(y)), x))
    return x


def recompute(function: Callable[..., Tensor], *args: Tensor | None, block: nn.Module | None = None) -> Tensor:
    """Return ``function(*args)``; its backward computes it once more, but for what is dear.

    Args:
        block: whose batch normalisations are inside: their statistics move once. With ``with_cp``, all is recomputed.
    """
    return checkpoint(function, *args, use_reentrant=False, context_fn=partial(_contexts, block))


def recompute_all(block: nn.Module, x: Tensor) -> Tensor:
    """Run the formula, and for ``with_cp`` once more in the backward; also when the model is compiled."""
    if not (block.with_cp and torch.is_grad_enabled()):
        return block.formula(x)
    if torch.compiler.is_compiling():  # which moves the statistics once by itself
        return checkpoint(block.formula, x, use_reentrant=False)
    return recompute(block.formula, x, block=block)


def _contexts(block: nn.Module | None) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Around the forward, and around the second one in the backward."""
    if block is not None and block.with_cp:
        return nullcontext(), _Again(block)
    keeping, kept = create_selective_checkpoint_contexts(partial(_policy, block))
    return keeping, _Again(block, kept)


def _policy(block: nn.Module | None, context, operator: OpOverload, *args, **kwargs) -> CheckpointPolicy:
    """Keep what is dear to compute; not the step sizes, sums of R products, nor what the backward never reads."""
    keeps = operator in KEPT
    if operator is aten.mm.default:
        keeps = args[0].shape[1] > args[1].shape[1]
    elif operator is aten.convolution.default and block is not None and block.layer_scale_2 is None:
        keeps = args[1].shape[0] >= args[1].shape[1]  # the feed-forward network's last one is only added to x
    return CheckpointPolicy.MUST_SAVE if keeps else CheckpointPolicy.PREFER_RECOMPUTE


class _Again(AbstractContextManager):
    """Around a second forward. What it takes of the first one's results stays there, for one more backward."""

    def __init__(self, block: nn.Module | None, kept: AbstractContextManager | None = None):
        self.block, self.kept = block, kept

    def __enter__(self) -> None:
        self.stack = ExitStack()
        if self.block is not None:
            self.stack.enter_context(_frozen_statistics(self.block))
        if self.kept is not None:
            results = {operator: copy(given) for operator, given in self.kept.storage.items()}
            self.stack.callback(self.kept.storage.update, results)
            self.stack.enter_context(self.kept)

    def __exit__(self, *error) -> None:
        self.stack.__exit__(*error)


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Let running statistics go to a copy: a batch counts once."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    saved = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    try:
        for norm, buffers in zip(norms, saved, strict=True):
            for name, value in buffers.items():
                setattr(norm, name, value.clone())
        yield
    finally:
        for norm, buffers in zip(norms, saved, strict=True):
            for name, value in buffers.items():
                setattr(norm, name, value)
