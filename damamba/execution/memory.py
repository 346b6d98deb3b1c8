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

State = tuple[nn.Module, dict[str, nn.Parameter | None], dict[str, Tensor | None], bool]
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
    return torch.is_grad_enabled() and x.numel() >= WORTH


def run(block: nn.Module, x: Tensor) -> Tensor:
    """The formula: [B, C, H, W] -> [B, C, H, W]."""
    return recompute(block.formula, x, module=block)


def run_stem(stem: nn.Sequential, x: Tensor) -> Tensor:
    """The formula: [B, 3, H, W] -> [B, C, H/4, W/4]; the activations are recomputed."""
    x = stem[1](stem[0](x))
    for i in range(2, len(stem), 3):
        act, conv, norm = stem[i], stem[i + 1], stem[i + 2]
        x = norm(recompute(lambda y, act=act, conv=conv: conv(act(y)), x, module=stem))
    return x


def recompute(function: Callable[..., Tensor], *args: Tensor | None, module: nn.Module) -> Tensor:
    """Return ``function(*args)``; its backward computes it once more, but for what is expensive.

    Args:
        module: whose parts are called. The second time they have the parameters and the mode of the first, and their
            statistics stay. With a block's ``with_cp``, all is recomputed.
    """
    return checkpoint(function, *args, use_reentrant=False, context_fn=partial(_contexts, module))


def _contexts(module: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Around the forward, and around the second one in the backward."""
    if getattr(module, 'with_cp', False):
        return nullcontext(), _Again(module)
    keeping, kept = create_selective_checkpoint_contexts(partial(_policy, module))
    return keeping, _Again(module, kept)


def _policy(module: nn.Module, context, operator: OpOverload, *args, **kwargs) -> CheckpointPolicy:
    """Keep what is expensive to compute; not the step sizes, sums of R products, nor what the backward never reads."""
    keeps = operator in KEPT
    if operator is aten.mm.default:
        keeps = args[0].shape[1] > args[1].shape[1]
    elif operator is aten.convolution.default and getattr(module, 'layer_scale_2', operator) is None:
        keeps = args[1].shape[0] >= args[1].shape[1]  # the feed-forward network's last one is only added to x
    return CheckpointPolicy.MUST_SAVE if keeps else CheckpointPolicy.PREFER_RECOMPUTE


class _Again(AbstractContextManager):
    """Around a second forward. What it takes of the first one's results stays there, for one more backward."""

    def __init__(self, module: nn.Module, kept: AbstractContextManager | None = None):
        self.first, self.kept = _states(module), kept

    def __enter__(self) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(_states_of(self.first))
        if self.kept is not None:
            results = {operator: copy(given) for operator, given in self.kept.storage.items()}
            self.stack.callback(self.kept.storage.update, results)
            self.stack.enter_context(self.kept)

    def __exit__(self, *error) -> None:
        self.stack.__exit__(*error)


def _states(module: nn.Module) -> list[State]:
    """The parameters, the buffers and the mode of a module's parts."""
    return [(part, dict(part._parameters), dict(part._buffers), part.training) for part in module.modules()]


@contextmanager
def _states_of(states: list[State]) -> Iterator[None]:
    """Let parts have these states; running statistics go to a copy, since a batch counts once."""
    now = [(part, dict(part._parameters), dict(part._buffers), part.training) for part, *_ in states]
    try:
        for part, parameters, buffers, training in states:
            if isinstance(part, _BatchNorm):
                buffers = {name: value if value is None else value.clone() for name, value in buffers.items()}
            _set_state(part, parameters, buffers, training)
        yield
    finally:
        for state in now:
            _set_state(*state)


def _set_state(part: nn.Module, parameters: dict, buffers: dict, training: bool) -> None:
    part._parameters.update(parameters)
    part._buffers.update(buffers)
    part.training = training
