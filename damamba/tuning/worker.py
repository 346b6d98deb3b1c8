"""One process that takes trials of a study, one after the other, until there are enough of them."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import get_heartbeat_thread
from optuna.trial import FrozenTrial, TrialState

from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError
from damamba.tables import is_figure
from damamba.tuning import TuningError, lost_trials
from damamba.tuning.overrides import described
from damamba.tuning.space import decode
from damamba.tuning.study import Task
from damamba.tuning.training import Training, TrialError, final_value, last_epoch, measured

FAILURES = 3  # so many in a row, and no success ever: something is wrong with all of them


class StoppedError(TuningError):
    """A worker that does not go on, though trials are left."""


@dataclass
class Worker:
    """Takes trials until ``total`` of them have ended, whoever ran them."""

    study: optuna.Study
    task: Task
    training: Training
    total: int
    say: Callable[[str], None]  # is told in a line what happens
    timeout_s: float = math.inf  # after which no trial is begun
    poll_s: float = 2.0  # between two looks whether the trials of others have ended
    _failures: int = 0

    def run(self) -> None:
        """Work until the study has its trials, or the time is over; StoppedError if the first trials all failed."""
        until, waiting = time.monotonic() + self.timeout_s, False
        while len(lost_trials.ended(self.study)) < self.total and time.monotonic() < until:
            lost_trials.fail_lost_trials(self.study)
            begun = lost_trials.trials_in(self.study, *lost_trials.ENDED, 'running')
            if len(begun) < self.total:
                self._take_one()
                waiting = False
                continue
            others = ', '.join(str(trial.number) for trial in begun if trial.state == TrialState.RUNNING)
            if others and not waiting:
                self.say(f'waiting for what others run: trial {others}')
                waiting = True
            time.sleep(self.poll_s)

    def _take_one(self) -> None:
        """A trial as in Optuna's own loop, with its heartbeat; one that is interrupted is not lost for the study."""
        trial = self.study.ask({parameter.key: parameter.distribution() for parameter in self.task.space})
        try:
            with get_heartbeat_thread(trial._trial_id, self.study._storage):
                value, state = self._outcome(trial)
            told = self.study.tell(trial, value, state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            told = self.study.trials[trial.number]
        except BaseException:  # Ctrl-C, say
            lost_trials.give_up(self.study, trial.number)
            raise
        how = lost_trials.state_of(told)
        if how in lost_trials.ENDED:
            self._tell(told)
        elif how == 'lost':
            self.say(f'trial {trial.number} was given up by others: this worker was not heard of for too long')

    def _outcome(self, trial: optuna.Trial) -> tuple[float | None, TrialState]:
        lost_trials.sign(self.study, trial)
        if not lost_trials.has_place(self.study, trial, self.total):
            trial.set_user_attr('surplus', True)
            return None, TrialState.FAIL
        values = decode(self.task.space, trial.params)
        lost = RetryHeartbeatStaleTrialCallback.retry_history(self.study.trials[trial.number])
        if lost:
            self.say(f'trial {lost[-1]} was lost with its worker: its values are tried again')
        default = ", the config's own values" if lost_trials.is_default(trial) else ''
        self.say(f'trial {trial.number} begins{default}: {described(values)}')
        try:
            config, folder = self.task.write_config(trial.number, values), self.task.trial_folder(trial.number)
            last = last_epoch(read_config(str(config)))
            with self.training.run(config, folder) as is_running:
                self._follow(trial, folder, last, is_running)
            return final_value(measured(folder, self.task.metric), self.task.metric), TrialState.COMPLETE
        except optuna.TrialPruned:
            return None, TrialState.PRUNED
        except (ConfigError, TrialError) as error:
            trial.set_user_attr('error', f'error: {error}' if isinstance(error, ConfigError) else str(error))
            return None, TrialState.FAIL

    def _follow(self, trial: optuna.Trial, folder: Path, last: int, is_running: Callable[[], bool]) -> None:
        """Report what validation measures, until the training ends or is not worth going on."""
        reported, goes_on = set(), True
        while goes_on:
            goes_on = is_running()
            values = measured(folder, self.task.metric)
            for epoch in sorted(values.keys() - reported):
                if is_figure(values[epoch]):
                    trial.report(values[epoch], epoch)
                    reported.add(epoch)
                    if goes_on and epoch < last and trial.should_prune():
                        raise optuna.TrialPruned

    def _tell(self, trial: FrozenTrial) -> None:
        """Say how a trial ended, or raise where it is clear that all will fail."""
        seconds = f'{trial.duration.total_seconds():.0f} s'
        if trial.state == TrialState.FAIL:
            self._failures += 1
            error = trial.user_attrs['error']
            self.say(f'trial {trial.number} failed after {seconds}: {error.splitlines()[0]}')
            if self._failures >= FAILURES and not lost_trials.trials_in(self.study, 'complete', 'pruned'):
                log = self.task.trial_folder(trial.number) / 'trial.log'
                raise StoppedError(f'the first {self._failures} trials failed, see {log}: {error}')
        elif trial.state == TrialState.PRUNED:
            self.say(f'trial {trial.number} pruned after {seconds}: {self.task.metric} {trial.value:.4f} is not enough')
        else:
            best = self.study.best_trial
            record = 'the best so far' if best.number == trial.number else f'best {best.value:.4f}, trial {best.number}'
            self.say(f'trial {trial.number}: {self.task.metric} {trial.value:.4f} after {seconds} ({record})')
