"""The six published recipes, held against their description line by line."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from torch import nn

import damamba.register  # noqa: F401
from tests.detection import ROOT

DIMS = {'tiny': [80, 160, 320, 512], 'small': [96, 192, 384, 512], 'base': [112, 224, 448, 640]}
MILLIONS = {'tiny': 45, 'small': 65, 'base': 105}
SIZES = list(DIMS)
SCHEDULES = {'1x': '1x_coco', '3x': '3x'}
MULTISCALE = [(side, 1333) for side in (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)]


def read(size: str, schedule: str) -> Config:
    init_default_scope('mmdet')
    return Config.fromfile(ROOT / 'configs' / f'mask_rcnn_DAMamba_{size}_fpn_{SCHEDULES[schedule]}.py')


@pytest.fixture(params=[(size, schedule) for size in SIZES for schedule in SCHEDULES], ids='-'.join)
def recipe(request):
    size, schedule = request.param
    return size, schedule, read(size, schedule)


def test_schedule_optimizer_and_batch(recipe):
    size, schedule, cfg = recipe
    _, steps = cfg.param_scheduler
    assert cfg.train_cfg.max_epochs == {'1x': 12, '3x': 36}[schedule]
    assert steps.milestones == {'1x': [8, 11], '3x': [27, 33]}[schedule] and steps.gamma == 0.1
    assert steps.end == cfg.train_cfg.max_epochs
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-4, 0.05)
    assert tuple(optimizer.betas) == (0.9, 0.999) and 'momentum' not in optimizer
    assert cfg.optim_wrapper.get('clip_grad') is None
    assert cfg.optim_wrapper.type == {'1x': 'OptimWrapper', '3x': 'AmpOptimWrapper'}[schedule]
    assert cfg.optim_wrapper.get('loss_scale') == {'1x': None, '3x': 'dynamic'}[schedule]
    assert cfg.train_dataloader.batch_size == {'tiny': 2, 'small': 1, 'base': 1}[size]
    assert dict(cfg.auto_scale_lr) == dict(enable=False, base_batch_size=16)


def test_pictures(recipe):
    _, schedule, cfg = recipe
    load, annotations, *middle, pack = cfg.train_dataloader.dataset.pipeline
    assert (load.type, annotations.type, pack.type) == ('LoadImageFromFile', 'LoadAnnotations', 'PackDetInputs')
    assert annotations.with_bbox and annotations.with_mask
    if schedule == '1x':
        resize, flip = middle
        assert (tuple(resize.scale), resize.keep_ratio) == ((1333, 800), True)
    else:
        flip, choice = middle
        (plain,), (first, crop, second) = choice.transforms
        assert plain.scales == second.scales == MULTISCALE
        assert first.scales == [(400, 1333), (500, 1333), (600, 1333)]
        assert all(resize.keep_ratio for resize in (plain, first, second))
        assert (crop.type, crop.crop_type, tuple(crop.crop_size)) == ('RandomCrop', 'absolute_range', (384, 600))
    assert (flip.type, flip.prob) == ('RandomFlip', 0.5)
    for split in ('val', 'test'):
        types = {step.type: step for step in cfg[f'{split}_dataloader'].dataset.pipeline}
        assert tuple(types['Resize'].scale) == (1333, 800) and 'RandomFlip' not in types


def test_detector(recipe):
    size, _, cfg = recipe
    preprocessor, backbone = cfg.model.data_preprocessor, cfg.model.backbone
    assert preprocessor.mean == [123.675, 116.28, 103.53] and preprocessor.std == [58.395, 57.12, 57.375]
    assert preprocessor.bgr_to_rgb and preprocessor.pad_size_divisor == 32
    assert dict(backbone) == dict(
        type='DAMamba', arch=size, pretrained=None, norm_cfg=dict(type='SyncBN', requires_grad=True)
    )
    assert cfg.model.neck.in_channels == DIMS[size]
    assert cfg.model.neck.out_channels == 256 and cfg.model.neck.num_outs == 5
    extractors = [cfg.model.roi_head[f'{kind}_roi_extractor'].type for kind in ('bbox', 'mask')]
    assert extractors == ['Float32RoIExtractor'] * 2


@pytest.mark.parametrize('size', SIZES)
def test_the_detector_builds_with_the_published_number_of_parameters(size):
    model = MODELS.build(read(size, '1x').model)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == MILLIONS[size]


def test_warm_up_is_linear_over_500_iterations():
    wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0))
    warm_up = {**read('tiny', '1x').param_scheduler[0], 'end': 12 * 7330}  # which the runner fills in
    scheduler = PARAM_SCHEDULERS.build(warm_up, default_args=dict(optimizer=wrapper))
    for t in range(510):
        assert wrapper.param_groups[0]['lr'] == pytest.approx(0.001 + 0.999 * min(t, 500) / 500, rel=1e-9)
        scheduler.step()


def test_only_names_with_norm_are_spared_weight_decay():
    cfg = read('tiny', '1x')
    model = MODELS.build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decay = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    expected = {name: 0.0 if 'norm' in name else 0.05 for name in trained}
    assert {name: decay[id(p)] for name, p in trained.items()} == expected
    assert expected['backbone.stem.1.weight'] == expected['backbone.stages.0.blocks.0.token_mixer.A_logs'] == 0.05
    assert expected['backbone.stages.0.blocks.0.token_mixer.out_norm.norm.weight'] == 0.0


def test_backbone_trains_with_synchronised_statistics_that_keep_updating():
    backbone = MODELS.build(read('tiny', '1x').model).backbone.train()
    norms = [m for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(m, nn.SyncBatchNorm) and m.training for m in norms)
    assert all(p.requires_grad for name, p in backbone.named_parameters() if 'conv_constant' not in name)


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').rglob('*_*.py')), ids=lambda path: path.stem)
def test_no_config_names_the_ground_truth_or_the_classes_twice(path):
    """Evaluators take both from the data set that is tested."""
    cfg = Config.fromfile(path)
    for evaluator in (cfg.get('val_evaluator'), cfg.get('test_evaluator')):
        assert not {'ann_file', 'classes'} & set(evaluator or ())
