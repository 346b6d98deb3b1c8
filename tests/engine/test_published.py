"""The six recipes train, and checkpoints in the format of the published detectors load."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import damamba.register  # noqa: F401
from damamba.checkpoint import match, read, state_dict_of
from damamba.cli import test as test_command
from damamba.cli import train as train_command
from tests.detection import ROOT
from tests.engine.test_config import NAMES

SMALL = [
    'train_dataloader.dataset.indices=2',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'model.train_cfg.rcnn.sampler.num=16',
    'model.train_cfg.rpn_proposal.max_per_img=50',
    'train_cfg.max_epochs=1',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=-1',
    'default_hooks.checkpoint.save_last=False',
]


def scaled(name: str) -> list[str]:
    if name.endswith('1x_coco'):
        return ['train_dataloader.dataset.pipeline.2.scale=(128,96)']
    step = 'train_dataloader.dataset.pipeline.3.transforms'
    return [
        f'{step}.0.0.scales=[(64,128),(96,128)]',
        f'{step}.1.0.scales=[(64,128),(96,128)]',
        f'{step}.1.1.crop_size=(48,80)',
        f'{step}.1.2.scales=[(64,128),(96,128)]',
    ]


@pytest.mark.e2e
@pytest.mark.parametrize('name', NAMES)
def test_every_recipe_trains_an_iteration(name, coco, tmp_path):
    options = [f'data_root={coco}', *SMALL, *scaled(name)]
    config = str(ROOT / f'configs/{name}.py')
    train_command.train([config, '--work-dir', str(tmp_path), '--no-validate', '--cfg-options', *options])
    text = '\n'.join(path.read_text() for path in tmp_path.rglob('*.log'))
    assert 'Epoch(train) [1][1/1]' in text and 'loss_mask' in text
    assert text.count('Mixed precision in') == int(name.endswith('3x'))


def detector(name: str) -> torch.nn.Module:
    init_default_scope('mmdet')
    return MODELS.build(Config.fromfile(ROOT / f'configs/{name}.py').model)


def as_mmcv_1_saved_it(state: dict) -> dict:
    meta = {
        'mmcv_version': '1.7.1',
        'mmdet_version': '2.28.2+e9cae2d',
        'time': 'Thu Feb 20 12:00:00 2025',
        'env_info': 'sys.platform: linux',
        'config': 'raise SystemExit("this must never run")',
        'seed': None,
        'epoch': 12,
        'iter': np.int64(87960),
        'hook_msgs': {'best_score': np.float64(0.485)},
        'CLASSES': ('person', 'bicycle'),
        'PALETTE': [(220, 20, 60), (119, 11, 32)],
    }
    groups = [{'lr': 1e-6, 'betas': (0.9, 0.999), 'weight_decay': 0.05, 'params': [0, 1]}]
    optimizer = {'state': {0: {'step': 3, 'exp_avg': torch.zeros(2)}}, 'param_groups': groups}
    return {'meta': meta, 'state_dict': OrderedDict(state), 'optimizer': optimizer}


@pytest.mark.parametrize('size', ['tiny', 'small', 'base'])
def test_a_published_detector_loads_with_nothing_missing_and_nothing_left(size, shared, tmp_path):
    model = detector(f'mask_rcnn_DAMamba_{size}_fpn_1x_coco')
    own = model.state_dict()
    lines = (shared / f'reference/damamba_{size}_detection_keys.tsv').read_text().splitlines()
    shapes = {f'backbone.{name}': shape for name, shape in (line.split('\t') for line in lines)}
    assert shapes.keys() == {name for name in own if name.startswith('backbone.')}
    state = {name: torch.full(_shape(shapes[name]), 0.5) if name in shapes else own[name] for name in own}
    torch.save(as_mmcv_1_saved_it(state), tmp_path / 'published.pth')
    found = state_dict_of(read(tmp_path / 'published.pth'))[0]
    result = match(model, found)
    assert result.complete and not result.unexpected and len(result.filled) == len(own)


def _shape(text: str) -> tuple[int, ...]:
    return () if text == 'scalar' else tuple(map(int, text.split('x')))


def test_a_checkpoint_of_mmcv_1_is_tested_through_the_command(small_config, coco, tmp_path):
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(small_config).model)
    torch.save(as_mmcv_1_saved_it(model.state_dict()), tmp_path / 'old.pth')
    test_command.test([str(small_config), str(tmp_path / 'old.pth'), '--work-dir', str(tmp_path), '--eval', 'bbox'])
    text = '\n'.join(path.read_text() for path in tmp_path.rglob('*.log'))
    count = len(model.state_dict())
    assert f'{count} of {count} tensors match\n' in text and 'coco/bbox_mAP:' in text
