"""Several workers on one study: none too many, nothing lost with one that is killed; on files and on a database."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from damamba.tuning.ledger import ended, is_lost
from damamba.tuning.space import Parameter
from damamba.tuning.storage import open_storage
from tests.e2e.shell import free_port
from tests.tuning.helpers import LR, make_worker

SLOW = """
(Path(sys.argv[2]) / 'pid').write_text(str(os.getpid()))
for epoch in (1, 2, 3):
    validated(epoch, (0.6 - abs(math.log10(lr) + 3) / 5) * epoch / 3)
    time.sleep(60 if number == 3 else 0.1)  # until its worker is killed; what it tries is tried again as another number
"""
QUICK = SLOW.replace('60 if number == 3 else ', '')
FORK = multiprocessing.get_context('fork')  # the imports are done


def work(folder: Path, total: int, storage: str, settings: dict) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests that run in the background inherit ignored
    make_worker(folder, total, storage, **settings).run()


def start(folder: Path, total: int, storage: str, **settings) -> multiprocessing.Process:
    process = FORK.Process(target=work, args=(folder, total, storage, {'body': SLOW, **settings}))
    process.start()
    return process


def load(storage: str) -> optuna.Study:
    return optuna.load_study(study_name='study', storage=open_storage(storage))


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it took too long'
        time.sleep(0.02)


def running(storage: str) -> list:
    """The trials that have been signed and run."""
    trials = load(storage).get_trials(states=(TrialState.RUNNING,))
    return [trial for trial in trials if 'worker' in trial.user_attrs]


def kill_holder(folder: Path, storage: str, number: int) -> int:
    """Kill the worker that trains this trial; its training has to die too. Return the worker's process id."""
    path = folder / f'study/trial_{number:04d}/pid'
    until(lambda: path.exists() and path.read_text())
    worker = next(trial.user_attrs['worker']['pid'] for trial in running(storage) if trial.number == number)
    os.kill(worker, signal.SIGKILL)
    until(lambda: not is_alive(int(path.read_text())), 10)
    return worker


def is_alive(pid: int) -> bool:
    """A zombie has ended: its parent is dead, and whoever adopts it is slow."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_completed(storage: str, total: int) -> None:
    """As many trials as were asked for have ended, and the values of the lost one among them."""
    trials = load(storage).trials
    lost = [trial for trial in trials if is_lost(trial)]
    assert len([trial for trial in trials if trial.state == TrialState.COMPLETE]) == total
    assert len(lost) == 1 and len(trials) == total + 1
    again = next(trial for trial in trials if trial.user_attrs.get('again') == lost[0].number)
    assert again.params == lost[0].params and again.state == TrialState.COMPLETE
    assert again.user_attrs['default'] == lost[0].user_attrs.get('default', False)


def study_of_two(folder: Path, storage: str, total: int = 6) -> None:
    workers = [start(folder, total, storage), start(folder, total, storage)]
    killed = kill_holder(folder, storage, 3)
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == (-signal.SIGKILL if worker.pid == killed else 0)
    assert_completed(storage, total)
    again = start(folder, total + 2, storage)
    again.join(60)
    assert again.exitcode == 0 and len(ended(load(storage))) == total + 2


@pytest.mark.parametrize('kind', ['sqlite:///{}/s.db', 'journal:{}/s.txt', '{}/s.journal'])
def test_a_study_survives_a_killed_worker(tmp_path, kind):
    study_of_two(tmp_path, kind.format(tmp_path))


def test_no_trial_too_many_by_four_workers(tmp_path):
    storage = f'journal:{tmp_path}/s.journal'
    workers = [start(tmp_path, 3, storage, body=QUICK) for _ in range(4)]
    for worker in workers:
        worker.join(60)
    trials = load(storage).trials
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert len({trial.user_attrs['worker']['pid'] for trial in trials}) >= 2


def test_workers_of_other_machines_step_back_for_each_other(tmp_path):
    """Folders of their own, as on two machines: no lock is common to them, and the count decides."""
    storage = f'sqlite:///{tmp_path}/s.db'
    workers = [start(tmp_path / name, 4, storage, body=QUICK) for name in ('a', 'b')]
    for worker in workers:
        worker.join(60)
    trials = load(storage).trials
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len([trial for trial in trials if trial.state == TrialState.COMPLETE]) == 4
    assert all(is_lost(trial) for trial in trials if trial.state != TrialState.COMPLETE)


def test_a_trial_of_another_machine_is_lost_once_it_is_silent(tmp_path, monkeypatch):
    """Optuna's heartbeat decides where no lock can be looked at."""
    storage = f'sqlite:///{tmp_path}/s.db'
    body = "(Path(sys.argv[2]) / 'pid').write_text(str(os.getpid())); time.sleep(100)"
    one = start(tmp_path / 'a', 2, storage, body=body, heartbeat=(1, 2))
    kill_holder(tmp_path / 'a', storage, 0)
    one.join()
    monkeypatch.setattr('socket.gethostname', lambda: 'elsewhere')
    begin = time.monotonic()
    other = start(tmp_path / 'b', 2, storage, heartbeat=(1, 2))
    other.join(60)
    assert other.exitcode == 0 and time.monotonic() - begin > 1
    assert_completed(storage, 2)


