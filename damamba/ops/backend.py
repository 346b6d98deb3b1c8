"""Which implementation of an operator runs: the argument, else ``DAMAMBA_BACKEND``, else the first that can."""

import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

import torch
from torch import Tensor

ENV = 'DAMAMBA_BACKEND'


def by_autograd(forward: Callable[..., Tensor]) -> Callable[..., Sequence[Tensor]]:
    """The backward of an implementation that autograd differentiates: it runs once more."""

    def backward(grad: Tensor, *inputs: Tensor) -> Sequence[Tensor]:
        with torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), _excluded()):
            inputs = [t.detach().requires_grad_() for t in inputs]
            with torch.enable_grad():
                out = forward(*inputs)
            return torch.autograd.grad(out, inputs, grad, allow_unused=True, materialize_grads=True)

    return backward


def _excluded():
    """What torch's dispatcher leaves out here, but for autograd: below a mode, such as a FLOP counter, it is."""
    autograd = torch._C.DispatchKeySet(torch._C.DispatchKey.AutogradFunctionality)
    return torch._C._dispatch_tls_local_exclude_set() - autograd


def can_always(*args) -> str | None:
    """Say why a plain torch backend can't run: never."""
    return None


def choose(
    operator: str, backends: Mapping[str, ModuleType], args: Sequence[Tensor], requested: str | None = None
) -> ModuleType:
    """Return the backend that runs ``operator`` on ``args``; ``backends`` is ordered, the preferred one first.

    Raises:
        ValueError: the backend asked for does not exist.
        RuntimeError: the backend asked for can't run these arguments, or none can; the text gives the reasons.
    """
    if requested:
        return _forced(operator, backends, requested, 'backend', args)
    if wanted := os.environ.get(ENV):
        return _forced(operator, backends, wanted, ENV, args)
    for backend in backends.values():
        if backend.why_not(*args) is None:
            return backend
    reasons = '; '.join(f'{name}: {backend.why_not(*args)}' for name, backend in backends.items())
    raise RuntimeError(f'{operator}: no backend can run here. {reasons}')


def _forced(operator: str, backends: Mapping[str, ModuleType], name: str, source: str, args: Sequence) -> ModuleType:
    if name not in backends:
        raise ValueError(f'{operator}: {source}={name!r} is unknown; this operator has {", ".join(backends)}')
    reason = backends[name].why_not(*args)
    if reason is not None:
        raise RuntimeError(f'{operator}: {source}={name!r} was asked for but cannot run: {reason}')
    return backends[name]
