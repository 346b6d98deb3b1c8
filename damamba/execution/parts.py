"""Whether a module's parts are what they were built as, so that running them in another way gives the same."""

from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.modules import module as torch_module

HOOKS = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks'
PLAIN = Tensor, Parameter, type(None)


def note_parts(module: nn.Module) -> None:
    """Note the types of a module's parts, in their order: it has just been built."""
    module.parts = tuple(type(part) for part in module.modules())


def as_built(module: nn.Module) -> bool:
    """Whether nobody has changed what runs.

    Every part is of the type that was noted. None has a hook, a tensor of a type that may compute in its own way, or on
    the instance a ``forward`` or a tensor in a parameter's place, as pruning and the older ``weight_norm`` leave it. No
    hook is registered for all modules.
    """
    if torch_module._has_any_global_hook():
        return False
    parts = list(module.modules())
    return tuple(map(type, parts)) == module.parts and all(map(_is_plain, parts))


def _is_plain(part: nn.Module) -> bool:
    own = part.__dict__
    if any(own[hooks] for hooks in HOOKS) or 'forward' in own or 'formula' in own:
        return False
    if any(type(tensor) not in PLAIN for tensor in (*own['_parameters'].values(), *own['_buffers'].values())):
        return False
    return not any(isinstance(value, Tensor) for value in own.values())
