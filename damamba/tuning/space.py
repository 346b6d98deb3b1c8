"""What may be tuned: keys of a config, between limits or among choices."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config
from optuna.distributions import BaseDistribution, json_to_distribution

from damamba.engine.config import read_config
from damamba.engine.config_checks import leaves, nearest, same
from damamba.tuning import TuningError
from damamba.tuning.overrides import MISSING, value_at

RANGE = {'low', 'high', 'log', 'step'}
FIELDS = {'float': RANGE, 'int': RANGE, 'categorical': {'choices'}}
LR, WEIGHT_DECAY, MOMENTUM = (f'optim_wrapper.optimizer.{name}' for name in ('lr', 'weight_decay', 'momentum'))
MAX_NORM = 'optim_wrapper.clip_grad.max_norm'
DROP_PATH = ('model.backbone.drop_path_rate', 'model.backbone.arch.drop_path_rate')
WARM_UP = 'param_scheduler.0'


@dataclass(frozen=True)
class Parameter:
    """One key and the values it may take."""

    key: str
    type: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple = ()

    def to_dict(self) -> dict[str, Any]:
        """What a study remembers."""
        return {name: value for name, value in asdict(self).items() if name != 'key'}

    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        return json_to_distribution(json.dumps({**self.to_dict(), 'choices': [*map(encoded, self.choices)]}))

    def place(self, value: Any) -> Any:
        """Optuna's value for one of the config; ``MISSING`` where that lies outside."""
        if self.type == 'categorical':
            return next((encoded(choice) for choice in self.choices if same(choice, value)), MISSING)
        if isinstance(value, bool) or not isinstance(value, int if self.type == 'int' else int | float):
            return MISSING
        steps = (value - self.low) / self.step if self.step else 0
        return value if self.low <= value <= self.high and abs(steps - round(steps)) < 1e-8 else MISSING


def encoded(choice: Any) -> Any:
    """A choice as storages hold it: JSON where it is no scalar."""
    return choice if choice is None or isinstance(choice, bool | int | float | str) else json.dumps(choice)


