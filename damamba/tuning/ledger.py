"""Which trials of a study count: those that ended by themselves, in a value, pruned or with an error.

A trial whose worker died or was stopped is lost: it is failed without an error, and its values are tried again.
"""

import json
import os
import socket
import time
import uuid
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from damamba.tuning.locks import Lock
from damamba.tuning.storage import quiet

ATTEMPTS = 3  # with the same values, where workers die of them
UNSIGNED_S = 60.0  # a running trial that nobody has signed for that long is lost


def has_ended(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and not is_lost(trial)


def is_lost(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and 'error' not in trial.user_attrs


def is_default(trial: optuna.Trial | FrozenTrial) -> bool:
    return bool(trial.user_attrs.get('default'))


def ended(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if has_ended(trial)]


def running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


class Ledger:
    """The study as one worker sees it: what it has signed, what others have, and what they lost.

    Args:
        folder: of the locks; workers of one machine share it.
    """

    def __init__(self, study: optuna.Study, folder: Path):
        self.study, self.folder = study, folder.resolve()
        self._has_heartbeat = hasattr(study._storage, 'get_heartbeat_interval')  # a journal has none
        self.turn = Lock(folder / 'turn.lock')  # held from the count of trials until one more is signed
        self._own = Lock(folder / f'{uuid.uuid4().hex[:12]}.lock')
        self._own.take()
        self._unsigned: dict[int, float] = {}  # trial number: when it was first seen

    def close(self) -> None:
        self.turn.give()
        self._own.path.unlink(missing_ok=True)
        self._own.give()

    def sign(self, trial: optuna.Trial) -> None:
        """Say whose a trial is."""
        trial.set_user_attr('worker', {'host': socket.gethostname(), 'pid': os.getpid(), 'lock': str(self._own.path)})

    def is_full(self, total: int, but: int | None = None) -> bool:
        """Whether as many trials as are wanted have ended or run, without the one of this number."""
        others = [trial for trial in running(self.study) if trial.number != but]
        return len(ended(self.study)) + len(others) >= total

    def repair(self) -> list[int]:
        """Fail what was lost with its worker, and queue its values again; return the numbers of the lost."""
        for trial in running(self.study):
            if self._is_orphan(trial):
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        with quiet():
            optuna.storages.fail_stale_trials(self.study)
        return self._requeue()

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        signature = trial.user_attrs.get('worker')
        if not signature:
            seen = self._unsigned.setdefault(trial.number, time.monotonic())
            return time.monotonic() - seen > UNSIGNED_S
        here = signature['host'] == socket.gethostname()
        if Path(signature['lock']).name == self._own.path.name or (self._has_heartbeat and not here):
            return False
        path = self._lock_of(signature)
        if path is None:
            return here and not self._has_heartbeat
        lock = Lock(path)
        free = lock.take(wait=False)
        lock.give()
        return free

    def _lock_of(self, signature: dict) -> Path | None:
        """The lock of a trial's worker, if it is there: in this folder, if that was moved, or in the worker's own."""
        path = Path(signature['lock'])
        return next((place for place in (self.folder / path.name, path) if place.exists()), None)

    def _requeue(self) -> list[int]:
        trials = self.study.get_trials(deepcopy=False)
        again = {trial.user_attrs.get('again') for trial in trials}
        lost = [trial for trial in trials if is_lost(trial) and trial.number not in again]
        queued = []
        for trial in lost:
            attempt = trial.user_attrs.get('attempt', 1)
            values = trial.params or trial.system_attrs.get('fixed_params')
            if values and attempt < ATTEMPTS:
                notes = {'again': trial.number, 'attempt': attempt + 1, 'default': is_default(trial)}
                self.study.enqueue_trial(values, user_attrs=notes)
                queued.append(trial.number)
        return queued

    def queue_default(self, values: dict) -> None:
        """Have the config's own values tried, unless they were already."""
        if not any(is_default(trial) for trial in self.study.get_trials(deepcopy=False)):
            self.study.enqueue_trial(values, user_attrs={'default': True})


def remember(study: optuna.Study, name: str, value: object) -> object:
    """What the study was made with; ``value`` where this is the first to say so."""
    value = json.loads(json.dumps(value))
    if name not in study.user_attrs:
        study.set_user_attr(name, value)
    return study.user_attrs[name]
