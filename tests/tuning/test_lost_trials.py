"""Several workers on one study: none too many, nothing lost with one that is killed; on files and on a database."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from damamba.tuning import lost_trials
from damamba.tuning.lost_trials import ended, fail_lost_trials, has_place, queue_again, sign, state_of
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
TWO_AT_ONCE = (
    """
while number == 0 and not [*Path(sys.argv[2]).parent.glob('trial_*/pid')]:  # another one trains
    time.sleep(0.02)
"""
    + QUICK
)
FORK = multiprocessing.get_context('fork')  # the imports are done
HEARTBEAT = (1, 3)  # seconds between two, and until a trial is lost


def work(folder: Path, total: int, storage: str, settings: dict) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests that run in the background inherit ignored
    make_worker(folder, total, storage, **settings).run()


def start(folder: Path, total: int, storage: str, body: str = SLOW, **settings) -> multiprocessing.Process:
    settings = {'body': body, 'heartbeat': HEARTBEAT, **settings}
    process = FORK.Process(target=work, args=(folder, total, storage, settings))
    process.start()
    return process


def joined(*workers: multiprocessing.Process) -> list[int]:
    for worker in workers:
        worker.join(60)
    return [worker.exitcode for worker in workers]


def load(storage: str) -> optuna.Study:
    return optuna.load_study(study_name='study', storage=open_storage(storage, *HEARTBEAT))


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it took too long'
        time.sleep(0.02)


def training_of(folder: Path, number: int) -> int:
    """The process id of this trial's training, once it runs."""
    path = folder / f'study/trial_{number:04d}/pid'
    until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def kill_holder(folder: Path, storage: str, number: int) -> int:
    """Kill the worker that trains this trial; its training has to die too. Return the worker's process id."""
    training = training_of(folder, number)
    worker = load(storage).trials[number].user_attrs['worker']['pid']
    os.kill(worker, signal.SIGKILL)
    until(lambda: not is_alive(training), 10)
    return worker


