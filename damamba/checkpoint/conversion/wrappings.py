"""What trainers put around weights: dictionaries, prefixes of the names, and tensors that are no weights."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from damamba.checkpoint.states import CONTAINERS

KEYS = (*CONTAINERS, 'net', 'network', 'weights', 'ema_state', 'ema_state_dict', 'ema')  # the preferred one first
PREFIXES = ('module.', 'model.', 'net.', '_orig_mod.')  # of DDP and AveragedModel, Lightning, torch.compile
DEEPEST = 4
PIXELS = {  # of red, green and blue, as our configs of other people's models have them
    'pixel_mean': ('mean', (123.675, 116.28, 103.53)),
    'pixel_std': ('std', (58.395, 57.12, 57.375)),
}


class Unwrapped(NamedTuple):
    """A state dict, and what was taken off it."""

    state: dict[str, Tensor]
    under: tuple[str, ...]  # the keys that it lay under
    beside: tuple[str, ...]  # keys with weights that were not taken
    keys: tuple[str, ...]  # the file's own
    left: dict[str, str]  # names of tensors that are no weights of the model, and why


def unwrap(content: Mapping, matches: Callable[[Mapping[str, Tensor]], bool]) -> Unwrapped:
    """Find a state dict in a file; take prefixes off its names until they match, or none is left."""
    node, under, beside = content, [], []
    while len(under) < DEEPEST and (found := [key for key in KEYS if _holds_tensors(node.get(key))]):
        node = node[found[0]]
        beside += ['.'.join((*under, key)) for key in found[1:]]
        under.append(found[0])
    named = {name: value for name, value in node.items() if isinstance(name, str) and isinstance(value, Tensor)}
    left = {name: reason for name, value in named.items() if (reason := _reason(name, value))}
    state, outside = _without_prefixes({name: named[name] for name in named if name not in left}, matches)
    return Unwrapped(state, tuple(under), tuple(beside), tuple(map(str, content)), left | outside)


def _holds_tensors(node: object, depth: int = DEEPEST) -> bool:
    """Whether a dictionary is a state dict, or one lies in it under a key that is known."""
    if not isinstance(node, Mapping) or not depth:
        return False
    return any(isinstance(value, Tensor) for value in node.values()) or any(
        _holds_tensors(node.get(key), depth - 1) for key in KEYS
    )


def _reason(name: str, value: Tensor) -> str | None:
    """Why a tensor is no weight of any model, if it is none."""
    last = name.rpartition('.')[2]
    if last == 'n_averaged':
        return 'a counter of what was averaged, which no layer reads'
    if last not in PIXELS:
        return None
    setting, usual = PIXELS[last]
    given = value.flatten().float()
    if given.shape == (3,) and torch.allclose(given, given.new_tensor(usual), rtol=1e-4):
        return f'the {setting} of pixels, which the config has, too'
    return (
        f"the {setting} of pixels, {[round(it, 3) for it in given.tolist()]}: set the config's data_preprocessor to it"
    )


def _without_prefixes(
    state: dict[str, Tensor], matches: Callable[[Mapping[str, Tensor]], bool]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The state dict without what stands before all names of the model; and the tensors that it does not stand before.

    A state dict that matches with none of the prefixes off stays as it is.
    """
    inner, outside, before = state, {}, ''
    while inner and not matches(inner):
        counts = {prefix: sum(name.startswith(prefix) for name in inner) for prefix in PREFIXES}
        prefix = max(PREFIXES, key=counts.get)
        if not counts[prefix]:
            return state, {}
        reason = f'it lies outside of {before}{prefix}, where the weights of the model are'
        outside |= {f'{before}{name}': reason for name in inner if not name.startswith(prefix)}
        inner = {name.removeprefix(prefix): value for name, value in inner.items() if name.startswith(prefix)}
        before += prefix
    return inner, outside
