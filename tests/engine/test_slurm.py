"""The scripts for Slurm, with stand-ins for its programs, which note how they were called."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.detection import ROOT

NOTE = '#!/usr/bin/env bash\necho "${0##*/} $*" >> "$CALLS"\n'
PROGRAMS = {
    # the job's own script, in its place
    'sbatch': 'while [ "${1%slurm_job.sh}" = "$1" ]; do shift; done\n'
    'SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=5 exec bash "$@"\n',
    'srun': 'while [ "$1" != "$PYTHON" ]; do shift; done\nexec "$@"\n',
    'scontrol': '',
    # a training: it saves when a signal comes
    'python': 'trap "exit 138" USR1\ntrap "exit 143" TERM\ntouch "$CALLS.started"\n'
    'for i in $(seq 600); do sleep 0.05; if [ -z "$WAITS" ]; then exit; fi; done\n',
}
PLACE = '-p gpu --job-name=name --gres=gpu:{0} --ntasks={1} --ntasks-per-node={0} --cpus-per-task={2}'


@pytest.fixture
def slurm(tmp_path):
    """The environment in which they are found."""
    for name, body in PROGRAMS.items():
        program = tmp_path / name
        program.write_text(NOTE + body)
        program.chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    return {**os.environ, 'PATH': path, 'PYTHON': 'python', 'CALLS': str(tmp_path / 'calls'), 'WAITS': ''}


def run(environment: dict, script: str, *args: str) -> list[str]:
    subprocess.run(['bash', str(ROOT / 'tools' / script), *args], env=environment, check=True, timeout=60)
    return Path(environment['CALLS']).read_text().splitlines()


def test_a_training_is_started_as_mmdetection_does(slurm):
    calls = run({**slurm, 'SRUN_ARGS': '-w node1 --mem=8G'}, 'slurm_train.sh', 'gpu', 'name', 'c.py', 'runs/a', '--amp')
    training = f'-u {ROOT}/tools/train.py c.py --work-dir runs/a --launcher slurm --amp'
    place = PLACE.format(8, 8, 5)
    assert calls == [f'srun {place} --kill-on-bad-exit=1 -w node1 --mem=8G python {training}', f'python {training}']


def test_so_is_a_test(slurm):
    few = {**slurm, 'GPUS': '2', 'CPUS_PER_TASK': '3'}
    calls = run(few, 'slurm_test.sh', 'gpu', 'name', 'c.py', 'x.pth', '--eval', 'bbox')
    assert calls[0] == (
        f'srun {PLACE.format(2, 2, 3)} --kill-on-bad-exit=1 '
        f'python -u {ROOT}/tools/test.py c.py x.pth --launcher slurm --eval bbox'
    )


@pytest.mark.parametrize(('signum', 'requeued'), [(signal.SIGUSR1, ['scontrol requeue 7']), (signal.SIGTERM, [])])
def test_a_queued_training_is_queued_again_when_its_time_is_over(slurm, signum, requeued):
    command = ['bash', str(ROOT / 'tools/slurm_train.sh'), 'gpu', 'name', 'c.py', 'runs/a']
    job = subprocess.Popen(command, env={**slurm, 'SBATCH': '1', 'GPUS': '16', 'WAITS': '1'})
    started, end = Path(f'{slurm["CALLS"]}.started'), time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < end and job.poll() is None
        time.sleep(0.02)
    job.send_signal(signum)
    assert job.wait(60) == 128 + signum
    calls = Path(slurm['CALLS']).read_text().splitlines()
    assert calls[0].startswith(f'sbatch {PLACE.format(8, 16, 5)} --requeue --open-mode=append --signal=B:USR1@120 ')
    assert calls[3:] == requeued
