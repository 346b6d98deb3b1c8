"""Keys that nothing reads are refused with the nearest one that something does."""

import re

import pytest
from mmengine.config import Config

import damamba.register  # noqa: F401
from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError, check_packages
from damamba.engine.config_parts import check_parts
from tests.detection import ROOT

MASK2FORMER = ROOT / 'configs/armbench/mask2former_swin-b-p4-w12-384_armbench_demo.py'
TEXTS = re.compile('load_from|work_dir|save_dir|backend$')
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
    value = {'custom_hooks': [], 'norm_cfg': None}.get(key.split('.')[-1], 'x' if TEXTS.search(key) else 1)
    node = read_config(str(TINY), {key: value})
    for part in key.split('.'):
        node = node[int(part)] if part.isdecimal() else node[part]
    assert node == value


@pytest.mark.parametrize(
    ('config', 'key', 'value', 'message'),
    [
        # what MMDetection sets itself
        (TINY, 'model.roi_head.test_cfg.score_thr', 0.9, 'MaskRCNN sets .*: model.test_cfg.rcnn.score_thr would do'),
        (TINY, 'model.roi_head.train_cfg.assigner.pos_iou_thr', 0.9, 'model.train_cfg.rcnn.assigner.pos_iou_thr'),
        (TINY, 'model.rpn_head.test_cfg.nms_pre', 5, 'model.test_cfg.rpn.nms_pre would do'),
        (TINY, 'model.rpn_head.num_classes', 7, 'changes nothing, .*: it is always 1'),
        (MASK2FORMER, 'model.panoptic_head.test_cfg.max_per_image', 7, 'model.test_cfg.max_per_image would do'),
        (MASK2FORMER, 'model.panoptic_head.pixel_decoder.in_channels', [7], 'it is always .128, 256, 512, 1024.'),
        (TINY, 'test_dataloader.dataset.filter_cfg.min_size', 32, 'changes nothing while test_mode=True'),
        (TINY, 'data_preprocessor.pad_size_divisor', 64, 'model.data_preprocessor.pad_size_divisor would do'),
        (TINY, 'optim_wrapper.optimizer.params', 1, 'nothing reads it'),
        # below sections that the config lacks
        (TINY, 'optim_wrapper.clip_grad.maxnorm', 1, 'is optim_wrapper.clip_grad.max_norm meant'),
        (TINY, 'optim_wrapper.clip_grad.type', 'foo', 'it takes norm or value'),
        (TINY, 'optim_wrapper.paramwise_cfg.norm_decay', 0, 'is optim_wrapper.paramwise_cfg.norm_decay_mult meant'),
        (TINY, 'env_cfg.mp_cfg.start_method', 'fork', 'is env_cfg.mp_cfg.mp_start_method meant'),
        (TINY, 'log_processor.windowsize', 5, 'is log_processor.window_size meant'),
        (TINY, 'default_hooks.sampler_seed.seed', 1, 'nothing reads it'),
        (TINY, 'model.backbone.init_cfg.checkpoint', 'x', 'model.backbone.init_cfg.type=NAME does'),
        (TINY, 'custom_hooks.0.type', 'EMAHook', 'it takes a list or None, such as custom_hooks='),
        # values of another kind
        (TINY, 'model', 1, 'model can not be 1: it takes a section'),
        (TINY, 'randomness.seed', 'abc', "can not be 'abc': it takes a whole number or None"),
        (TINY, 'resume', 'maybe', 'it takes true or false'),
        (TINY, 'log_level', 'LOUD', 'it takes DEBUG or INFO'),
        (TINY, 'load_from', 5, 'it takes a text or None'),
        (TINY, 'optim_wrapper.optimizer.lr', 'abc', "lr can not be 'abc': it takes a number"),
        (TINY, 'optim_wrapper.optimizer.betas', 0.9, 'it takes a list of 2'),
        (TINY, 'model.roi_head.bbox_head.num_classes', 'x', 'it takes a whole number'),
        (TINY, 'train_dataloader.dataset.metainfo.classes', 'Object', "'Object': it takes a list"),
        (TINY, 'train_cfg.max_epochs', -1, 'must be a whole number from 1 on, got -1'),
        (TINY, 'train_cfg.val_interval', 0, 'must be a whole number from 1 on, got 0'),
        (TINY, 'train_dataloader.batch_size', 0, 'must be a whole number from 1 on, got 0'),
        (TINY, 'train_dataloader.num_workers', -1, 'must be a whole number from 0 on, got -1'),
        (TINY, 'default_hooks.logger.interval', 0, 'must be a whole number from 1 on, got 0'),
        # types
        (TINY, 'default_scope', 'mmengine', 'where MaskRCNN is not found: it is in mmdet'),
        (TINY, 'test_cfg.type', 'ValLoop', 'a loop for something else: it takes TestLoop'),
        (TINY, 'model.backbone.type', 'ResNeet', 'is ResNet meant'),
        (TINY, 'optim_wrapper.optimizer.type', 'AdanW', 'is AdamW meant'),
    ],
)  # fmt: skip
def test_what_a_key_can_not_be_is_one_sentence_with_what_would_do(config, key, value, message):
    with pytest.raises(ConfigError, match=message) as error:
        read_config(str(config), {key: value})
    assert key.split('.')[0] in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.roi_head.bbox_head.num_classes', 3),
        ('model.test_cfg.rcnn.nms.type', 'soft_nms'),
        ('model.backbone.type', 'ResNet'),
        ('model.rpn_head.loss_cls.loss_weight', 2),
        ('train_dataloader.collate_fn.type', 'default_collate'),
        ('custom_hooks', [dict(type='EMAHook')]),
        ('val_dataloader', None),
        ('visualizer.vis_backends', [dict(type='TensorboardVisBackend')]),
        ('optim_wrapper.loss_scale', 512.0),
    ],
)
def test_what_a_key_can_be_goes_in(key, value):
    read_config(str(TINY), {key: value})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(val_cfg=None), 'val_cfg can not be None beside val_dataloader and val_evaluator'),
        (dict(train_dataloader=dict(drop_last=True)), 'train_dataloader can not be built: batch_sampler option'),
        (dict(train_dataloader=dict(num_workers=0, persistent_workers=True)), 'needs num_workers > 0'),
        (dict(test_evaluator=dict(metric='bbbox')), "test_evaluator can not be built: metric should be one of 'bbox'"),
        (dict(test_evaluator=dict(metric_items='mAP_5')), 'metric_items does not know mAP_5; it takes mAP, mAP_50'),
        (dict(optim_wrapper=dict(optimizer=dict(lr=-1))), 'optimizer can not be built: Invalid learning rate: -1'),
        (dict(param_scheduler=[dict(type='MultiStepLR', by_epoch=True, begin=9, end=3)]), 'param_scheduler.0'),
        (dict(auto_scale_lr=dict(enable=True, _delete_=True)), 'needs auto_scale_lr.base_batch_size'),
    ],
)
def test_parts_are_built_before_data_and_weights(changes, message, monkeypatch):
    monkeypatch.setattr('damamba.engine.config_parts.check_files', lambda *_: None)
    cfg = read_config(str(TINY))
    check_parts(cfg, ('train', 'val', 'test'))
    cfg.merge_from_dict(changes)
    with pytest.raises(ConfigError, match=message):
        check_parts(cfg, ('train', 'val', 'test'))


def test_a_backend_whose_package_is_not_installed_is_named(monkeypatch):
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None if name == 'tensorboard' else name)
    with pytest.raises(ConfigError, match='TensorboardVisBackend needs tensorboard, .* pip install tensorboard'):
        check_packages(Config(dict(visualizer=dict(type='DetLocalVisualizer', vis_backends=backends))))
    check_packages(Config(dict(visualizer=dict(vis_backends=backends[:1]))))
    check_packages(Config(dict(visualizer=None)))
