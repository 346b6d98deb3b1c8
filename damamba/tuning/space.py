"""What may be tuned: keys of a config, between limits or among choices."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from mmengine.config import Config
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from damamba.engine.config import read_config
from damamba.tuning import TuningError
from damamba.tuning.overrides import MISSING, nearest_key, plain, same, value_at

FIELDS = {
    'float': {'low', 'high', 'log', 'step'},
    'int': {'low', 'high', 'log', 'step'},
    'categorical': {'choices'},
}
LR = 'optim_wrapper.optimizer.lr'


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

    def distribution(self) -> BaseDistribution:
        if self.type == 'categorical':
            return CategoricalDistribution([encoded(choice) for choice in self.choices])
        if self.type == 'int':
            return IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)
        return FloatDistribution(float(self.low), float(self.high), log=self.log, step=self.step)

    def suggest(self, trial: optuna.Trial) -> Any:
        """A value for the config; Optuna knows choices that are no scalars by their JSON."""
        if self.type == 'categorical':
            return self.decoded(trial.suggest_categorical(self.key, self.distribution().choices))
        if self.type == 'int':
            return trial.suggest_int(self.key, self.low, self.high, log=self.log, step=self.step or 1)
        return trial.suggest_float(self.key, float(self.low), float(self.high), log=self.log, step=self.step)

    def decoded(self, value: Any) -> Any:
        """What Optuna's value stands for in the config."""
        if self.type != 'categorical':
            return value
        return next(choice for choice in self.choices if encoded(choice) == value)

    def place(self, value: Any) -> Any:
        """Optuna's value for one of the config; ``MISSING`` where that lies outside."""
        if self.type == 'categorical':
            return next((encoded(choice) for choice in self.choices if same(choice, value)), MISSING)
        if isinstance(value, bool) or not isinstance(value, int if self.type == 'int' else int | float):
            return MISSING
        steps = (value - self.low) / self.step if self.step else 0
        return value if self.low <= value <= self.high and abs(steps - round(steps)) < 1e-8 else MISSING

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; what a study remembers."""
        return json.loads(json.dumps({name: value for name, value in asdict(self).items() if name != 'key'}))


def encoded(choice: Any) -> Any:
    return choice if choice is None or isinstance(choice, bool | int | float | str) else json.dumps(choice)


def decode(space: list[Parameter], params: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the config from those of a trial."""
    return {parameter.key: parameter.decoded(params[parameter.key]) for parameter in space if parameter.key in params}


def defaults(space: list[Parameter], cfg: Config) -> tuple[dict[str, Any] | None, str]:
    """The config's own values as Optuna knows them; or None, and why they can't be tried."""
    found = {}
    for parameter in space:
        value = value_at(cfg, parameter.key)
        if value is MISSING:
            return None, f'{parameter.key} is not set there'
        found[parameter.key] = parameter.place(value)
        if found[parameter.key] is MISSING:
            return None, f'{parameter.key}={value!r} lies outside'
    return found, ''


def read_space(path: Path, cfg: Config) -> list[Parameter]:
    """Read ``space = {KEY: dict(type='float', low=, high=, log=), ...}`` from a Python, JSON or YAML file.

    Raises:
        TuningError: the file, a range or a key can't be used; says which and why.
    """
    if not path.is_file():
        raise TuningError(f'{path} does not exist; wanted a file with space = {{KEY: dict(type=, low=, high=), ...}}')
    try:
        content = read_config(str(path)).get('space')
    except (yaml.YAMLError, json.JSONDecodeError, OSError) as error:
        raise TuningError(f'{path} can not be read: {" ".join(str(error).split())}') from error
    if not isinstance(content, dict) or not content:
        raise TuningError(f'{path} has no space: wanted space = {{KEY: dict(type=, low=, high=), ...}}')
    for key in content:
        inner = next((other for other in content if other.startswith(f'{key}.')), None)
        if inner:
            raise TuningError(f'{path}: {key} holds {inner}, and each would undo the other: leave one of them out')
    return [_parameter(key, plain(entry), cfg, path) for key, entry in content.items()]


def _parameter(key: str, entry: Any, cfg: Config, path: Path) -> Parameter:
    where = f'{path}: {key}'
    kind = entry.get('type') if isinstance(entry, dict) else None
    if kind not in FIELDS:
        raise TuningError(f'{where} must be a dict with type float, int or categorical, got {entry!r}')
    unknown = sorted(set(entry) - FIELDS[kind] - {'type', 'new'})
    if unknown:
        raise TuningError(
            f'{where}: type={kind!r} does not know {", ".join(unknown)}; it takes {", ".join(sorted(FIELDS[kind]))}'
        )
    if not entry.get('new') and value_at(cfg, key) is MISSING:
        near = nearest_key(cfg, key)
        hint = f'; is {near} meant?' if near else ''
        raise TuningError(f'{where} is not in the config{hint} (a key that is to be added says new=True)')
    values = {name: value for name, value in entry.items() if name != 'new'}
    return _checked(where, Parameter(key, **{**values, 'choices': _choices(where, values)}))


