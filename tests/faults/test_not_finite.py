"""A training of two processes whose learning rate is absurd."""

import subprocess

import pytest

from damamba.checkpoint import read
from tests.detection import ROOT, write_coco, write_config
from tests.e2e.shell import environment

pytestmark = pytest.mark.faults

FEW = """
max_skipped_steps = 3
optim_wrapper = dict(optimizer=dict(lr=1e30))
param_scheduler = []
val_cfg = val_dataloader = val_evaluator = None
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=1, save_best=None))
"""


def test_an_absurd_learning_rate_ends_the_training_and_leaves_no_weights_that_are_not_finite(tmp_path):
    config = write_config(tmp_path / 'small.py', write_coco(tmp_path / 'coco', train=16), extra=FEW)
    command = ['bash', 'dist_train.sh', config, '2', '--work-dir', tmp_path / 'run', '--seed', '0']
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert '3 steps in a row were left out: training ends' in said and 'First module whose output' in said
    assert 'process 0: not finite: ' in said and 'process 1: not finite: ' in said and '.jpg' in said
    saved = sorted((tmp_path / 'run').glob('*.pth'))
    assert saved
    for path in saved:
        state = read(path)['state_dict']
        assert all(value.isfinite().all() for value in state.values() if value.is_floating_point()), path