def decode(space: list[Parameter], params: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the config from those of a trial."""
    choices = {(parameter.key, encoded(choice)): choice for parameter in space for choice in parameter.choices}
    return {key: choices.get((key, value), value) for key, value in params.items()}


def defaults(space: list[Parameter], cfg: Config) -> tuple[dict[str, Any] | None, str]:
    """The config's own values as Optuna knows them; or None, and why they can't be tried."""
    found = {}
    for parameter in space:
        value = value_at(cfg, parameter.key)
        found[parameter.key] = parameter.place(value)
        if found[parameter.key] is MISSING:
            return None, parameter.key + (' is not set there' if value is MISSING else f'={value!r} lies outside')
    return found, ''


def read_space(path: Path, cfg: Config) -> list[Parameter]:
    """Read ``space = {KEY: dict(type='float', low=, high=, log=), ...}`` from a Python, JSON or YAML file.

    TuningError says which file, range or key can't be used, and why.
    """
    if not path.is_file():
        raise TuningError(f'{path} does not exist; wanted a file with space = {{KEY: dict(type=, low=, high=), ...}}')
    try:
        content = read_config(str(path)).to_dict().get('space')
    except (yaml.YAMLError, json.JSONDecodeError, OSError) as error:
        raise TuningError(f'{path} can not be read: {" ".join(str(error).split())}') from error
    if not isinstance(content, dict) or not content:
        raise TuningError(f'{path} has no space: wanted space = {{KEY: dict(type=, low=, high=), ...}}')
    for key in content:
        inner = next((other for other in content if other.startswith(f'{key}.')), None)
        if inner:
            raise TuningError(f'{path}: {key} holds {inner}, and each would undo the other: leave one of them out')
    return [_parameter(key, entry, cfg, path) for key, entry in content.items()]


def _parameter(key: str, entry: Any, cfg: Config, path: Path) -> Parameter:
    try:
        reason = _wrong_entry(key, entry, cfg)
        if not reason:
            parameter = Parameter(key, **{name: value for name, value in entry.items() if name != 'new'})
            parameter.distribution()
            return parameter
    except (TypeError, ValueError) as error:  # Optuna's own words, or JSON's
        reason = f': {error}'
    raise TuningError(f'{path}: {key}{reason}')


def _wrong_entry(key: str, entry: Any, cfg: Config) -> str:
    """What is wrong with an entry, to be read after its key; empty if nothing is."""
    kind = entry.get('type') if isinstance(entry, dict) else None
    if kind not in FIELDS:
        return f' must be a dict with type float, int or categorical, got {entry!r}'
    unknown = sorted(set(entry) - FIELDS[kind] - {'type', 'new'})
    if unknown:
        return f': type={kind!r} does not know {", ".join(unknown)}; it takes {", ".join(sorted(FIELDS[kind]))}'
    if not entry.get('new') and value_at(cfg, key) is MISSING:
        keys = [leaf for leaf, _ in leaves(cfg.to_dict())]
        near = nearest(key, [*keys, *(leaf.rpartition('.')[0] for leaf in keys)])
        hint = f'; is {near} meant?' if near else ''
        return f' is not in the config{hint} (a key that is to be added says new=True)'
    if kind != 'categorical':
        return _wrong_range(entry, kind == 'int')
    choices = entry.get('choices')
    if not isinstance(choices, list | tuple) or not choices:
        return f': choices must be a list of values, got {choices!r}'
    texts = [encoded(choice) for choice in choices]
    twice = [text for place, text in enumerate(texts) if text in texts[:place]]
    return f': choices has {twice[0]!r} twice' if twice else ''


def _wrong_range(entry: dict, is_whole: bool) -> str:
    kind, noun = (int, 'a whole number') if is_whole else (int | float, 'a number')
    for name in ('low', 'high', 'step'):
        value = entry.get(name)
        if value is None and name == 'step':
            continue
        if isinstance(value, bool) or not isinstance(value, kind):
            hint = ' (YAML takes 1e-5 for a text: write 1.0e-5)' if isinstance(value, str) else ''
            return f': {name} must be {noun}, got {value!r}{hint}'
        if not math.isfinite(value):
            return f': {name} must be finite, got {value}'
    log = entry.get('log', False)
    return '' if isinstance(log, bool) else f': log must be True or False, got {log!r}'


def preset(name: str, cfg: Config) -> list[Parameter]:
    """A space around what a config says: ``lr`` alone, or of all that steps its ``optimizer``."""
    own = {key: value_at(cfg, key) for key in (LR, WEIGHT_DECAY, MAX_NORM, MOMENTUM, *DROP_PATH)}
    if not _is_positive(own[LR]):
        raise TuningError(f'--preset {name} needs {LR} in the config: write a file for --space instead')
    if name == 'lr':
        return [_around(LR, own[LR])]
    space = [_around(key, own[key]) for key in (LR, WEIGHT_DECAY, MAX_NORM) if _is_positive(own[key])]
    momentum, rate = own[MOMENTUM], next((key for key in DROP_PATH if isinstance(own[key], int | float)), None)
    if _is_positive(momentum) and momentum < 1:
        space.append(Parameter(MOMENTUM, 'float', min(0.8, momentum), max(0.98, momentum)))
    if rate:
        space.append(Parameter(rate, 'float', 0.0, max(0.4, own[rate])))
    # How long the rate rises: iterations of LinearLR, or a share as our WarmUp has it.
    share, end, kind, by_epoch = (value_at(cfg, f'{WARM_UP}.{name}') for name in ('share', 'end', 'type', 'by_epoch'))
    if _is_positive(share) and share < 1:
        space.append(Parameter(f'{WARM_UP}.share', 'float', share / 4, min(share * 4, 1.0), log=True))
    elif kind == 'LinearLR' and not by_epoch and isinstance(end, int) and end >= 8:
        space.append(Parameter(f'{WARM_UP}.end', 'int', end // 4, end * 4, log=True))
    return space


def _around(key: str, value: float) -> Parameter:
    return Parameter(key, 'float', float(f'{value / 10:.6g}'), float(f'{value * 10:.6g}'), log=True)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