def _choices(where: str, entry: dict) -> tuple:
    if entry['type'] != 'categorical':
        return ()
    choices = entry.get('choices')
    if not isinstance(choices, list | tuple) or not choices:
        raise TuningError(f'{where}: choices must be a list of values, got {choices!r}')
    try:
        texts = [encoded(choice) for choice in choices]
    except TypeError as error:
        raise TuningError(f'{where}: choices must be what JSON can hold: {error}') from error
    twice = [text for i, text in enumerate(texts) if text in texts[:i]]
    if twice:
        raise TuningError(f'{where}: choices has {twice[0]!r} twice')
    return tuple(choices)


def _checked(where: str, parameter: Parameter) -> Parameter:
    """Raise if a range is none; Optuna's own words say why."""
    if parameter.type == 'categorical':
        return parameter
    kind = int if parameter.type == 'int' else int | float
    for name in ('low', 'high', 'step'):
        value = getattr(parameter, name)
        if isinstance(value, bool) or not isinstance(value, kind | None if name == 'step' else kind):
            noun = 'a whole number' if parameter.type == 'int' else 'a number'
            hint = ' (YAML takes 1e-5 for a text: write 1.0e-5)' if isinstance(value, str) else ''
            raise TuningError(f'{where}: {name} must be {noun}, got {value!r}{hint}')
        if value is not None and not math.isfinite(value):
            raise TuningError(f'{where}: {name} must be finite, got {value}')
    if not isinstance(parameter.log, bool):
        raise TuningError(f'{where}: log must be True or False, got {parameter.log!r}')
    if parameter.step is not None and parameter.step <= 0:
        raise TuningError(f'{where}: step must be above 0, got {parameter.step}')
    if parameter.log and parameter.low <= 0:
        raise TuningError(f'{where}: low must be above 0 with log=True, got {parameter.low}')
    if parameter.low > parameter.high:
        raise TuningError(f'{where}: low={parameter.low} is above high={parameter.high}')
    try:
        parameter.distribution()
    except ValueError as error:
        raise TuningError(f'{where}: {error}') from error
    return parameter


def preset(name: str, cfg: Config) -> list[Parameter]:
    """A space around what a config says: ``lr`` alone, or of all that steps its ``optimizer``.

    Raises:
        TuningError: the config has no learning rate to begin with.
    """
    if not _is_positive(value_at(cfg, LR)):
        raise TuningError(f'--preset {name} needs {LR} in the config: write a file for --space instead')
    found = [_around(LR, cfg)]
    if name == 'optimizer':
        keys = ('optim_wrapper.optimizer.weight_decay', 'optim_wrapper.clip_grad.max_norm')
        found += [_around(key, cfg) for key in keys if _is_positive(value_at(cfg, key))]
        found += [*_momentum(cfg), *_drop_path(cfg), *_warm_up(cfg)]
    return found


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _around(key: str, cfg: Config) -> Parameter:
    value = value_at(cfg, key)
    return Parameter(key, 'float', low=float(f'{value / 10:.6g}'), high=float(f'{value * 10:.6g}'), log=True)


def _momentum(cfg: Config) -> list[Parameter]:
    key = 'optim_wrapper.optimizer.momentum'
    value = value_at(cfg, key)
    if not _is_positive(value) or value >= 1:
        return []
    return [Parameter(key, 'float', low=min(0.8, value), high=max(0.98, value))]


def _drop_path(cfg: Config) -> list[Parameter]:
    for key in ('model.backbone.drop_path_rate', 'model.backbone.arch.drop_path_rate'):
        value = value_at(cfg, key)
        if isinstance(value, int | float):
            return [Parameter(key, 'float', low=0.0, high=max(0.4, value))]
    return []


def _warm_up(cfg: Config) -> list[Parameter]:
    """For how many iterations the rate rises, where the first scheduler has it rise."""
    first = value_at(cfg, 'param_scheduler.0')
    if not isinstance(first, dict) or first.get('type') != 'LinearLR' or first.get('by_epoch', True):
        return []
    end = first.get('end')
    if not isinstance(end, int) or end < 8:
        return []
    return [Parameter('param_scheduler.0.end', 'int', low=end // 4, high=end * 4, log=True)]
