"""Whether a module's parts are what they were built as, so that running them in another way gives the same."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.modules import module as torch_module
from torch.nn.modules.batchnorm import _BatchNorm

OURS = 'damamba.models.', 'torch.nn.modules.'
BATCH_NORMS = _BatchNorm.forward, nn.SyncBatchNorm.forward
HOOKS = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks'
PLAIN = Tensor, Parameter, type(None)


def note_parts(module: nn.Module) -> None:
    """Note what a module's parts are, in their order: it has just been built."""
    parts = list(module.modules())
    module.built_parts = tuple(map(_kind, parts)), [frozenset(vars(part)) | {'built_parts'} for part in parts]


def _kind(part: nn.Module) -> tuple[type, Callable | None]:
    """Its type and what that runs; one for all batch normalisations, which become SyncBN and back."""
    kind = type(part)
    return (_BatchNorm, None) if kind.forward in BATCH_NORMS and issubclass(kind, _BatchNorm) else (kind, kind.forward)


def as_built(module: nn.Module) -> bool:
    """Whether a module is one whose parts were noted, and nobody has changed what runs.

    Every part is of the type that was noted, which is one of ours or torch's. None has a hook, a tensor of a type that
    may compute in its own way, or on the instance a function, such as a ``forward`` of its own, or a tensor in a
    parameter's place, as pruning and the older ``weight_norm`` leave it. No hook is registered for all modules.
    """
    if 'built_parts' not in vars(module) or torch_module._has_any_global_hook():
        return False
    parts, (kinds, names) = list(module.modules()), module.built_parts
    is_known = tuple(map(_kind, parts)) == kinds and all(kind.__module__.startswith(OURS) for kind, _ in set(kinds))
    return is_known and all(map(_is_plain, parts, names))


def _is_plain(part: nn.Module, names: frozenset[str]) -> bool:
    """``names`` are those of the attributes that it was built with."""
    own = part.__dict__
    first, second, third, fourth = HOOKS
    if own[first] or own[second] or own[third] or own[fourth]:  # any() takes longer, and each block asks all its parts
        return False
    for tensor in (*own['_parameters'].values(), *own['_buffers'].values()):
        if type(tensor) not in PLAIN:
            return False
    return not any(isinstance(own[name], Tensor) or callable(own[name]) for name in own.keys() - names)
