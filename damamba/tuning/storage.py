"""Where a study lies: a SQLite file or a journal on one machine, a database across many."""

import importlib.util
import re
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import URL, make_url

from damamba.tuning import TuningError
from damamba.tuning.locks import Lock

HEARTBEAT_S, GRACE_S = 20, 120  # a trial whose worker has been silent for longer is lost
ATTEMPTS = 3  # to reach a database; two that make its tables at the same time may meet
PACKAGES = {  # what pip calls the modules that SQLAlchemy asks for
    'psycopg': 'psycopg[binary]',
    'psycopg2': 'psycopg2-binary',
    'MySQLdb': 'mysqlclient',
    'pymysql': 'pymysql',
}
JOURNAL = 'journal:'


class JournalLock:
    """The system's own: free at once when its holder is killed, where Optuna's stays for half a minute."""

    def __init__(self, path: Path):
        self._lock = Lock(path.with_name(f'{path.name}.lock'))

    def acquire(self) -> bool:
        return self._lock.take()

    def release(self) -> None:
        self._lock.give()


@contextmanager
def quiet():
    """Without Optuna's word that a function may change."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
        yield


def is_journal(storage: str) -> bool:
    return storage.startswith(JOURNAL) or ('://' not in storage and storage.endswith(('.journal', '.log')))


def open_storage(storage: str, heartbeat_s: int = HEARTBEAT_S, grace_s: int = GRACE_S) -> BaseStorage:
    """Open ``journal:PATH``, a path that ends in .journal or .log, or a URL that SQLAlchemy knows.

    Raises:
        TuningError: it can't be opened; without the password that may be in it.
    """
    if is_journal(storage):
        path = Path(storage.removeprefix(JOURNAL))
        _make_folder(path, storage)
        return JournalStorage(JournalFileBackend(str(path), JournalLock(path)))
    url = _url(storage)
    if url.get_backend_name() == 'sqlite':
        _refuse_memory(url, storage)
        _make_folder(Path(url.database), storage)
    for _ in range(ATTEMPTS - 1):
        with suppress(sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError):
            return _connect(url, heartbeat_s, grace_s)
        time.sleep(1)
    try:
        return _connect(url, heartbeat_s, grace_s)
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise TuningError(f'{shown(storage)} can not be used: {_reason(error, url)}') from error


def _refuse_memory(url: URL, storage: str) -> None:
    if not url.database or ':memory:' in url.database or url.query.get('mode') == 'memory':
        raise TuningError(
            f'--storage {storage} is memory, which no other process sees and nobody goes on with: '
            'give it a file, such as sqlite:///study.db'
        )


def _make_folder(path: Path, storage: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TuningError(f'{shown(storage)} can not be used: {error}') from error


def _connect(url: URL, heartbeat_s: int, grace_s: int) -> RDBStorage:
    # SQLite: how long to wait while others write. Others: a connection may have been dropped during a long training.
    sqlite = url.get_backend_name() == 'sqlite'
    settings = {'connect_args': {'timeout': 60}} if sqlite else {'pool_pre_ping': True}
    with quiet():
        return RDBStorage(
            url.render_as_string(hide_password=False), settings, heartbeat_interval=heartbeat_s, grace_period=grace_s
        )


def _url(storage: str) -> URL:
    """The URL with a driver that is there.

    Raises:
        TuningError: it is no URL, or its driver is not installed.
    """
    try:
        url = make_url(re.sub('^postgres:', 'postgresql:', storage))
        if url.drivername == 'postgresql' and not _is_there('psycopg') and _is_there('psycopg2'):
            url = url.set(drivername='postgresql+psycopg2')  # SQLAlchemy 2.1 asks for psycopg alone
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        name = (error.name or '').split('.')[0]
        package = PACKAGES.get(name, name)
        raise TuningError(f'{shown(storage)} needs the Python package {name}: pip install "{package}"') from error
    except sqlalchemy.exc.NoSuchModuleError as error:
        raise TuningError(f'{shown(storage)}: SQLAlchemy knows no such database ({error})') from error
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:  # the latter for a port that is no number
        raise TuningError(
            f'--storage {shown(storage)} is no URL such as sqlite:///study.db or postgresql://user@host/database, '
            'nor the path of a file that ends in .journal'
        ) from error
    if '@' in (url.host or ''):
        raise TuningError(f'{shown(storage)}: in the name or the password @ is written %40')
    return url


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _reason(error: Exception, url: URL) -> str:
    """The first line of what a driver says; some repeat what they were given."""
    cause = getattr(error, 'orig', None) or error.__cause__ or error
    text = ' '.join(str(cause).split()) or type(cause).__name__
    return text.replace(url.password, '***') if url.password else text


def shown(storage: str) -> str:
    """As it may be printed: without passwords, whatever letters they have."""
    if is_journal(storage):
        return storage
    hidden = re.sub('(://[^:/]*:).*@', r'\1***@', storage)  # up to the first colon it is a name, as in SQLAlchemy
    return re.sub(r'((?:password|passwd|pwd|secret|token)[^=&]*=)[^&]*', r'\1***', hidden, flags=re.IGNORECASE)
