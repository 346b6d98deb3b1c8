"""The demo: from nothing to a detector that is worth looking at."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import cv2
import pytest

from tests.detection import ROOT
from tests.e2e.shell import environment, run

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group('demo')]


def test_half_the_demo_finds_objects_and_draws_them(demo_run):
    folder, output = demo_run
    result = json.loads((folder / 'demo/metrics.json').read_text())
    assert result['split'] == 'test' and result['evaluations']['coco']['images'] >= 100
    assert result['metrics']['coco/bbox_mAP'] >= 0.45 and result['metrics']['coco/segm_mAP'] >= 0.36
    for name in ('metrics.json', 'curves.png', 'detections.png'):
        assert re.search(rf'^\w+ +{folder}/demo/{name}$', output, re.MULTILINE)
    for name in ('curves.png', 'detections.png'):
        assert min(cv2.imread(str(folder / 'demo' / name)).shape[:2]) > 400
    held = json.loads((folder / 'shapes/annotations/instances_val2017.json').read_text())['info']['summary']
    assert held['pictures'] >= 100 and held['objects'] >= 4 * held['pictures']
    assert held['hidden'] >= held['objects'] / 3


def _kill_all(word: str) -> None:
    """Kill every process with this word in its command; torchrun's are in sessions of their own."""
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if word in path.read_text(errors='replace'):
                os.kill(int(path.parent.name), signal.SIGKILL)


def test_a_demo_that_was_killed_goes_on(tmp_path):
    small = f'--images 8 --val-images 2 --epochs 8 --data-root {tmp_path}/shapes --work-dir {tmp_path}/demo'
    command = ['make', '--assume-old=install', 'demo', f'ARGS={small}']
    first = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
    while not (tmp_path / 'demo/last_checkpoint').is_file():
        assert first.poll() is None, 'it ended before its first checkpoint'
        time.sleep(0.05)
    _kill_all(str(tmp_path))
    first.wait()
    assert not (tmp_path / 'demo/epoch_8.pth').exists(), 'it ended before it could be killed'
    command[-1] += ' --resume'
    output = run(command)
    assert 'it was there already' in output
    done = int(re.search(r'resumed epoch: (\d)', output).group(1))
    assert 1 <= done < 8 and f'Epoch(train) [{done}]' not in output and f'Epoch(train) [{done + 1}]' in output
    assert (tmp_path / 'demo/epoch_8.pth').is_file() and (tmp_path / 'demo/curves.png').is_file()
