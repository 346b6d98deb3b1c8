"""The demo's detector trained in float32 and in mixed precision, on the same pictures from the same seed."""

import json
import sys
from pathlib import Path

import pytest
import torch

from damamba.datasets.demo import write_shapes
from tests.detection import ROOT
from tests.e2e.shell import run

pytestmark = pytest.mark.e2e

DEMO = ROOT / 'configs/demo/mask_rcnn_DAMamba_nano_fpn_shapes.py'
EPOCHS = 8  # of 8 batches
OPTIONS = [
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    f'train_cfg.max_epochs={EPOCHS}',
    'param_scheduler.0.share=0.3',
    'default_hooks.logger.interval=1',
    'log_processor.window_size=1',
    'default_hooks.checkpoint.interval=99',
    'train_dataloader.dataset.pipeline.2.scale=(128,128)',
]
SMOOTHING = 16  # iterations


def train(shapes: Path, work_dir: Path, *flags: str) -> tuple[torch.Tensor, str]:
    """Return the loss of every iteration, and what was written."""
    command = [sys.executable, ROOT / 'tools/train.py', DEMO, '--work-dir', work_dir, '--no-validate', '--seed', 0]
    output = run([*command, *flags, '--cfg-options', f'data_root={shapes}', *OPTIONS], OMP_NUM_THREADS='1')
    rows = map(json.loads, next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines())
    return torch.tensor([row['loss'] for row in rows if 'loss' in row]), output


def smoothed(losses: torch.Tensor) -> torch.Tensor:
    return losses.unfold(0, SMOOTHING, 1).mean(dim=1)


def test_mixed_precision_learns_as_float32_does(tmp_path):
    write_shapes(tmp_path / 'shapes', images=32, val_images=1, size=128)
    plain, output = train(tmp_path / 'shapes', tmp_path / 'plain')
    mixed, mixed_output = train(tmp_path / 'shapes', tmp_path / 'mixed', '--amp')
    assert 'Mixed precision' not in output and 'Mixed precision in ' in mixed_output
    assert len(plain) == len(mixed) == 8 * EPOCHS and mixed.isfinite().all() and not torch.equal(plain, mixed)
    truth, ours = smoothed(plain), smoothed(mixed)
    for curve in (truth, ours):
        assert curve[-1] < 0.8 * curve[0], curve
    difference = (ours - truth).abs() / truth
    assert difference.max() < 0.08 and difference.mean() < 0.04, difference