def is_alive(pid: int) -> bool:
    """A zombie has ended: its parent is dead, and whoever adopts it is slow."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_completed(storage: str, total: int) -> None:
    """As many trials as were asked for have ended, and the values of the lost one among them."""
    trials = [trial for trial in load(storage).trials if state_of(trial) != 'surplus']
    (lost,) = (trial for trial in trials if state_of(trial) == 'lost')
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == total == len(trials) - 1
    (again,) = (trial for trial in complete if trial.system_attrs.get('retry_history') == [lost.number])
    assert again.params == lost.params and again.user_attrs.get('default') == lost.user_attrs.get('default')
    assert again.intermediate_values.keys() == {1, 2, 3}


def study_of_two(folder: Path, storage: str, total: int = 6) -> None:
    workers = [start(folder, total, storage), start(folder, total, storage)]
    killed = kill_holder(folder, storage, 3)
    statuses = joined(*workers)
    assert sorted(statuses) == [-signal.SIGKILL, 0] and workers[statuses.index(0)].pid != killed
    assert_completed(storage, total)
    assert joined(start(folder, total + 2, storage)) == [0] and len(ended(load(storage))) == total + 2


@pytest.mark.parametrize('kind', ['sqlite:///{}/s.db', 'journal:{}/s.txt'])
def test_a_study_survives_a_killed_worker(tmp_path, kind):
    study_of_two(tmp_path, kind.format(tmp_path))


@pytest.mark.parametrize('kind', ['sqlite:///{}/s.db', '{}/s.journal'])
def test_the_next_start_tries_again_what_was_killed_and_no_other(tmp_path, kind):
    """The second worker begins while the first one lives, for longer than the grace period: it has to wait for it."""
    storage = kind.format(tmp_path)
    one = start(tmp_path / 'a', 1, storage, body=QUICK.replace('0.1', '9'))
    training_of(tmp_path / 'a', 0)
    other = start(tmp_path / 'b', 1, storage)
    time.sleep(HEARTBEAT[1] + 2)
    assert [trial.state for trial in load(storage).trials] == [TrialState.RUNNING]
    kill_holder(tmp_path / 'a', storage, 0)
    assert joined(other, one) == [0, -signal.SIGKILL]
    assert_completed(storage, 1)
    assert not (tmp_path / 'a/study/trial_0001').exists()


@pytest.mark.parametrize('kind', ['sqlite:///{}/s.db', '{}/s.journal'])
def test_no_trial_too_many_by_four_workers(tmp_path, kind):
    storage = kind.format(tmp_path)
    workers = [start(tmp_path, 3, storage, body=TWO_AT_ONCE) for _ in range(4)]
    assert joined(*workers) == [0] * 4
    trials = load(storage).trials
    assert [trial.state.name for trial in trials if state_of(trial) != 'surplus'] == ['COMPLETE'] * 3
    assert sum(trial.user_attrs.get('default', False) for trial in trials if state_of(trial) != 'surplus') == 1
    assert len({trial.user_attrs['worker']['pid'] for trial in trials}) >= 2


def test_the_first_that_are_not_lost_have_a_place():
    study = optuna.create_study(direction='maximize')
    add = partial(optuna.create_trial, params={}, distributions={})
    FAIL, WAITING, RUNNING = TrialState.FAIL, TrialState.WAITING, TrialState.RUNNING
    attributes = [{'default': True}, {'error': 'x'}, {}, {'surplus': True}, {}, {'default': True}, {}]
    for state, attrs in zip([RUNNING, FAIL, FAIL, FAIL, WAITING, RUNNING, RUNNING], attributes, strict=True):
        study.add_trial(add(state=state, user_attrs=attrs, value=None))
    places = {trial.number: [has_place(study, trial, total) for total in (2, 3, 4, 5)] for trial in study.trials[4:]}
    assert places == {4: [False, True, True, True], 5: [False] * 4, 6: [False, False, False, True]}
    assert [trial.number for trial in ended(study)] == [1]


def test_a_stopped_worker_ends_its_training_and_its_values_wait(tmp_path):
    storage = f'journal:{tmp_path}/s.journal'
    worker = start(tmp_path, 2, storage, body=QUICK.replace('0.1', '60'))
    training = training_of(tmp_path, 0)
    os.kill(worker.pid, signal.SIGINT)
    assert joined(worker) == [1] and not is_alive(training)
    lost, again = load(storage).trials
    assert state_of(lost) == 'lost' and again.state == TrialState.WAITING and again.params == lost.params


def test_values_that_their_workers_die_of_are_given_up():
    study = optuna.create_study(direction='maximize')
    study.enqueue_trial({LR.key: 1e-3}, user_attrs={'default': True})
    for _ in range(3):
        assert study.trials[-1].state == TrialState.WAITING
        trial = study.ask({LR.key: LR.distribution()})
        assert 'worker' not in trial.user_attrs
        sign(study, trial)
        queue_again(study, study.tell(trial, state=TrialState.FAIL))
    assert [(state_of(trial), trial.params[LR.key]) for trial in study.trials] == [('lost', 1e-3)] * 3
    assert all(trial.user_attrs['default'] for trial in study.trials)


def test_a_trial_that_nobody_has_signed_is_lost_after_a_while(monkeypatch):
    """Its worker died before the first heartbeat, and Optuna would take it for alive forever."""
    study = optuna.create_study(direction='maximize')
    study.ask({LR.key: LR.distribution()})
    sign(study, study.ask({LR.key: LR.distribution()}))
    fail_lost_trials(study)
    assert [trial.state.name for trial in study.trials] == ['RUNNING', 'RUNNING']
    monkeypatch.setattr(lost_trials, 'GRACE_S', 0.0)
    fail_lost_trials(study)
    assert [trial.state.name for trial in study.trials] == ['FAIL', 'RUNNING', 'WAITING']
    assert study.trials[0].params == study.trials[2].params


def test_a_signed_trial_has_a_heartbeat(tmp_path):
    study = optuna.create_study(storage=open_storage(f'journal:{tmp_path}/s'))
    sign(study, study.ask())
    assert study.trials[0].user_attrs['worker']['pid'] == os.getpid() and 'heartbeat' in study.trials[0].system_attrs


def test_an_error_that_was_said_is_no_loss():
    study = optuna.create_study(direction='maximize')
    trial = study.ask({LR.key: LR.distribution()})
    trial.set_user_attr('error', 'error: no memory')
    study.tell(trial, state=TrialState.FAIL)
    queue_again(study, study.trials[0])
    assert len(study.trials) == len(ended(study)) == 1


# PostgreSQL --------------------------------------------------------------------------------------------------------


def postgres_folder() -> Path | None:
    """Where Debian, or the PATH, has the server's programs."""
    found = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb'), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which('initdb')
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@pytest.fixture
def postgres():
    """The URL of a new database on a server of its own."""
    programs = postgres_folder()
    if programs is None:
        reason = 'no PostgreSQL server here: apt-get install postgresql'
        if os.environ.get('CI'):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix='postgres-'))  # pytest's own folders are for this user alone
    as_user = {'user': 'postgres', 'group': 'postgres', 'extra_groups': []} if os.geteuid() == 0 else {}
    if as_user:
        shutil.chown(folder, 'postgres', 'postgres')
    port = free_port()

    def run(*command: str) -> None:
        with (folder / 'out').open('w') as out:  # a server would keep a pipe open
            done = subprocess.run(command, cwd=folder, stdout=out, stderr=out, timeout=60, **as_user)
        assert done.returncode == 0, (folder / 'out').read_text()

    password = folder / 'password'
    password.write_text('s3cret')
    data, log = str(folder / 'data'), str(folder / 'log')
    shutil.chown(password, 'postgres') if as_user else None
    run(str(programs / 'initdb'), '-D', data, '-U', 'tuner', '-A', 'scram-sha-256', '--pwfile', str(password), '-N')
    options = f'-p {port} -k {folder} -h 127.0.0.1 -F'
    run(str(programs / 'pg_ctl'), '-D', data, '-l', log, '-o', options, '-w', 'start')
    yield f'postgresql://tuner:s3cret@127.0.0.1:{port}/postgres'
    run(str(programs / 'pg_ctl'), '-D', data, '-m', 'immediate', '-w', 'stop')
    shutil.rmtree(folder)


def test_a_study_on_postgresql_survives_a_killed_worker(tmp_path, postgres):
    study_of_two(tmp_path, postgres)
    space = [LR, Parameter('optim_wrapper.clip_grad', 'categorical', choices=(dict(max_norm=10), dict(max_norm=1)))]
    body = "sys.exit('error: no ' + 'x' * 5000) if number == 1 else validated(3, 0.5)"
    worker = make_worker(tmp_path / 'b', 4, postgres, body, space, name='other')
    worker.run()
    trials = worker.study.trials
    assert [trial.state.name for trial in trials] == ['COMPLETE', 'FAIL', 'COMPLETE', 'COMPLETE']
    assert trials[1].user_attrs['error'].startswith('error: no xxx') and len(trials[1].user_attrs['error']) == 2000
    assert {trial.params['optim_wrapper.clip_grad'] for trial in trials} <= {'{"max_norm": 10}', '{"max_norm": 1}'}
