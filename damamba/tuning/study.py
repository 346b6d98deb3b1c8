"""What a study is about, and the study itself: opened, or refused where it was begun with something else."""

import json
import socket
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from mmengine.config import Config
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage

from damamba.tuning import TuningError
from damamba.tuning.conditions import conditions, differences
from damamba.tuning.lost_trials import is_default
from damamba.tuning.overrides import MISSING, configured, value_at, write_overrides
from damamba.tuning.space import Parameter, defaults

WITHOUT_CHECKPOINTS = {'interval': -1, 'save_last': False, 'save_best': None}
LAST_CHECKPOINT = {'max_keep_ckpts': 1, 'save_last': True, 'save_best': None}


@dataclass(frozen=True)
class Task:
    """What is tuned, on what, and where its files go."""

    config: Path
    space: list[Parameter]
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)  # of the command line: budget, data_root
    metric: str = 'segm_mAP'
    keep_checkpoints: bool = False
    processes: int = 1  # of a trial

    def trial_folder(self, number: int) -> Path:
        return self.folder / f'trial_{number:04d}'

    def write_config(self, number: int, values: Mapping[str, Any]) -> Path:
        """Write the config file of a trial."""
        own = {**self.options, **self._checkpoints()}
        return write_overrides(self.trial_folder(number).with_suffix('.py'), self.config, own, values)

    def _checkpoints(self) -> dict[str, Any]:
        hook = value_at(self.own_settings, 'default_hooks.checkpoint')
        if hook is None:
            return {}  # switched off
        settings = LAST_CHECKPOINT if self.keep_checkpoints else WITHOUT_CHECKPOINTS
        kind = {'type': 'CheckpointHook'} if hook is MISSING else {}
        return {f'default_hooks.checkpoint.{name}': value for name, value in {**kind, **settings}.items()}

    @cached_property
    def own_settings(self) -> Config:
        """The config with the command line in it, in the place of whose values others are put."""
        return configured(self.config, self.options, {})


def open_study(storage: BaseStorage, name: str, task: Task, pruner: BasePruner) -> optuna.Study:
    """Open a study, or begin it; TuningError if it was begun with another config, space or metric."""
    study = optuna.create_study(
        storage=storage, pruner=pruner, study_name=name, direction='maximize', load_if_exists=True
    )
    space = {parameter.key: parameter.to_dict() for parameter in task.space}
    about = dict(conditions=conditions(task.own_settings, task.processes), space=space, metric=task.metric)
    now = json.loads(json.dumps(about))  # as a storage gives it back
    fault = _difference({**now, **study.user_attrs}, now)
    if fault:
        raise TuningError(f'the study {name!r} {fault}, or begin another one with --study NAME')
    for key in now.keys() - study.user_attrs.keys():
        study.set_user_attr(key, now[key])
    return study


def _difference(begun: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What a study was begun with that is not so now, and what to give it; empty where all is the same."""
    settings = differences(begun['conditions'], now['conditions'])
    if settings:
        return f'was begun with other settings: {settings}; give it the same config and --cfg-options'
    first, space = begun['space'], now['space']
    keys = sorted(key for key in {*first, *space} if first.get(key) != space.get(key))
    if keys:
        return f'was begun with another space: {", ".join(keys)} differ; give it the same'
    metric = begun['metric']
    return '' if metric == now['metric'] else f'is about {metric}, not {now["metric"]}: give --metric {metric}'


def queue_own_values(study: optuna.Study, task: Task, say: Callable[[str], None]) -> None:
    """Have the config's own values tried, unless they were already; ``say`` is told why if they can't be."""
    values, reason = defaults(task.space, task.own_settings)
    if values is None:
        say(f"the config's own values are not tried: {reason}")
    elif not any(map(is_default, study.get_trials(deepcopy=False))):
        study.enqueue_trial(values, user_attrs={'default': True})


def make_sampler(name: str, trials: int, seed: int | None, study: optuna.Study) -> BaseSampler:
    """Draw at random at first, and always other numbers than those that the study has seen."""
    own = None if seed is None else _own_seed(seed, study)
    return RandomSampler(own) if name == 'random' else TPESampler(seed=own, n_startup_trials=_startup(trials))


def _own_seed(seed: int, study: optuna.Study) -> int:
    """Another one for each state that the study is gone on with in, and for each of several machines."""
    trials, me = study.get_trials(deepcopy=False), socket.gethostname()
    is_shared = any(trial.user_attrs.get('worker', {}).get('host', me) != me for trial in trials)
    machine = [zlib.crc32(me.encode())] if is_shared else []
    return int(np.random.SeedSequence([seed, len(trials), *machine]).generate_state(1)[0])


def _startup(trials: int) -> int:
    """How many trials are looked at before they are made use of: Optuna's 10, or fewer in a short study."""
    return min(10, max(3, trials // 4))


def make_pruner(name: str, trials: int) -> BasePruner:
    if name == 'none':
        return NopPruner()
    return HyperbandPruner() if name == 'hyperband' else MedianPruner(n_startup_trials=min(5, _startup(trials)))
