"""The configs under configs/armbench: three families on one data set, and the traps of composing them."""

import copy

import pytest
import torch
from mmdet.registry import MODELS, PARAM_SCHEDULERS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.structures import InstanceData

import damamba.register  # noqa: F401
from damamba.checkpoint import match
from tests.detection import ROOT

FOLDER = ROOT / 'configs' / 'armbench'
DAMAMBA = [f'mask_rcnn_DAMamba_{size}_fpn_armbench' for size in ('tiny', 'small', 'base')]
R50, MASK2FORMER = 'mask_rcnn_r50_fpn_armbench', 'mask2former_swin-b-p4-w12-384_armbench'
TORCHVISION = 'mask_rcnn_r50_fpn_torchvision_armbench'  # ARMBench's own, which needs a conversion
FROM_INSTANCES = 'mask2former_swin-b-p4-w12-384_coco-instance_armbench'  # which needs one, too
FAMILIES = [*DAMAMBA, R50, MASK2FORMER, TORCHVISION]
DEMOS = [
    'mask_rcnn_DAMamba_nano_fpn_armbench_demo',
    'mask_rcnn_r50_fpn_armbench_demo',
    'mask2former_swin-b-p4-w12-384_armbench_demo',
]


def read(name):
    return Config.fromfile(FOLDER / f'{name}.py')


def test_there_is_nothing_else_in_the_folder():
    assert {path.stem for path in FOLDER.glob('*.py')} == {*FAMILIES, FROM_INSTANCES, *DEMOS}


@pytest.mark.parametrize('name', [*FAMILIES, *DEMOS])
def test_all_families_see_the_same_data_and_are_scored_alike(name):
    cfg, base = read(name), Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / 'armbench.py')
    for split in ('train', 'val', 'test'):
        own, other = (copy.deepcopy(c[f'{split}_dataloader'].dataset.to_dict()) for c in (cfg, base))
        for dataset in (own, other):
            dataset.pop('pipeline')
            dataset.pop('fraction', None)
            dataset.pop('_delete_', None)
        assert own.pop('data_root') == cfg.data_root and other.pop('data_root')
        assert own == other
    for split in ('val', 'test'):
        assert cfg[f'{split}_evaluator'] == base[f'{split}_evaluator']
    assert cfg.test_evaluator.details
    assert tuple(cfg.classes) == ('Object', 'Tote')


@pytest.mark.parametrize('name', FAMILIES)
def test_each_starts_from_a_published_coco_detector_for_ten_epochs(name):
    cfg = read(name)
    published = ('https://huggingface.co/ltzovo/DAMamba/resolve/', 'https://download.openmmlab.com/')
    assert cfg.load_from.startswith('work_dirs/' if name == TORCHVISION else published)
    assert cfg.train_cfg.max_epochs == 10
    assert cfg.runner_type == 'DAMambaRunner'
    schedulers = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
    assert all(max(s.get('milestones', [0])) < cfg.train_cfg.max_epochs for s in schedulers)
    assert schedulers[-1].end == cfg.train_cfg.max_epochs


@pytest.mark.parametrize('name', [R50, TORCHVISION])
def test_mask_rcnn_r50_follows_armbenchs_own_recipe(name):
    cfg = read(name)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ('SGD', 0.005, 0.9, 5e-4)
    warm_up, steps = cfg.param_scheduler
    assert (steps.milestones, steps.gamma) == ([3, 6, 9], 0.1)
    assert cfg.auto_scale_lr.base_batch_size == 4
    for epoch, length in ((7744, 1000), (300, 300)):  # theirs: the first epoch, but 1000 iterations at most
        scheduler = PARAM_SCHEDULERS.build(
            warm_up | {'end': 10 * epoch}, default_args=dict(optimizer=torch.optim.SGD([torch.zeros(1)], 1.0))
        )
        assert scheduler.end - scheduler.begin - 1 == length and scheduler.start_factor == 1 / 1000


def test_mask2former_from_instances_differs_in_its_start_alone():
    cfg, other = read(FROM_INSTANCES), read(MASK2FORMER)
    assert cfg.pop('load_from') == 'work_dirs/mask2former_swin-b_coco.pth' and other.pop('load_from')
    assert cfg.to_dict() == other.to_dict()


