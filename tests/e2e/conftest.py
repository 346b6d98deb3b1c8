"""What takes minutes, and several tests look at."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.e2e.documents import write_checkout
from tests.e2e.shell import run


def pytest_collection_modifyitems(items):
    """The demo and what builds on it take longest: they come first, so that no process waits for them at the end."""
    items.sort(key=lambda item: item.path.name != 'test_demo.py')


def run_demo(folder: Path, epochs: int) -> str:
    """A part of `make demo`, with shapes/ and demo/ in the folder; returns what it printed."""
    flags = f'--epochs {epochs} --data-root {folder}/shapes --work-dir {folder}/demo'
    return run(['make', '--assume-old=install', 'demo', f'ARGS={flags}'])


@pytest.fixture(scope='session')
def demo_weights(tmp_path_factory):
    """Half a demo's, for what begins with them and takes long itself."""
    folder = tmp_path_factory.mktemp('half')
    run_demo(folder, epochs=3)
    return folder / 'demo/epoch_3.pth'


@pytest.fixture(scope='session')
def armbench_data(tmp_path_factory):
    """The folder of the whole stand-in of ARMBench."""
    folder = tmp_path_factory.mktemp('armbench_data')
    run(['python', 'tools/make_demo_data.py', 'armbench', folder])
    return folder


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy of what a user has, in which a file's tests run the documents' commands; see documents.py.

    They are a hundred processes, so `python` there is one that has loaded the packages already. On a machine with GPUs
    it is a new one each time: a fork could not use a GPU that was looked at before.
    """
    folder, socket = tmp_path_factory.mktemp('checkout'), tmp_path_factory.mktemp('warm') / 'socket'
    if torch.cuda.is_available():
        write_checkout(folder, sys.executable)
        yield folder
        return
    warm = str(Path(__file__).with_name('warm.py'))
    write_checkout(folder, shlex.join([sys.executable, '-IS', warm, str(socket)]))
    here = {**os.environ, 'PYTHONPATH': str(folder), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, warm, 'serve', str(socket)]
    with subprocess.Popen(command, cwd=folder, env=here, start_new_session=True) as server:
        try:
            _wait_for(socket, server)
            yield folder
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def _wait_for(path: Path, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert server.poll() is None and time.monotonic() < deadline, 'the warm Python does not start'
        time.sleep(0.1)
