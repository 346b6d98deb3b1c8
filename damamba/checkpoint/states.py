"""State dicts: finding them in a checkpoint, stripping names, holding them against a model, filling a backbone."""

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from damamba.checkpoint.files import CheckpointError, read

logger = logging.getLogger('damamba.checkpoint')

CONTAINERS = (
    'model',
    'model_ema',
    'state_dict',
    'model_state_dict',
)  # where trainers put the state dict, the preferred one first
CLASSIFIER = 'head.'  # of the published ImageNet models


def state_dict_of(content: Mapping) -> tuple[dict[str, Tensor], str | None]:
    """Find the state dict in what :func:`read` returned; strip ``module.``; name the key it lay under, or None."""
    container = next((key for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
    tensors = content[container] if container else content
    state = {_without(name, 'module.'): value for name, value in tensors.items() if isinstance(value, Tensor)}
    return state, container


def backbone_state(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Keep a backbone's tensors, without ``backbone.`` and the classifier; also return the names left out."""
    prefix = 'backbone.' if any(name.startswith('backbone.') for name in state) else ''
    kept = {name: value for name, value in state.items() if name.startswith(prefix) and not name.startswith(CLASSIFIER)}
    left = [name for name in state if name not in kept]
    return {name.removeprefix(prefix): value for name, value in kept.items()}, left


def _without(name: str, prefix: str) -> str:
    while name.startswith(prefix):
        name = name.removeprefix(prefix)
    return name


@dataclass(frozen=True)
class Match:
    """How a state dict fits a module: names, each a list in the module's or the file's order."""

    filled: list[str]
    missing: list[str]
    mismatched: list[str]  # "name (file 80x3, model 112x3)"
    unexpected: list[str]

    @property
    def complete(self) -> bool:
        """Whether every tensor of the module is in the file, in its shape."""
        return not (self.missing or self.mismatched)

    @property
    def left_out(self) -> list[str]:
        """The layers that keep their own weights since the file's have another shape, such as those of the classes."""
        return list(dict.fromkeys(name.split()[0].rpartition('.')[0] for name in self.mismatched))

    def __str__(self) -> str:
        total = len(self.filled) + len(self.missing) + len(self.mismatched)
        parts = [f'{len(self.filled)} of {total} tensors match']
        for label in ('missing', 'mismatched', 'unexpected'):
            names = getattr(self, label)
            if names:
                parts.append(f'{len(names)} {label}: {_first(names)}')
        return '; '.join(parts)


def match(module: nn.Module, state: Mapping[str, Tensor]) -> Match:
    """Hold a state dict against a module's own."""
    own = module.state_dict()
    found = {name: value for name, value in own.items() if name in state}
    mismatched = [name for name, value in found.items() if value.shape != state[name].shape]
    return Match(
        filled=[name for name in found if name not in set(mismatched)],
        missing=[name for name in own if name not in state],
        mismatched=[f'{n} (file {_size(state[n])}, model {_size(own[n])})' for n in mismatched],
        unexpected=[name for name in state if name not in own],
    )


def check_finite(module: nn.Module, state: Mapping[str, Tensor], source: str | os.PathLike) -> None:
    """Refuse weights with which a model would find nothing, without a word.

    Raises:
        CheckpointError: the state dict has parameters or buffers of the module that are not finite, or variances that
            its batch normalisation can not divide by; the text names them.
    """
    names = [name for name in module.state_dict() if name in state and not state[name].isfinite().all()]
    if names:
        raise CheckpointError(f'{source} holds weights that are not finite: {_first(names)}; its training went wrong')
    for owner, norm in module.named_modules():
        name = f'{owner}.running_var'.removeprefix('.')
        if name in state and hasattr(norm, 'eps'):
            _check_variances(name, state[name], norm.eps, source)


def _check_variances(name: str, variances: Tensor, epsilon: float, source: str | os.PathLike) -> None:
    if (variances < 0).any():
        raise CheckpointError(f'{source} holds variances below 0: {name}; it is damaged')
    if not epsilon and not variances.all():
        raise CheckpointError(
            f'{source} holds variances of 0, and the epsilon of the batch normalisation is 0 too: {name}; half '
            'precision makes 0 of what is below 3e-8: wanted the weights as float32'
        )


def describe(state: Mapping[str, Tensor]) -> str:
    """Say in a few words what model a state dict is of."""
    state = backbone_state(state)[0]
    depths: dict[int, int] = {}
    for name in state:
        if found := re.match(r'stages\.(\d+)\.blocks\.(\d+)\.token_mixer\.', name):
            stage, block = map(int, found.groups())
            depths[stage] = max(depths.get(stage, 0), block + 1)
    dims = [state[f'norm{i + 1}.norm.weight'].numel() for i in sorted(depths) if f'norm{i + 1}.norm.weight' in state]
    if depths:
        return f'a DAMamba of depths {_numbers(depths.values())} and dims {_numbers(dims)}'
    return f'{len(state)} tensors of another model ({_first(list(state))})' if state else 'no tensors'


def load_backbone(backbone: nn.Module, source: str | os.PathLike) -> Match:
    """Fill every tensor of a DAMamba backbone from a checkpoint of a classifier, a backbone or a detector.

    Raises:
        CheckpointError: the file is unusable, or not every tensor of the backbone is in it, in its shape and finite.
    """
    state, container = state_dict_of(read(source))
    state, left = backbone_state(state)
    result = match(backbone, state)
    if not result.complete or result.unexpected:
        raise CheckpointError(f'{source} holds {describe(state)}; wanted {describe(backbone.state_dict())}: {result}')
    check_finite(backbone, state, source)
    backbone.load_state_dict(state)
    where = f', under {container!r}' if container else ''
    unused = f'; left out {_first(left)}' if left else ''
    logger.info(
        'Filled %d of %d tensors of the backbone from %s%s%s', len(result.filled), len(state), source, where, unused
    )
    return result


def _size(value: Tensor) -> str:
    return 'x'.join(map(str, value.shape)) or 'scalar'


def _numbers(values: Iterable[int]) -> str:
    return ', '.join(map(str, values))


def _first(names: list[str], count: int = 3) -> str:
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '')