def test_mask2former_counts_epochs_everywhere_or_nowhere():
    cfg = read(MASK2FORMER)
    assert cfg.train_cfg == dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=1)  # no dynamic_intervals
    assert cfg.param_scheduler.by_epoch
    assert cfg.default_hooks.checkpoint.by_epoch
    assert cfg.log_processor.by_epoch
    assert cfg.optim_wrapper.clip_grad.max_norm == 0.01


def test_mask2former_has_swin_b_and_as_many_classes_as_the_data():
    cfg = read(MASK2FORMER)
    detector = MODELS.build(cfg.model)
    assert round(sum(p.numel() for p in detector.parameters()) / 1e6, 1) == 106.9
    for head in (detector.panoptic_head, detector.panoptic_fusion_head):
        assert (head.num_classes, head.num_things_classes, head.num_stuff_classes) == (2, 2, 0)
    assert detector.panoptic_head.class_weight == [1.0, 1.0, 0.1]
    assert detector.test_cfg.instance_on
    assert not detector.test_cfg.panoptic_on


@pytest.mark.parametrize('name', [MASK2FORMER, DEMOS[2]])
def test_mask2former_pads_to_the_scale_in_use(name):
    cfg = read(name)
    side = cfg.image_size[0]
    preprocessor = MODELS.build(dict(cfg.model.data_preprocessor, type='DetDataPreprocessor'))
    picture = torch.zeros(3, side, side - 40, dtype=torch.uint8)
    batch = dict(inputs=[picture], data_samples=[sample(side, side - 40)])
    assert preprocessor(batch, training=True)['inputs'].shape == (1, 3, side, side)
    assert side == (256 if name.endswith('demo') else 1024)


def test_the_trap_that_this_is_for_mmdetections_padding_stays_at_1024():
    plain = get_config('mmdet::mask2former/mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco.py')
    preprocessor = MODELS.build(plain.model.data_preprocessor)
    batch = dict(inputs=[torch.zeros(3, 256, 256, dtype=torch.uint8)], data_samples=[sample(256, 256)])
    assert preprocessor(batch, training=True)['inputs'].shape == (1, 3, 1024, 1024)


def sample(height, width):
    meta = dict(img_shape=(height, width), pad_shape=(height, width), batch_input_shape=(height, width))
    found = DetDataSample(metainfo=meta)
    found.gt_instances = InstanceData(masks=BitmapMasks([], height, width))
    return found


@pytest.mark.parametrize(
    ('name', 'classes', 'left_out'),
    [
        (R50, dict(num_classes=80), {'fc_cls', 'fc_reg', 'conv_logits'}),
        (MASK2FORMER, dict(num_things_classes=80, num_stuff_classes=53), {'cls_embed'}),
    ],
)
def test_only_the_layers_of_the_classes_are_left_out_of_cocos_detectors(name, classes, left_out):
    cfg = read(name)
    coco = copy.deepcopy(cfg.model)
    heads = [coco[k] for k in ('panoptic_head', 'panoptic_fusion_head') if k in coco]
    heads = heads or [coco.roi_head.bbox_head, coco.roi_head.mask_head]
    for head in heads:
        head.update(classes)
    if 'panoptic_head' in coco:
        coco.panoptic_head.loss_cls.class_weight = [1.0] * 133 + [0.1]
    result = match(MODELS.build(cfg.model), MODELS.build(coco).state_dict())
    assert {layer.split('.')[-1] for layer in result.left_out} == left_out
    assert not result.missing
    assert not result.unexpected


@pytest.mark.parametrize('name', DEMOS)
def test_the_stand_ins_configs_need_no_download(name):
    cfg = read(name)
    assert cfg.load_from in (None, 'work_dirs/demo/epoch_6.pth')
    assert cfg.model.backbone.get('pretrained') is None
    assert cfg.model.backbone.get('init_cfg') is None
    assert cfg.data_root == 'data/armbench-demo/'
    assert cfg.model.type == {'mask2former': 'Mask2Former'}.get(name.split('_')[0], 'MaskRCNN')
