"""A data worker is killed while it is needed: the run ends with what became of it, and does not hang."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.detection import ROOT, write_coco, write_config

pytestmark = pytest.mark.faults

TIMEOUT = 120  # seconds


def workers_of(process: subprocess.Popen) -> list[int]:
    """The data workers of a process, by the name that torch gives them."""
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    return [int(pid) for pid in children if Path(f'/proc/{pid}/comm').read_text().startswith('pt_data_worker')]


def until(condition, process: subprocess.Popen):
    """What a condition comes to, once it holds."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        if found := condition():
            return found
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f'it did not come to that: {process.communicate()[0]}')


@pytest.mark.parametrize(('split', 'persistent'), [('train', 'True'), ('train', 'False'), ('val', 'True')])
def test_the_run_ends_with_what_became_of_it(split, persistent, tmp_path):
    data = write_coco(tmp_path / 'data', train=4 if split == 'val' else 40, val=60 if split == 'val' else 3)
    loader = f'{split}_dataloader'
    options = [f'{loader}.num_workers=1', f'{loader}.persistent_workers={persistent}', 'train_cfg.max_epochs=50']
    command = [str(ROOT / 'tools/train.py'), str(write_config(tmp_path / 'c.py', data)), '--work-dir', str(tmp_path)]
    with (tmp_path / 'said').open('w+') as said:
        process = subprocess.Popen(
            [sys.executable, *command, '--cfg-options', *options],
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: f'Epoch({split})' in (tmp_path / 'said').read_text(), process)
            (worker,) = until(lambda: workers_of(process), process)
            os.kill(worker, signal.SIGKILL)
            assert process.wait(TIMEOUT) == 1
        finally:
            process.kill()
    text = (tmp_path / 'said').read_text()
    last = text.strip().splitlines()[-1]
    assert last.startswith('error: DataLoader worker (pid') and str(worker) in last, text
    assert 'memory ran out' in last and 'num_workers' in last
