"""What a study is about, and the study itself: opened, or refused where it was begun with something else."""

import hashlib
import json
import os
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

from damamba.engine.config_checks import READ_BY_RUNNER, leaves
from damamba.run_record.datasets import sha256_of
from damamba.tuning import TuningError
from damamba.tuning.lost_trials import is_default
from damamba.tuning.overrides import MISSING, configured, value_at, write_overrides
from damamba.tuning.space import Parameter, defaults

WITHOUT_CHECKPOINTS = {'interval': -1, 'save_last': False, 'save_best': None}
LAST_CHECKPOINT = {'max_keep_ckpts': 1, 'save_last': True, 'save_best': None}
OF_THE_MACHINE = {'data_root', 'num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory'}
LOGS = {'log_level', 'log_processor', 'visualizer', 'vis_backends'}
HOOKS = {f'default_hooks.{name}' for name in ('checkpoint', 'logger', 'timer', 'visualization')}
IDLE = {'work_dir', 'resume', 'launcher', 'env_cfg'} | LOGS | HOOKS
FILES = {'ann_file', 'load_from', 'checkpoint', 'pretrained'}
LONGEST, SHOWN = 100, 3  # letters of a value, and keys that an error names


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
        own, hook = dict(self.options), value_at(self.own_settings, 'default_hooks.checkpoint')
        if hook is not None:  # else it is switched off
            settings = LAST_CHECKPOINT if self.keep_checkpoints else WITHOUT_CHECKPOINTS
            kind = {'type': 'CheckpointHook'} if hook is MISSING else {}
            own |= {f'default_hooks.checkpoint.{name}': value for name, value in {**kind, **settings}.items()}
        return write_overrides(self.trial_folder(number).with_suffix('.py'), self.config, own, values)

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
    begun = {**now, **study.user_attrs}
    settings, metric = differences(begun['conditions'], now['conditions']), begun['metric']
    keys = sorted(key for key in {*begun['space'], *space} if begun['space'].get(key) != now['space'].get(key))
    faults = {  # what it was begun with that is not so now, and what to give it
        f'was begun with other settings: {settings}; give it the same config and --cfg-options': settings,
        f'was begun with another space: {", ".join(keys)} differ; give it the same': keys,
        f'is about {metric}, not {task.metric}: give --metric {metric}': metric != task.metric,
    }
    for fault in filter(faults.get, faults):
        raise TuningError(f'the study {name!r} {fault}, or begin another one with --study NAME')
    for key in now.keys() - study.user_attrs.keys():
        study.set_user_attr(key, now[key])
    return study


def conditions(cfg: Config, processes: int) -> dict[str, Any]:
    """What in a config, settled, and in the command that trains it decides on trials' values, by dotted keys.

    Where files lie on a machine does not, but what is in them does; neither do the processes that load pictures, the
    logs, or the checkpoints that are kept.
    """
    content = dict(leaves(cfg.to_dict()))
    folders = {key[: -len('data_root')]: it for key, it in content.items() if f'.{key}'.endswith('.data_root') and it}
    roots = sorted({folder.rstrip('/') for folder in folders.values() if folder.strip('./')}, key=len, reverse=True)
    found = {'--gpus': processes}
    for key, value in content.items():
        first, *rest = parts = key.split('.')  # a variable of the file counts only where it is used
        is_idle = IDLE & {first, '.'.join([first, *rest[:1]])} or OF_THE_MACHINE & {*parts}
        if first in READ_BY_RUNNER and not first.startswith('test_') and not is_idle:  # tests come after the training
            around = max((holder for holder in folders if holder and key.startswith(holder)), key=len, default=None)
            found[key] = _comparable(key.rpartition('.')[2], value, folders.get(around, ''), roots)
    return found


def _comparable(name: str, value: Any, root: str, roots: list[str]) -> Any:
    """As another machine would have it: a file by its content, another path without what leads to it."""
    if isinstance(value, str):
        path = os.path.join(root, value)
        if ('/' in value or name in FILES) and os.path.isfile(path):
            return f'sha256 {(sha256_of(Path(path)) or "unknown")[:12]}'
        value = next((value.removeprefix(f'{root}/') for root in roots if value.startswith(f'{root}/')), value)
        if os.path.isabs(value) or (name in FILES and '://' not in value):
            return os.path.basename(value.rstrip('/'))
    text = json.dumps(value, default=_named)
    return json.loads(text) if len(text) <= LONGEST else f'sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}'


def _named(value: Any) -> Any:
    """What JSON has no word for: functions and classes by their names, sets in order."""
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else getattr(value, '__qualname__', str(value))


def differences(first: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is not the same, the keys of the highest level first; empty where all is."""
    first, now = ({key: json.dumps(it, ensure_ascii=False) for key, it in values.items()} for values in (first, now))
    keys = [key for key in {*first, *now} if first.get(key) != now.get(key)]
    keys.sort(key=lambda key: (key.count('.'), key))
    texts = [f'{key} ({first.get(key, "not set")} then, {now.get(key, "not set")} now)' for key in keys[:SHOWN]]
    return ', '.join(texts) + (f' and {len(keys) - SHOWN} more' if len(keys) > SHOWN else '')


def queue_own_values(study: optuna.Study, task: Task, say: Callable[[str], None]) -> None:
    """Have the config's own values tried, unless they were already; ``say`` is told why if they can't be."""
    values, reason = defaults(task.space, task.own_settings)
    if values is None:
        say(f"the config's own values are not tried: {reason}")
    elif not any(map(is_default, study.get_trials(deepcopy=False))):
        study.enqueue_trial(values, user_attrs={'default': True})


def make_sampler(name: str, trials: int, seed: int | None, study: optuna.Study) -> BaseSampler:
    """Draw at random at first, and always other numbers than those that the study has seen.

    The seed is made another one for each state that the study is gone on with in, and for each of several machines.
    """
    if seed is not None:
        seen, me = study.get_trials(deepcopy=False), socket.gethostname()
        is_shared = any(trial.user_attrs.get('worker', {}).get('host', me) != me for trial in seen)
        machine = [zlib.crc32(me.encode())] if is_shared else []
        seed = int(np.random.SeedSequence([seed, len(seen), *machine]).generate_state(1)[0])
    startup = min(10, max(3, trials // 4))  # Optuna's 10 are looked at before they are made use of, or fewer
    return RandomSampler(seed) if name == 'random' else TPESampler(seed=seed, n_startup_trials=startup)


def make_pruner(name: str, trials: int) -> BasePruner:
    if name == 'none':
        return NopPruner()
    return HyperbandPruner() if name == 'hyperband' else MedianPruner(n_startup_trials=min(5, max(3, trials // 4)))
