"""One process that takes trials of a study, one after the other, until there are enough of them."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from mmengine.config import Config
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from damamba.engine.config import ConfigError
from damamba.engine.settings import SettingError
from damamba.tuning import TuningError
from damamba.tuning.conditions import conditions, differences
from damamba.tuning.ledger import Ledger, ended, has_ended, is_default, remember, running
from damamba.tuning.overrides import MISSING, configured, described, merged, value_at, write_overrides
from damamba.tuning.space import Parameter, defaults
from damamba.tuning.training import Process, Training, TrialError, final_value, is_valid, last_epoch, measured

FAILURES = 3  # so many in a row, and no success ever: something is wrong with all of them
WITHOUT_CHECKPOINTS = {'interval': -1, 'save_last': False, 'save_best': None}
LAST_CHECKPOINT = {'max_keep_ckpts': 1, 'save_last': True, 'save_best': None}


class StoppedError(TuningError):
    """A worker that does not go on, though trials are left."""


class _SurplusError(Exception):
    """A trial that another worker's makes one too many."""


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

    def write(self, number: int, values: Mapping[str, Any]) -> Path:
        """The config file of a trial."""
        own = {**self.options, **self._checkpoints()}
        return write_overrides(self.folder / f'trial_{number:04d}.py', self.config, own, values)

    def _checkpoints(self) -> dict[str, Any]:
        hook = value_at(self.own_settings, 'default_hooks.checkpoint')
        if hook is None:
            return {}  # switched off
        settings = LAST_CHECKPOINT if self.keep_checkpoints else WITHOUT_CHECKPOINTS
        kind = {'type': 'CheckpointHook'} if hook is MISSING else {}
        return {f'default_hooks.checkpoint.{name}': value for name, value in {**kind, **settings}.items()}

    def configured(self) -> Config:
        """The config with the command line in it, as it is trained."""
        return configured(self.config, self.options, {})

    @cached_property
    def own_settings(self) -> Config:
        """The config's own values, in the place of which others are put: before a shorter training shortens them."""
        return merged(self.config, self.options)


def open_study(storage: BaseStorage, name: str, task: Task, pruner: BasePruner) -> optuna.Study:
    """Open a study, or begin it.

    Raises:
        TuningError: it was begun with another config, space or metric.
    """
    study = optuna.create_study(
        storage=storage, pruner=pruner, study_name=name, direction='maximize', load_if_exists=True
    )
    changed = differences(*_remembered(study, 'conditions', conditions(task.configured(), task.processes)))
    if changed:
        raise TuningError(
            f'the study {name!r} was begun with other settings: {changed}; '
            'give it the same config and --cfg-options, or begin another one with --study NAME'
        )
    first, space = _remembered(study, 'space', {parameter.key: parameter.to_dict() for parameter in task.space})
    differing = sorted(key for key in {*first, *space} if first.get(key) != space.get(key))
    if differing:
        raise TuningError(
            f'the study {name!r} was begun with another space: {", ".join(differing)} differ; '
            'give it the same, or begin another one with --study NAME'
        )
    metric = remember(study, 'metric', task.metric)
    if metric != task.metric:
        raise TuningError(
            f'the study {name!r} is about {metric}, not {task.metric}: give --metric {metric}, or another --study NAME'
        )
    return study


def _remembered(study: optuna.Study, name: str, value: dict) -> tuple[dict, dict]:
    """What the study was begun with, and what is given now."""
    return remember(study, name, value), value


