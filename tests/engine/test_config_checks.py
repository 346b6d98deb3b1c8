"""Keys that nothing reads are refused with the nearest one that something does."""

import pytest
from mmengine.config import Config

import damamba.register  # noqa: F401
from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError, check_packages
from tests.detection import ROOT

TINY = ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'


@pytest.mark.parametrize(
    ('key', 'near'),
    [
        ('optim_wraper.optimizer.lr', 'optim_wrapper.optimizer.lr'),
        ('optim_wrapper.optimizer.learning_rate', None),
        ('train_dataset.x', None),
        ('train_dataloader.batchsize', 'train_dataloader.batch_size'),
        ('train_dataloader.dataset.fractoin', 'train_dataloader.dataset.fraction'),
        ('train_dataloader.dataset.pipeline.2.scales', 'train_dataloader.dataset.pipeline.2.scale'),
        ('train_dataloader.dataset.pipeline.9.scale', None),
        ('model.backbone.drop_path', 'model.backbone.drop_path_rate'),
        ('model.backbone.arch.depth', None),
        ('model.test_cfg.rcnn.score_threshold', 'model.test_cfg.rcnn.score_thr'),
        ('default_hooks.chekpoint.interval', 'default_hooks.checkpoint.interval'),
        ('param_scheduler.0.shares', 'param_scheduler.0.share'),
        ('test_evaluator.class_wise', 'test_evaluator.classwise'),
        ('randomness.sead', 'randomness.seed'),
        ('train_cfg.max_epoch', 'train_cfg.max_epochs'),
        ('classes', None),
        ('scale', None),
        ('train_dataloader.dataset.metainfo.clases', None),
        ('train_dataloader.dataset.data_prefix.imgs', 'train_dataloader.dataset.data_prefix.img'),
        ('optim_wrapper.paramwise_cfg.custom_keys.backbone.lrmult', None),
        ('model.test_cfg.type', None),
        ('tta_cfg.max_per_img', None),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_the_nearest(key, near):
    with pytest.raises(ConfigError, match=f'{key} is not in the config, and nothing reads it') as error:
        read_config(str(TINY), {key: 1})
    assert near is None or f'is {near} meant?' in str(error.value)
    *parents, last = key.split('.')
    if parents and not (key.endswith('.9.scale') or key.endswith('arch.depth')):  # on purpose
        node = read_config(str(TINY), {f'+{key}': 1})
        for part in parents:
            node = node[int(part)] if part.isdecimal() else node[part]
        assert node[last] == 1


@pytest.mark.parametrize('key', ['test_pipeline.1.scale', 'train_pipeline.0.type', 'short_sides.0'])
def test_what_lies_in_a_variable_is_refused_with_the_keys_to_set(key):
    with pytest.raises(ConfigError, match=f'{key} lies in a variable'):
        read_config(str(TINY.with_name('mask_rcnn_DAMamba_tiny_fpn_3x.py')), {key: 1})


@pytest.mark.parametrize(
    'key',
    [
        'optim_wrapper.accumulative_counts', 'optim_wrapper.clip_grad.max_norm', 'optim_wrapper.optimizer.amsgrad',
        'optim_wrapper.paramwise_cfg.bias_lr_mult', 'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult',
        'train_dataloader.pin_memory', 'train_dataloader.num_batch_per_epoch', 'train_dataloader.dataset.fraction',
        'train_dataloader.dataset.indices', 'train_dataloader.dataset.metainfo.palette', 'train_cfg.val_begin',
        'train_dataloader.dataset.pipeline.2.backend', 'train_dataloader.sampler.round_up', 'model.backbone.with_cp',
        'model.backbone.norm_cfg.eps', 'model.neck.norm_cfg', 'model.roi_head.mask_head.num_convs', 'randomness.seed',
        'default_hooks.checkpoint.by_epoch', 'custom_hooks', 'find_unused_parameters', 'work_dir', 'load_from',
        'param_scheduler.0.most', 'test_evaluator.details', 'visualizer.save_dir', 'env_cfg.resource_limit',
        'env_cfg.dist_cfg.timeout', 'test_cfg.fp16', 'log_processor.window_size', 'auto_scale_lr.enable', 'resume',
    ],
)  # fmt: skip
def test_a_key_that_something_reads_goes_in(key):
    node = read_config(str(TINY), {key: 1})
    for part in key.split('.'):
        node = node[int(part)] if part.isdecimal() else node[part]
    assert node == 1


def test_a_backend_whose_package_is_not_installed_is_named(monkeypatch):
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None if name == 'tensorboard' else name)
    with pytest.raises(ConfigError, match='TensorboardVisBackend needs tensorboard, .* pip install tensorboard'):
        check_packages(Config(dict(visualizer=dict(type='DetLocalVisualizer', vis_backends=backends))))
    check_packages(Config(dict(visualizer=dict(vis_backends=backends[:1]))))
    check_packages(Config(dict(visualizer=None)))
