"""Storages by their URL or path; passwords are not shown, what is missing is named."""

import time

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage, RDBStorage

from damamba.tuning import TuningError
from damamba.tuning import storage as module
from damamba.tuning.storage import open_storage, shown


@pytest.mark.parametrize('name', ['journal:{}/deep/a.txt', '{}/deep/a.journal', '{}/deep/a.log'])
def test_a_journal_is_a_file(tmp_path, name):
    storage = open_storage(name.format(tmp_path))
    assert isinstance(storage, JournalStorage)
    study = optuna.create_study(storage=storage, study_name='s')
    study.add_trial(optuna.create_trial(value=0.5))
    again = optuna.load_study(study_name='s', storage=open_storage(name.format(tmp_path)))
    assert again.best_value == 0.5 and [path.name[:2] for path in (tmp_path / 'deep').iterdir()] == ['a.']


def test_a_journal_s_trial_is_silent_from_its_own_last_heartbeat_on(tmp_path, monkeypatch):
    storage = open_storage(f'journal:{tmp_path}/s', 1, 30)
    study = optuna.create_study(storage=storage)
    lost = {'heartbeat': time.time() - 99}  # of the trial whose values are tried again
    study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.WAITING, system_attrs=lost))
    trial = study.ask()
    assert storage._get_stale_trial_ids(study._study_id) == []
    later = time.time() + 31
    monkeypatch.setattr('time.time', lambda: later)
    assert storage._get_stale_trial_ids(study._study_id) == [trial._trial_id]
    storage.record_heartbeat(trial._trial_id)
    assert storage._get_stale_trial_ids(study._study_id) == []
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    storage.record_heartbeat(trial._trial_id)  # it has been given up by others, and that is no error


def test_workers_that_make_a_database_at_the_same_time_try_again(tmp_path, monkeypatch):
    tries = []

    def connect(*args, **settings):
        tries.append(1)
        if len(tries) < 3:
            raise StorageInternalError('table studies already exists')
        return RDBStorage(*args, **settings)

    monkeypatch.setattr(module, 'RDBStorage', connect)
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    assert isinstance(open_storage(f'sqlite:///{tmp_path}/study.db'), RDBStorage) and len(tries) == 3


def test_a_password_that_a_driver_repeats_is_not_shown(monkeypatch):
    def connect(*args, **settings):
        raise StorageInternalError('no role "me" with password "s3cret"')

    monkeypatch.setattr(module, 'RDBStorage', connect)
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    with pytest.raises(TuningError, match=r'can not be used: no role "me" with password "\*\*\*"$'):
        open_storage('postgresql://me:s3cret@host/db')


def test_sqlite_makes_its_folder(tmp_path):
    storage = open_storage(f'sqlite:///{tmp_path}/deep/study.db')
    assert isinstance(storage, RDBStorage) and storage.get_heartbeat_interval() == 20
    assert (tmp_path / 'deep/study.db').is_file()


@pytest.mark.parametrize(
    ('storage', 'wanted'),
    [
        ('postgresql://me:s3cret@host:5432/db', 'postgresql://me:***@host:5432/db'),
        ('mysql+pymysql://me:s3c:r@et@host/db', 'mysql+pymysql://me:***@host/db'),
        ('postgresql://host/db?user=me&password=s3cret&a=b', 'postgresql://host/db?user=me&password=***&a=b'),
        ('postgresql://me:s3/cr:et@host/db', 'postgresql://me:***@host/db'),
        ('postgresql://me:s3/c@r?e#t@host:54/db?a=b@c', 'postgresql://me:***@c'),
        ('postgresql://me@corp:s3cret@host/db', 'postgresql://me@corp:***@host/db'),
        ('postgresql://me:s3cret@host:port/db', 'postgresql://me:***@host:port/db'),
        ('postgresql://me@host/db', 'postgresql://me@host/db'),
        ('sqlite:////data/study.db', 'sqlite:////data/study.db'),
        ('journal:/data/s.txt', 'journal:/data/s.txt'),
    ],
)
def test_a_password_is_not_shown(storage, wanted):
    assert shown(storage) == wanted


@pytest.mark.parametrize(
    ('storage', 'message'),
    [
        ('mysql+pymysql://me:s3cret@host/db', 'needs the Python package pymysql: pip install "pymysql"'),
        ('mysql://me:s3cret@host/db', 'needs the Python package MySQLdb: pip install "mysqlclient"'),
        ('postgresql+asyncpg://me:s3cret@host/db', 'needs the Python package asyncpg: pip install "asyncpg"'),
        ('sqlite://', '--storage sqlite:// is memory, which no other process sees and nobody goes on with: give it'),
        ('sqlite:///:memory:', 'is memory'),
        ('sqlite:///file:x?mode=memory&uri=true', 'is memory'),
        ('postgresql://me:s3cret@host:port/db', '--storage postgresql://me:***@host:port/db is no URL such as'),
        ('postgresql://me:ab@s3cret@host/db', 'postgresql://me:***@host/db: in the name or the password @ is written'),
        ('oracle9://me:s3cret@host/db', 'SQLAlchemy knows no such database'),
        ('study.db', '--storage study.db is no URL such as sqlite:///study.db or postgresql://user@host/database'),
        ('postgres://me:s3cret@127.0.0.1:1/db', 'postgres://me:***@127.0.0.1:1/db can not be used: '),
        ('sqlite:////proc/no/study.db', 'sqlite:////proc/no/study.db can not be used: '),
    ],
)
def test_what_can_not_be_opened_is_one_sentence(monkeypatch, storage, message):
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    with pytest.raises(TuningError) as error:
        open_storage(storage)
    assert message in str(error.value) and 's3cret' not in str(error.value) and '\n' not in str(error.value)