@pytest.mark.parametrize('change', ['delete', 'move', 'rename the host'])
def test_a_lost_trial_of_a_journal_is_found_though_its_lock_is_elsewhere(tmp_path, monkeypatch, change):
    """A journal has no heartbeat: without the lock nobody would ever know."""
    storage = f'journal:{tmp_path}/s.journal'
    body = "(Path(sys.argv[2]) / 'pid').write_text(str(os.getpid())); time.sleep(100)"
    one = start(tmp_path / 'a', 2, storage, body=body)
    kill_holder(tmp_path / 'a', storage, 0)
    one.join()
    folder = tmp_path / 'a'
    if change == 'delete':
        shutil.rmtree(folder / 'study/workers')
    elif change == 'move':
        folder = folder.rename(tmp_path / 'b')
    else:
        monkeypatch.setattr('socket.gethostname', lambda: 'elsewhere')
    other = start(folder, 2, storage, body=QUICK)
    other.join(60)
    assert other.exitcode == 0
    assert_completed(storage, 2)


@pytest.mark.filterwarnings('ignore:Heartbeat of storage')  # no trial runs here
def test_a_worker_that_lives_keeps_its_trial_though_others_have_another_folder(tmp_path):
    for number, kind in enumerate(('sqlite:///{}/s.db', 'journal:{}/s.journal')):
        storage = kind.format(tmp_path)
        mine, other = (make_worker(tmp_path / f'{name}{number}', 2, storage) for name in 'ab')
        mine.study.enqueue_trial({LR.key: 1e-3})
        mine.ledger.sign(mine.study.ask({LR.key: LR.distribution()}))
        assert other.ledger.repair() == mine.ledger.repair() == [] and len(running(storage)) == 1
        shutil.rmtree(tmp_path / f'a{number}')  # its lock is gone
        assert mine.ledger.repair() == []
        assert other.ledger.repair() == ([0] if 'journal' in kind else [])  # the database has a heartbeat


def test_a_stopped_worker_ends_its_training_and_loses_its_trial(tmp_path):
    storage = f'journal:{tmp_path}/s.journal'
    worker = start(tmp_path, 2, storage, body=QUICK.replace('0.1', '60'))
    path = tmp_path / 'study/trial_0000/pid'
    until(lambda: path.exists() and path.read_text())
    os.kill(worker.pid, signal.SIGINT)
    worker.join(30)
    assert worker.exitcode == 1 and not is_alive(int(path.read_text()))
    assert [is_lost(trial) for trial in load(storage).trials] == [True]


# PostgreSQL --------------------------------------------------------------------------------------------------------


def postgres_folder() -> Path | None:
    """Where Debian, or the PATH, has the server's programs."""
    found = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb'), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which('initdb')
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@pytest.fixture
def postgres(tmp_path_factory):
    """The URL of a new database on a server of its own."""
    programs = postgres_folder()
    if programs is None:
        reason = 'no PostgreSQL server here: apt-get install postgresql'
        if os.environ.get('CI'):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp('postgres')
    as_user = {'user': 'postgres', 'group': 'postgres', 'extra_groups': []} if os.geteuid() == 0 else {}
    if as_user:
        for path in (folder, *(it for it in folder.parents if it.name.startswith(('pytest-', 'popen-')))):
            path.chmod(0o755)
        shutil.chown(folder, 'postgres', 'postgres')
    port = free_port()

    def run(*command: str) -> None:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, **as_user)
        assert done.returncode == 0, done.stdout + done.stderr

    password = folder / 'password'
    password.write_text('s3cret')
    data, log = str(folder / 'data'), str(folder / 'log')
    shutil.chown(password, 'postgres') if as_user else None
    run(str(programs / 'initdb'), '-D', data, '-U', 'tuner', '-A', 'scram-sha-256', '--pwfile', str(password), '-N')
    options = f'-p {port} -k {folder} -h 127.0.0.1 -F'
    with (folder / 'out').open('w') as out:  # a server would keep a pipe open
        start = [str(programs / 'pg_ctl'), '-D', data, '-l', log, '-o', options, '-w', 'start']
        assert subprocess.run(start, cwd=folder, stdout=out, stderr=out, timeout=60, **as_user).returncode == 0
    yield f'postgresql://tuner:s3cret@127.0.0.1:{port}/postgres'
    run(str(programs / 'pg_ctl'), '-D', data, '-m', 'immediate', '-w', 'stop')


def test_a_study_on_postgresql_survives_a_killed_worker(tmp_path, postgres):
    study_of_two(tmp_path, postgres)


def test_choices_and_errors_come_back_from_postgresql(tmp_path, postgres):
    space = [LR, Parameter('optim_wrapper.clip_grad', 'categorical', choices=(dict(max_norm=10), dict(max_norm=1)))]
    body = "sys.exit('error: no ' + 'x' * 5000) if number == 1 else validated(3, 0.5)"
    make_worker(tmp_path, 4, postgres, body, space).run()
    trials = load(postgres).trials
    assert [trial.state.name for trial in trials] == ['COMPLETE', 'FAIL', 'COMPLETE', 'COMPLETE']
    assert trials[1].user_attrs['error'].startswith('error: no xxx') and len(trials[1].user_attrs['error']) == 2000
    assert {trial.params['optim_wrapper.clip_grad'] for trial in trials} <= {'{"max_norm": 10}', '{"max_norm": 1}'}
