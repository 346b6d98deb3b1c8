"""Which trials of a study count, and what becomes of those that were lost with their worker.

A trial counts once it has ended by itself: in a value, pruned or with an error. It is lost if its worker died or was
stopped. Optuna notices that a trial's heartbeat has ceased and fails the trial, without an error; its values are queued
again for whoever asks next, now or when the study is gone on with.
"""

import os
import socket
from contextlib import suppress
from datetime import datetime, timedelta

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.trial import FrozenTrial, TrialState

HEARTBEAT_S, GRACE_S = 20, 60  # a trial that has been silent for longer than the latter is lost
ENDED = ('complete', 'pruned', 'fail')
ATTEMPTS = 3  # with the same values, where workers die of them


def state_of(trial: FrozenTrial) -> str:
    """Its state as Optuna names it; of failed ones ``lost``, or ``surplus``: one too many, that never began."""
    if trial.state != TrialState.FAIL:
        return trial.state.name.lower()
    return 'surplus' if 'surplus' in trial.user_attrs else 'fail' if 'error' in trial.user_attrs else 'lost'


def trials_in(study: optuna.Study, *states: str) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if state_of(trial) in states]


def ended(study: optuna.Study) -> list[FrozenTrial]:
    return trials_in(study, *ENDED)


def is_default(trial: optuna.Trial | FrozenTrial) -> bool:
    """Whether it has the config's own values."""
    return bool(trial.user_attrs.get('default'))


def has_place(study: optuna.Study, trial: optuna.Trial, total: int) -> bool:
    """Whether a trial is among the first ``total`` that are not lost, and the first with the config's own values.

    Workers that ask at the same moment get a trial each. As numbers never change, the same ones have a place whoever
    looks, and there are never more than wanted: Optuna's MaxTrialsCallback looks only after a trial, and counts lost
    ones too.
    """
    earlier = study.get_trials(deepcopy=False)[: trial.number]
    earlier = [other for other in earlier if state_of(other) not in ('lost', 'surplus')]
    return len(earlier) < total and not (is_default(trial) and any(map(is_default, earlier)))


def sign(study: optuna.Study, trial: optuna.Trial) -> None:
    """Say whose a trial is, once it has a heartbeat: Optuna's own comes from a thread that may not have begun yet."""
    if is_heartbeat_enabled(study._storage):
        study._storage.record_heartbeat(trial._trial_id)
    trial.set_user_attr('worker', {'host': socket.gethostname(), 'pid': os.getpid()})


def fail_lost_trials(study: optuna.Study) -> None:
    """Fail what was lost with its worker, and queue its values again.

    Optuna leaves out those without a heartbeat, whose worker died before it had signed them.
    """
    optuna.storages.fail_stale_trials(study)
    for trial in trials_in(study, 'running'):
        if 'worker' not in trial.user_attrs and datetime.now() - trial.datetime_start > timedelta(seconds=GRACE_S):
            give_up(study, trial.number)


def give_up(study: optuna.Study, number: int) -> None:
    """Fail a trial, and queue its values again, unless another worker was quicker."""
    with suppress(UpdateFinishedTrialError, ValueError):
        queue_again(study, study.tell(number, state=TrialState.FAIL))


def queue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue the values of a lost trial, unless workers have died of them too often; what Optuna calls for each."""
    if state_of(trial) == 'lost':
        trial.user_attrs.pop('worker', None)
        RetryHeartbeatStaleTrialCallback(max_retry=ATTEMPTS - 1)(study, trial)
