"""The published commands, as a user types them."""

import os
import re
import subprocess
import sys

import pytest

from tests.detection import ROOT, TINY_1X, write_config
from tests.e2e.shell import bash, free_port

pytestmark = pytest.mark.e2e

COMMON = ['train_dataloader.num_workers=1', 'val_dataloader.num_workers=1', 'test_dataloader.num_workers=1']
SMALLER = [
    *COMMON,
    'train_dataloader.dataset.pipeline.2.scale=(256,160)',
    'val_dataloader.dataset.pipeline.1.scale=(256,160)',
    'test_dataloader.dataset.pipeline.1.scale=(256,160)',
    'model.train_cfg.rcnn.sampler.num=64',
    'model.train_cfg.rpn_proposal.max_per_img=200',
    'model.test_cfg.rpn.max_per_img=200',
    'train_dataloader.dataset.indices=6',
    'default_hooks.logger.interval=1',
    'train_cfg.max_epochs=1',
]


def values(output: str) -> dict[str, float]:
    """The last value of each mAP in the output."""
    return {name: float(value) for name, value in re.findall(r'coco/(bbox_mAP|segm_mAP): (-?[\d.]+)', output)}


@pytest.mark.parametrize('processes', [1, 2])
def test_training_and_testing_a_small_model(processes, coco, tmp_path):
    config = write_config(tmp_path / 'small.py', coco)
    output = bash('dist_train.sh', config, processes, '--work-dir', tmp_path, '--seed', 0)
    assert (tmp_path / 'epoch_1.pth').is_file()
    trained = values(output)
    output = bash(
        'dist_test.sh', config, tmp_path / 'epoch_1.pth', processes, '--work-dir', tmp_path, '--eval', 'bbox', 'segm'
    )
    assert values(output) == trained and trained.keys() == {'bbox_mAP', 'segm_mAP'}


def test_the_scripts_run_from_another_folder_and_resume(coco, tmp_path):
    config = write_config(tmp_path / 'small.py', coco)
    bash('dist_train.sh', config.name, 1, cwd=tmp_path)
    assert (tmp_path / 'work_dirs/small/epoch_1.pth').is_file()
    output = bash('dist_train.sh', config.name, 1, '--resume', '--cfg-options', 'train_cfg.max_epochs=2', cwd=tmp_path)
    assert 'resumed epoch: 1' in output and (tmp_path / 'work_dirs/small/epoch_2.pth').is_file()


def test_two_machines_train_together(coco, tmp_path):
    """Both are this one; each runs one process."""
    config = write_config(tmp_path / 'small.py', coco)
    port = free_port()
    machines = []
    for node in ('0', '1'):
        env = {**os.environ, 'NNODES': '2', 'NODE_RANK': node, 'MASTER_ADDR': '127.0.0.1', 'PORT': port}
        command = ['bash', str(ROOT / 'dist_train.sh'), str(config), '1', '--work-dir', str(tmp_path)]
        machines.append(subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    outputs = [machine.communicate()[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs[0][-3000:] + outputs[1][-3000:]
    assert 'Epoch(train) [1][2/2]' in outputs[0]  # 4 pictures, each on one of two machines


@pytest.mark.parametrize(('script', 'args'), [('dist_train.sh', ['x.py']), ('dist_test.sh', ['x.py', 'y.pth'])])
def test_too_few_arguments_show_the_usage(script, args):
    done = subprocess.run(['bash', str(ROOT / script), *args], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(f'usage: bash {script} CONFIG')


def test_a_mistake_is_one_sentence_and_a_status(coco, tmp_path):
    config = write_config(tmp_path / 'small.py', coco)
    command = [sys.executable, str(ROOT / 'tools/test.py'), str(config), 'nowhere.pth']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'error: nowhere.pth does not exist' in done.stderr.splitlines()[-1]


def test_a_mistake_stands_at_the_end_of_what_torchrun_shows(coco, tmp_path):
    config = write_config(tmp_path / 'small.py', coco)
    env = {**os.environ, 'PORT': free_port(), 'PYTHON': sys.executable}
    command = ['bash', str(ROOT / 'dist_test.sh'), str(config), 'nowhere.pth', '2']
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert 'nowhere.pth does not exist' in '\n'.join(done.stderr.splitlines()[-4:])


def test_the_tiny_recipe_trains_and_tests_on_real_pictures(shared, tmp_path):
    options = ['--work-dir', tmp_path, '--cfg-options', f'data_root={shared}/data/coco_tiny', *SMALLER]
    bash('dist_train.sh', TINY_1X, 2, *options)
    output = bash('dist_test.sh', TINY_1X, tmp_path / 'epoch_1.pth', 2, '--eval', 'bbox', 'segm', *options)
    assert values(output).keys() == {'bbox_mAP', 'segm_mAP'}
    assert 'Epoch(test) [7/7]' in output  # 14 pictures, each on one of two processes


@pytest.mark.long
def test_a_small_model_memorises_real_pictures(shared, tmp_path):
    command = ['benchmarks/memorise.py', str(shared / 'data/coco_tiny'), '--work-dir', str(tmp_path)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    box, mask = map(float, re.search(r'box AP50 ([\d.]+), mask AP50 ([\d.]+)', done.stdout).groups())
    assert box >= 0.8 and mask >= 0.8
