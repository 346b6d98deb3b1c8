"""Trainings and machines that are harmed, through the scripts."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.detection import ROOT, write_config
from tests.e2e.shell import free_port

pytestmark = pytest.mark.faults

WORKER = ROOT / 'tests' / 'engine' / 'worker.py'
HARM = """
custom_imports = dict(imports=['damamba.register', 'tests.engine.signals'], allow_failed_imports=False)
train_cfg = dict(max_epochs=3)
custom_hooks = [
    dict(type='SignalHook', stage='before_train_iter', at=3, rank=1, name='SIGKILL'),
    dict(type='SignalHook', stage='after_train_iter', at=0, start=1, to_parent=True, name='SIGUSR1', wait_s=1),
]
"""


def start(command: list, log: Path, **settings: object) -> subprocess.Popen:
    env = {name: value for name, value in os.environ.items() if name not in ('PORT', 'MASTER_PORT')}
    path = {'PYTHONPATH': str(ROOT), 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': ''}
    env |= path | {name: str(value) for name, value in settings.items()}
    words = [str(word) for word in command]
    return subprocess.Popen(words, env=env, stdout=log.open('w'), stderr=subprocess.STDOUT, start_new_session=True)


def end_of(process: subprocess.Popen, log: Path, timeout_s: float = 240) -> int:
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f'it does not end:\n{log.read_text()[-3000:]}') from None


def test_a_training_whose_rank_is_killed_goes_on_and_saves_when_it_is_preempted(coco, tmp_path):
    config = write_config(tmp_path / 'small.py', coco, extra=HARM)
    work_dir, log = tmp_path / 'run', tmp_path / 'log.txt'
    slow_log = tmp_path / 'slow.txt'
    slow = start([sys.executable, '-m', 'damamba.engine.torchrun', 1, WORKER, tmp_path, 'save', 33], slow_log)
    command = ['bash', ROOT / 'dist_train.sh', config, 2, '--work-dir', work_dir]
    training = start(command, log, MAX_RESTARTS=1)
    await_file(tmp_path / '0.pid')
    slow.send_signal(signal.SIGTERM)

    assert end_of(training, log) == 128 + signal.SIGUSR1, log.read_text()[-5000:]
    text = log.read_text()
    assert 'Start 2: going on from the newest checkpoint' in text
    names = sorted(path.name for path in work_dir.glob('*.pth'))
    assert [name for name in names if 'best' not in name] == ['epoch_1.pth', 'iter_3.pth']
    assert re.search(
        r'SIGUSR1: saved as .*/iter_3.pth; to go on: bash .*dist_train.sh .* 2 --work-dir .* --resume\n', text
    )

    assert end_of(slow, slow_log) == 128 + signal.SIGTERM, slow_log.read_text()  # torchrun's own would have killed it
    assert f'saved after [{signal.SIGTERM:d}]' in (tmp_path / '0.txt').read_text()


def await_file(path: Path, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def network(tmp_path):
    """Two machines: network namespaces with a cable between them; their names."""
    names = [f'damamba{os.getpid()}{side}' for side in 'ab']
    made = [['ip', 'netns', 'add', name] for name in names]
    made.append(['ip', 'link', 'add', 'cable0', 'netns', names[0], 'type', 'veth', 'peer', 'cable0', 'netns', names[1]])
    for number, name in enumerate(names):
        made.append(['ip', '-n', name, 'addr', 'add', f'10.99.0.{number + 1}/24', 'dev', 'cable0'])
        made += [['ip', '-n', name, 'link', 'set', device, 'up'] for device in ('lo', 'cable0')]
    try:
        for command in made:
            if subprocess.run(command, capture_output=True).returncode:
                pytest.skip(f'not allowed here: {" ".join(command)}')
        yield names
    except FileNotFoundError:
        pytest.skip('there is no ip here')
    finally:
        for name in names:
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True)


def test_two_machines_with_a_network_between_them(network, tmp_path):
    settings = dict(NNODES=2, MASTER_ADDR='10.99.0.1', PORT=free_port(), RDZV_TIMEOUT=60)
    logs = [tmp_path / f'{rank}.log' for rank in (0, 1)]
    agent = [sys.executable, '-m', 'damamba.engine.torchrun', 1, WORKER, tmp_path, 'save']
    agents = [
        start(['ip', 'netns', 'exec', name, *agent], log, NODE_RANK=rank, **settings)
        for rank, (name, log) in enumerate(zip(network, logs, strict=True))
    ]
    for rank in (0, 1):
        await_file(tmp_path / f'{rank}.pid')
    agents[1].send_signal(signal.SIGTERM)
    assert end_of(agents[1], logs[1]) == 128 + signal.SIGTERM, logs[1].read_text()
    assert end_of(agents[0], logs[0]) == 128 + signal.SIGTERM, logs[0].read_text()
