"""Where a study lies: a SQLite file or a journal on one machine, a database across many."""

import re
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from damamba.tuning import TuningError
from damamba.tuning.lost_trials import GRACE_S, HEARTBEAT_S, queue_again

ATTEMPTS = 3  # to reach a database; two that make its tables at the same time may meet
PIP = {'psycopg': 'psycopg[binary]', 'psycopg2': 'psycopg2-binary', 'MySQLdb': 'mysqlclient'}  # its names of modules
JOURNAL = 'journal:'
HEARTBEAT = 'heartbeat'  # the attribute of a journal's trial with the time of its last one


class Journal(JournalStorage, BaseHeartbeat):
    """Optuna's journal, with the heartbeat that Optuna has in databases alone; it goes by the machines' clocks."""

    def __init__(self, path: Path, heartbeat_s: int, grace_s: int):
        super().__init__(JournalFileBackend(str(path)))
        self._heartbeat_s, self._grace_s = heartbeat_s, grace_s

    def record_heartbeat(self, trial_id: int) -> None:
        with suppress(UpdateFinishedTrialError):  # others have given it up
            self.set_trial_system_attr(trial_id, HEARTBEAT, time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        since = time.time() - self._grace_s
        # One that has just begun may still have the heartbeat of the lost trial before it.
        begun = [trial for trial in running if trial.datetime_start.timestamp() < since]
        return [trial._trial_id for trial in begun if trial.system_attrs.get(HEARTBEAT, 0.0) < since]

    def get_heartbeat_interval(self) -> int:
        return self._heartbeat_s

    def get_heartbeat_stale_trial_callback(self):
        return queue_again


def is_journal(storage: str) -> bool:
    return storage.startswith(JOURNAL) or ('://' not in storage and storage.endswith(('.journal', '.log')))


def open_storage(storage: str, heartbeat_s: int = HEARTBEAT_S, grace_s: int = GRACE_S) -> BaseStorage:
    """Open ``journal:PATH``, a path that ends in .journal or .log, or a URL that SQLAlchemy knows.

    TuningError says why it can't be opened, without the password that may be in it.
    """
    url = None if is_journal(storage) else _url(storage)
    try:
        if url:
            return _database(url, heartbeat_s, grace_s)
        path = Path(storage.removeprefix(JOURNAL))
        path.parent.mkdir(parents=True, exist_ok=True)
        return Journal(path, heartbeat_s, grace_s)
    except (OSError, SQLAlchemyError, StorageInternalError) as error:
        cause = getattr(error, 'orig', None) or error.__cause__ or error
        reason = ' '.join(str(cause).split()) or type(cause).__name__
        if url and url.password:
            reason = reason.replace(url.password, '***')  # some drivers repeat what they were given
        raise TuningError(f'{shown(storage)} can not be used: {reason}') from error


def _database(url: URL, heartbeat_s: int, grace_s: int) -> RDBStorage:
    options = {'pool_pre_ping': True}  # a connection may have been dropped during a long training
    if url.get_backend_name() == 'sqlite':
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        options = {'connect_args': {'timeout': 60}}  # how long to wait while others write
    address = url.render_as_string(hide_password=False)
    connect = partial(
        RDBStorage, address, options, heartbeat_interval=heartbeat_s, grace_period=grace_s,
        heartbeat_stale_trial_callback=queue_again,
    )  # fmt: skip
    for _ in range(ATTEMPTS - 1):
        with suppress(SQLAlchemyError, StorageInternalError):
            return connect()
        time.sleep(1)
    return connect()


def _url(storage: str) -> URL:
    """The URL with a driver that is there; TuningError if it is none, or has none."""
    try:
        url = make_url(re.sub('^postgres:', 'postgresql:', storage))
        if url.drivername == 'postgresql' and not find_spec('psycopg') and find_spec('psycopg2'):
            url = url.set(drivername='postgresql+psycopg2')  # SQLAlchemy 2.1 asks for psycopg alone
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        name = (error.name or '').split('.')[0]
        text = f'{shown(storage)} needs the Python package {name}: pip install "{PIP.get(name, name)}"'
        raise TuningError(text) from error
    except NoSuchModuleError as error:
        raise TuningError(f'{shown(storage)}: SQLAlchemy knows no such database ({error})') from error
    except (ArgumentError, ValueError) as error:  # the latter for a port that is no number
        raise TuningError(
            f'--storage {shown(storage)} is no URL such as sqlite:///study.db or postgresql://user@host/database, '
            'nor the path of a file that ends in .journal'
        ) from error
    if '@' in (url.host or ''):
        raise TuningError(f'{shown(storage)}: in the name or the password @ is written %40')
    is_memory = not url.database or ':memory:' in url.database or url.query.get('mode') == 'memory'
    if is_memory and url.get_backend_name() == 'sqlite':
        raise TuningError(
            f'--storage {storage} is memory, which no other process sees and nobody goes on with: '
            'give it a file, such as sqlite:///study.db'
        )
    return url


def shown(storage: str) -> str:
    """As it may be printed: without passwords, whatever letters they have."""
    if is_journal(storage):
        return storage
    hidden = re.sub('(://[^:/]*:).*@', r'\1***@', storage)  # up to the first colon it is a name, as in SQLAlchemy
    return re.sub(r'((?:password|passwd|pwd|secret|token)[^=&]*=)[^&]*', r'\1***', hidden, flags=re.IGNORECASE)
