"""Whether a module's parts are what they were built as, so that running them in another way gives the same."""

from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.modules import module as torch_module
from torch.nn.modules.batchnorm import _BatchNorm

HOOKS = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks'
PLAIN = Tensor, Parameter, type(None)


def note_parts(module: nn.Module) -> None:
    """Note the types of a module's parts, in their order: it has just been built."""
    module.parts = tuple(map(_kind, module.modules()))


def _kind(part: nn.Module) -> type:
    """Its type; one for all batch normalisations, which MMEngine and torch turn into SyncBN and back."""
    is_norm = isinstance(part, _BatchNorm) and type(part).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward)
    return _BatchNorm if is_norm else type(part)


def as_built(module: nn.Module) -> bool:
    """Whether nobody has changed what runs.

    Every part is of the type that was noted. None has a hook, a tensor of a type that may compute in its own way, or on
    the instance a ``forward`` or a tensor in a parameter's place, as pruning and the older ``weight_norm`` leave it. No
    hook is registered for all modules.
    """
    if torch_module._has_any_global_hook():
        return False
    parts = list(module.modules())
    return tuple(map(_kind, parts)) == module.parts and all(map(_is_plain, parts))


def _is_plain(part: nn.Module) -> bool:
    own = part.__dict__
    if any(own[hooks] for hooks in HOOKS) or 'forward' in own or 'formula' in own:
        return False
    if any(type(tensor) not in PLAIN for tensor in (*own['_parameters'].values(), *own['_buffers'].values())):
        return False
    return not any(isinstance(value, Tensor) for value in own.values())
