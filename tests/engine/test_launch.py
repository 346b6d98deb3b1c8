import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from damamba.engine import launch
from damamba.engine.config_checks import ConfigError

LAUNCHED = (
    'DAMAMBA_THREADS',
    'RANK',
    'WORLD_SIZE',
    'LOCAL_RANK',
    'LOCAL_WORLD_SIZE',
    'MASTER_ADDR',
    'MASTER_PORT',
    'OMP_NUM_THREADS',
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """A process that nothing launched, on a machine without GPUs."""
    for name in LAUNCHED:
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    threads = torch.get_num_threads()
    yield
    launch.leave()
    torch.set_num_threads(threads)


@pytest.fixture
def joined(monkeypatch):
    """What would be joined, without joining."""
    calls = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda *args, **kwargs: calls.append((args, kwargs)))
    return calls


def test_without_a_launcher_nothing_is_joined(joined):
    launch.join('none')
    assert joined == []


def test_a_launcher_that_did_not_start_the_process_is_refused():
    with pytest.raises(ConfigError, match='--launcher pytorch was given, but not started by it: use dist_train.sh'):
        launch.join('pytorch')


def test_cpu_processes_join_over_gloo(monkeypatch, joined):
    monkeypatch.setenv('RANK', '0')
    launch.join('pytorch', timeout_s=60)
    ((backend,), options) = joined[0]
    assert backend == 'gloo' and options['timeout'].total_seconds() == 60


def test_slurm_variables_become_torch_ones(monkeypatch, joined):
    slurm = {'SLURM_PROCID': '3', 'SLURM_NTASKS': '8', 'SLURM_LOCALID': '1', 'SLURM_NODELIST': 'node[1-2]'}
    slurm['SLURM_JOB_ID'] = '40007'
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    reply = subprocess.CompletedProcess([], 0, stdout='node1\nnode2\n')
    monkeypatch.setattr(subprocess, 'run', lambda command, **kwargs: reply)
    launch.join('slurm')
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
    assert [launch.os.environ[name] for name in names] == ['3', '8', '1', 'node1', '10007']
    assert joined[0][0] == ('gloo',)


def test_mpi_variables_become_torch_ones(monkeypatch, joined):
    for name, value in (('RANK', '1'), ('SIZE', '2'), ('LOCAL_RANK', '1')):
        monkeypatch.setenv(f'OMPI_COMM_WORLD_{name}', value)
    launch.join('mpi')
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR')
    assert [launch.os.environ[name] for name in names] == ['1', '2', '1', '127.0.0.1']


def test_slurm_without_srun_is_one_sentence(monkeypatch):
    monkeypatch.delenv('SLURM_PROCID', raising=False)
    with pytest.raises(ConfigError, match='needs SLURM_PROCID, which srun sets: start this with srun'):
        launch.join('slurm')


def test_more_processes_than_gpus_is_one_sentence(monkeypatch, joined):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setenv('RANK', '2')
    monkeypatch.setenv('LOCAL_RANK', '2')
    with pytest.raises(ConfigError, match='process 3 of this machine has no GPU: 2 can be seen'):
        launch.join('pytorch')


@pytest.mark.parametrize(('cores', 'processes', 'threads'), [(8, 2, 4), (2, 4, 1), (3, 1, 3)])
def test_processes_share_the_cores(monkeypatch, joined, cores, processes, threads):
    monkeypatch.setattr(launch.os, 'sched_getaffinity', lambda pid: set(range(cores)))
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', str(processes))
    if processes > 1:
        monkeypatch.setenv('OMP_NUM_THREADS', '1')  # as torchrun does
        monkeypatch.setenv('DAMAMBA_THREADS', 'auto')  # as the scripts do, if the user has not decided
    launch.join('pytorch')
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize('processes', ['1', '2'])
def test_a_user_who_sets_the_threads_keeps_them(monkeypatch, joined, processes):
    monkeypatch.setenv('LOCAL_WORLD_SIZE', processes)
    monkeypatch.setenv('DAMAMBA_THREADS', '1')
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    before = torch.get_num_threads()
    launch.join('pytorch')
    assert torch.get_num_threads() == before and launch.os.environ['OMP_NUM_THREADS'] == '1'


@pytest.mark.parametrize(
    ('launcher', 'name'), [('pytorch', 'WORLD_SIZE'), ('slurm', 'SLURM_NTASKS'), ('mpi', 'OMPI_COMM_WORLD_SIZE')]
)
def test_processes_are_counted_before_they_have_joined(launcher, name, monkeypatch):
    monkeypatch.setenv(name, '3')
    assert (launch.processes_of(launcher), launch.processes_of('none')) == (3, 1)


@pytest.mark.parametrize(
    ('torchrun', 'slurm', 'age_s', 'resumes'),
    [('0', '0', -1, False), ('1', '0', -1, True), ('0', '2', -1, True), ('1', '0', 1, False), ('1', '0', None, False)],
)
def test_a_restart_goes_on_from_what_this_training_has_left(monkeypatch, tmp_path, torchrun, slurm, age_s, resumes):
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', torchrun)
    monkeypatch.setenv('SLURM_RESTART_COUNT', slurm)
    monkeypatch.setenv('DAMAMBA_STARTED', '1000')
    if age_s is not None:
        pointer = tmp_path / 'last_checkpoint'
        pointer.write_text('epoch_1.pth')
        os.utime(pointer, (1000 - age_s, 1000 - age_s))
    assert launch.resumes_by_itself(tmp_path) is resumes


def test_a_process_does_not_outlive_the_agent_that_has_started_it():
    ready, write = os.pipe()
    agent = os.fork()
    if agent == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if os.fork() == 0:
                launch._end_with_parent()
                os.write(write, str(os.getpid()).encode())
            time.sleep(60)
        finally:
            os._exit(0)  # whatever happens: never back into pytest
    worker = int(os.read(ready, 20))
    os.kill(agent, signal.SIGKILL)
    os.waitpid(agent, 0)
    end = time.monotonic() + 30
    while is_running(worker):
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Also False for one that has ended, and that nobody has asked about."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False
