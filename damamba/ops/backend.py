"""Which implementation of an operator runs: the argument, else ``DAMAMBA_BACKEND``, else the first that can."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ENV = 'DAMAMBA_BACKEND'


class Backend(NamedTuple):
    """One implementation of an operator."""

    name: str
    run: Callable[..., Tensor]
    why_not: Callable[..., str | None]  # same arguments as run; the reason it can't take them, or None
    backward: Callable[..., Sequence[Tensor]]  # the output's gradient and run's arguments; gradients of the latter


def by_autograd(run: Callable[..., Tensor]) -> Callable[..., Sequence[Tensor]]:
    """The backward of an implementation that autograd differentiates: it runs once more."""

    def backward(grad: Tensor, *inputs: Tensor) -> Sequence[Tensor]:
        inputs = [t.detach().requires_grad_() for t in inputs]
        with torch.enable_grad():
            out = run(*inputs)
        return torch.autograd.grad(out, inputs, grad, allow_unused=True, materialize_grads=True)

    return backward


def can_always(*args) -> str | None:
    """Say why a plain torch backend can't run: never."""
    return None


def choose(operator: str, backends: Sequence[Backend], requested: str | None, args: tuple) -> Backend:
    """Return the backend that runs ``operator`` on ``args``; ``backends`` is ordered, the preferred one first.

    Raises:
        ValueError: the backend asked for does not exist.
        RuntimeError: the backend asked for can't run these arguments, or none can; the text gives the reasons.
    """
    source = 'backend' if requested else ENV
    requested = requested or os.environ.get(ENV)
    if requested:
        return _forced(operator, backends, requested, source, args)
    reasons = []
    for backend in backends:
        reason = backend.why_not(*args)
        if reason is None:
            return backend
        reasons.append(f'{backend.name}: {reason}')
    raise RuntimeError(f'{operator}: no backend can run here. ' + '; '.join(reasons))


def _forced(operator: str, backends: Sequence[Backend], name: str, source: str, args: tuple) -> Backend:
    by_name = {backend.name: backend for backend in backends}
    if name not in by_name:
        raise ValueError(f'{operator}: {source}={name!r} is unknown; this operator has {", ".join(by_name)}')
    reason = by_name[name].why_not(*args)
    if reason is not None:
        raise RuntimeError(f'{operator}: {source}={name!r} was asked for but cannot run: {reason}')
    return by_name[name]