class Worker:
    """Takes trials until ``total`` of them have ended, whoever ran them.

    Args:
        say: is told in a line what happens.
        poll_s: how often to look whether the trials of others have ended.
    """

    def __init__(
        self,
        study: optuna.Study,
        task: Task,
        training: Training,
        total: int,
        say: Callable[[str], None],
        timeout_s: float | None = None,
        poll_s: float = 2.0,
    ):
        self.study, self.task, self.training, self.total, self.say = study, task, training, total, say
        self.until = time.monotonic() + timeout_s if timeout_s is not None else float('inf')
        self.poll_s = poll_s
        self.ledger = Ledger(study, task.folder / 'workers')
        self._current: optuna.Trial | None = None
        self._failures = 0
        self._waited = False

    def run(self) -> None:
        """Work until the study has its trials, or the time is over.

        Raises:
            StoppedError: the first trials all failed.
        """
        try:
            self._queue_default()
            while len(ended(self.study)) < self.total and time.monotonic() < self.until:
                self._take_one()
        finally:
            self.ledger.close()

    def _queue_default(self) -> None:
        values, reason = defaults(self.task.space, self.task.own_settings)
        if values is None:
            self.say(f"the config's own values are not tried: {reason}")
            return
        self.ledger.turn.take()
        try:
            self.ledger.queue_default(values)
        finally:
            self.ledger.turn.give()

    def _take_one(self) -> None:
        """Run one more trial if one is left, or wait a little for those that others run."""
        self.ledger.turn.take()
        try:
            for number in self.ledger.repair():
                self.say(f'trial {number} was lost with its worker: its values are tried again')
            if not self.ledger.is_full(self.total):
                self._optimize()
                return
        finally:
            self.ledger.turn.give()
        self._wait()

    def _wait(self) -> None:
        others = ', '.join(str(trial.number) for trial in running(self.study))
        if others and not self._waited:
            self.say(f'waiting for what others run: trial {others}')
            self._waited = True
        time.sleep(self.poll_s * random.uniform(0.8, 1.2))  # so that two do not step back for each other forever

    def _optimize(self) -> None:
        """One round of Optuna's own loop: it keeps the trial's heartbeat."""
        self._waited, self._current = False, None
        try:
            self.study.optimize(self._objective, n_trials=1, catch=(TrialError, _SurplusError))
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
            if isinstance(error, ValueError) and not str(error).startswith('Cannot tell a '):
                raise
            self.say(f'trial {self._current.number} was given up by others: this worker was not heard of for too long')
            return
        trial = self._frozen()
        if has_ended(trial):
            self._tell(trial)

    def _frozen(self) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[self._current.number]

    def _tell(self, trial: FrozenTrial) -> None:
        seconds = f'{trial.duration.total_seconds():.0f} s'
        if trial.state == TrialState.FAIL:
            self._failures += 1
            self.say(f'trial {trial.number} failed after {seconds}: {trial.user_attrs["error"].splitlines()[0]}')
            self._give_up_maybe(trial)
            return
        self._failures = 0
        if trial.state == TrialState.PRUNED:
            self.say(f'trial {trial.number} pruned after {seconds}: {self.task.metric} {trial.value:.4f} is not enough')
            return
        best = self.study.best_trial
        record = 'the best so far' if best.number == trial.number else f'best {best.value:.4f}, trial {best.number}'
        self.say(f'trial {trial.number}: {self.task.metric} {trial.value:.4f} after {seconds} ({record})')

    def _give_up_maybe(self, trial: FrozenTrial) -> None:
        succeeded = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if self._failures >= FAILURES and not succeeded:
            log = self.task.folder / f'trial_{trial.number:04d}' / 'trial.log'
            raise StoppedError(f'the first {self._failures} trials failed, see {log}: {trial.user_attrs["error"]}')

    def _objective(self, trial: optuna.Trial) -> float:
        self._current = trial
        try:
            self.ledger.sign(trial)
            values = {parameter.key: parameter.suggest(trial) for parameter in self.task.space}
            if self.ledger.is_full(self.total, but=trial.number):
                raise _SurplusError
        finally:
            self.ledger.turn.give()
        default = ", the config's own values" if is_default(trial) else ''
        self.say(f'trial {trial.number} begins{default}: {described(values)}')
        try:
            return self._train(trial, values)
        except TrialError as error:
            trial.set_user_attr('error', str(error))
            raise

    def _train(self, trial: optuna.Trial, values: Mapping[str, Any]) -> float:
        try:
            config = self.task.write(trial.number, values)
            last = last_epoch(configured(config, {}, {}))
        except (ConfigError, SettingError) as error:
            raise TrialError(f'error: {error}') from error
        folder = self.task.folder / f'trial_{trial.number:04d}'
        process = self.training.start(config, folder)
        try:
            self._follow(trial, process, folder, last)
        finally:
            process.end()
        process.check()
        return final_value(measured(folder, self.task.metric), self.task.metric)

    def _follow(self, trial: optuna.Trial, process: Process, folder: Path, last: int) -> None:
        """Report what validation measures, until the training ends or is not worth going on."""
        reported = set()
        goes_on = True
        while goes_on:
            goes_on = process.wait(self.training.poll_s)
            for step, value in sorted(measured(folder, self.task.metric).items()):
                if step in reported or not is_valid(value):
                    continue
                reported.add(step)
                trial.report(value, step)
                if goes_on and step < last and trial.should_prune():
                    raise optuna.TrialPruned
