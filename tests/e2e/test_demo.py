"""The demo: from nothing to a detector that is worth looking at; and tuning that begins with its weights.

Two workers tune, one of which is killed: trials as they are, for which tests/tuning/ has stand-ins, and so among the
long tests.
"""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import cv2
import pytest

from damamba.engine.config import read_config
from tests.detection import ROOT
from tests.e2e.conftest import run_demo
from tests.e2e.shell import environment, run

pytestmark = pytest.mark.e2e

CONFIG = ROOT / 'configs/armbench/mask_rcnn_DAMamba_nano_fpn_armbench_demo.py'
SPACE = """
space = {
    'optim_wrapper.optimizer.lr': dict(type='float', low=3e-4, high=1e-2, log=True),
    'optim_wrapper.clip_grad.max_norm': dict(type='categorical', choices=[1, 10, 35]),
    'param_scheduler.0.share': dict(type='float', low=0.02, high=0.2, log=True),
}
"""


def test_a_third_of_the_demo_finds_objects_and_draws_them(tmp_path):
    folder, output = tmp_path, run_demo(tmp_path, epochs=2)
    result = json.loads((folder / 'demo/metrics.json').read_text())
    assert result['split'] == 'test' and result['evaluations']['coco']['images'] >= 100
    assert result['metrics']['coco/bbox_mAP'] >= 0.36 and result['metrics']['coco/segm_mAP'] >= 0.27
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


# Tuning --------------------------------------------------------------------------------------------------------------


def children_of(pid: int) -> list[int]:
    """Running processes whose parent is this one."""
    found = []
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, parent, *_ = stat.read_text().rsplit(')', 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != 'Z':
            found.append(int(stat.parent.name))
    return found


def is_running(pid: int) -> bool:
    """Whether there is such a process, that has not ended and only waits for its parent to notice."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def tuning(folder: Path, data: Path, start: Path) -> list[str]:
    """The command: 6 short trials by 2 workers."""
    (folder / 'space.py').write_text(SPACE)
    options = [f'data_root={data}', f'load_from={start}', 'max_epochs=1', 'train_dataloader.dataset.fraction=0.4']
    words = ['python', 'tools/tune.py', CONFIG, '--space', folder / 'space.py', '--trials', 6, '--workers', 2]
    more = ['--seed', 0, '--work-dir', folder / 'study', '--cfg-options', *options, 'randomness.seed=0']
    return [str(word) for word in (*words, *more)]


def trials_of(folder: Path) -> list[dict]:
    return list(csv.DictReader((folder / 'study/trials.csv').open()))


def in_a_trial(process: subprocess.Popen) -> tuple[int, list[int]]:
    """The first worker seen with a training, and that training; between two trials a worker has none."""
    while process.poll() is None:
        for worker in children_of(process.pid):
            if training := children_of(worker):
                return worker, training
        time.sleep(0.05)
    raise AssertionError('the study ended, and no worker was seen in a trial')


def tune_and_kill(folder: Path, command: list[str]) -> str:
    """Run the command; kill a worker while it has a trial, once three have ended; return the output."""
    output = folder / 'output.txt'
    with (
        output.open('w') as file,
        subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=file, stderr=subprocess.STDOUT) as process,
    ):
        try:
            while len(re.findall(r'trial \d+: segm_mAP', output.read_text())) < 3:
                assert process.poll() is None, output.read_text()[-3000:]
                time.sleep(0.2)
            worker, training = in_a_trial(process)
            os.kill(worker, signal.SIGKILL)
            assert process.wait(1500) == 0, output.read_text()[-3000:]
        finally:
            process.terminate()
    assert not any(is_running(pid) for pid in training)
    return output.read_text()


LONG = pytest.mark.long


@pytest.fixture(scope='module')
def tuned(demo_weights, tmp_path_factory):
    """The folder, the command and the output of a whole study."""
    folder = tmp_path_factory.mktemp('tuned')
    run(['python', 'tools/make_demo_data.py', 'armbench', folder / 'data', '--images', 150])
    command = tuning(folder, folder / 'data', demo_weights)
    return folder, command, tune_and_kill(folder, command)


@LONG
def test_a_study_completes_though_a_worker_was_killed(tuned):
    folder, _, output = tuned
    assert 'ended with status -9; the others go on' in output
    lost = re.search(r'trial (\d+) was lost with its worker: its values are tried again', output).group(1)
    rows = trials_of(folder)
    assert [row['number'] for row in rows if row['state'] == 'lost'] == [lost]
    keys = [key for key in rows[0] if '.' in key]
    values = [[row[key] for key in keys] for row in rows if row['state'] == 'complete']
    assert [rows[int(lost)][key] for key in keys] in values
    assert len([row for row in rows if row['state'] in ('complete', 'pruned', 'fail')]) == len(rows) - 1 == 6
    assert not list((folder / 'study').glob('trial_*/*.pth'))


@LONG
def test_the_best_is_no_worse_than_the_default(tuned):
    rows = {row['number']: row for row in trials_of(tuned[0]) if row['state'] == 'complete'}
    default = next(row for row in rows.values() if row['default'] == 'True')
    best = max(rows.values(), key=lambda row: float(row['value']))
    assert float(best['value']) >= float(default['value'])
    assert f'segm_mAP {float(best["value"]):.4f} in trial {best["number"]}' in tuned[2]
    cfg = read_config(str(tuned[0] / 'study/best.py'))
    assert cfg.optim_wrapper.optimizer.lr == float(best['optim_wrapper.optimizer.lr'])
    assert cfg.param_scheduler[0].share == float(best['param_scheduler.0.share'])
    assert cfg.max_epochs == 16 and cfg.data_root == 'data/armbench-demo/'


@LONG
def test_a_value_is_what_the_training_measured(tuned):
    for row in trials_of(tuned[0]):
        if row['state'] == 'complete':
            metrics = json.loads((tuned[0] / f'study/trial_{int(row["number"]):04d}/metrics.json').read_text())
            assert float(row['value']) == pytest.approx(metrics['metrics']['coco/segm_mAP'], abs=1e-12)


@LONG
def test_the_same_command_has_nothing_left_to_do_and_more_trials_go_on(tuned):
    folder, command, _ = tuned
    before = len(trials_of(folder))
    assert '6 of 6 trials are done: nothing is left to do' in run(command)
    assert len(trials_of(folder)) == before
    more = ['7' if word == '6' else word for word in command]
    assert '6 of 7 trials are done' in run(more)
    assert len(trials_of(folder)) == before + 1


@LONG
def test_the_best_values_train(tuned):
    folder, command, _ = tuned
    options = command[command.index('--cfg-options') :]
    output = run(['python', 'tools/train.py', folder / 'study/best.py', '--work-dir', folder / 'best', *options])
    assert 'coco/segm_mAP: ' in output and (folder / 'best/epoch_1.pth').is_file()
