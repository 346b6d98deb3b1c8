"""Variables of a config: what is derived from them follows a command line; nothing is changed for what it equals."""

from pathlib import Path

import pytest
from mmengine.config import Config

import damamba.register  # noqa: F401
from damamba.engine.config import prepare, read_config, use_our_metric
from damamba.engine.config_checks import ConfigError
from tests import armbench
from tests.detection import ROOT

SHIPPED = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
R50 = ROOT / 'configs/armbench/mask_rcnn_r50_fpn_armbench.py'
MASK2FORMER = ROOT / 'configs/armbench/mask2former_swin-b-p4-w12-384_armbench.py'
BOTH = pytest.mark.parametrize('path', [R50, MASK2FORMER], ids=['r50', 'mask2former'])
SAME = 'same-object-transfer-set'


def read(path: Path, **options) -> Config:
    return read_config(str(path), options)


def files(cfg: Config, split: str) -> tuple[str, str]:
    dataset = cfg[f'{split}_dataloader'].dataset
    return dataset.ann_file, dataset.data_prefix.img


def edited(path: Path, folder: Path, **values) -> Config:
    """A config in whose own file, and in those of its bases, these variables have been edited by hand."""
    configs = folder / 'configs'
    for source in (ROOT / 'configs').rglob('*.py'):
        lines = source.read_text().splitlines()
        for name, value in values.items():
            lines = [f'{name} = {value!r}' if line.startswith(f'{name} = ') else line for line in lines]
        (configs / source.relative_to(ROOT / 'configs')).parent.mkdir(parents=True, exist_ok=True)
        (configs / source.relative_to(ROOT / 'configs')).write_text('\n'.join(lines) + '\n')
    return Config.fromfile(configs / path.relative_to(ROOT / 'configs'))


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_the_command_line_gives_what_editing_the_lines_gives(path, tmp_path):
    options = dict(data_root='/data/some coco')
    if path.parent.name != 'mask2former':  # MMDetection's, which count iterations
        options['max_epochs'] = 2
    assert read(path, **options).to_dict() == edited(path, tmp_path, **options).to_dict() != read(path).to_dict()


@BOTH
def test_a_subset_is_where_it_is_used_and_nowhere_else(path):
    cfg = read(path, test_subset=SAME, data_root='/mix-object-tote')
    assert files(cfg, 'test') == (f'{SAME}/test.json', f'{SAME}/images/')
    assert files(cfg, 'train')[0] == 'mix-object-tote/train.json' and files(cfg, 'val')[0] == 'mix-object-tote/val.json'
    cfg = read(path, train_subset=SAME)
    assert files(cfg, 'train') == (f'{SAME}/train.json', f'{SAME}/images/')
    assert files(cfg, 'val')[0] == f'{SAME}/val.json' and files(cfg, 'test')[0] == 'mix-object-tote/test.json'


@pytest.mark.parametrize('classes', [('Object',), ['Object'], ('Object', 'Tote', 'Big Hand')])
def test_classes_reach_data_sets_and_heads(classes):
    cfg = read(R50, classes=classes)
    heads, count = cfg.model.roi_head, len(classes)
    assert heads.bbox_head.num_classes == heads.mask_head.num_classes == count
    former = read(MASK2FORMER, classes=classes)
    for head in (former.model.panoptic_head, former.model.panoptic_fusion_head):
        assert (head.num_things_classes, head.num_stuff_classes) == (count, 0)
    assert former.model.panoptic_head.loss_cls.class_weight == [1.0] * count + [0.1]
    for split in ('train', 'val', 'test'):
        assert list(cfg[f'{split}_dataloader'].dataset.metainfo.classes) == list(classes)
        assert list(former[f'{split}_dataloader'].dataset.metainfo.classes) == list(classes)


def test_what_torchvisions_files_do_not_say_is_a_variable():
    cfg = read(ROOT / 'configs/torchvision/mask_rcnn_r50_fpn_coco.py', norm_eps=1e-5, min_size=640, max_size=999)
    assert cfg.model.backbone.norm_cfg == dict(type='BN', eps=1e-5, requires_grad=False)
    assert (cfg.model.data_preprocessor.min_size, cfg.model.data_preprocessor.max_size) == (640, 999)


def test_sizes_are_told_apart_by_their_names_though_they_are_equal():
    demo = MASK2FORMER.with_name(f'{MASK2FORMER.stem}_demo.py')
    cfg = read(demo, scale=(512, 512))
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['RandomResize'].scale == steps['RandomCrop'].crop_size == (256, 256)
    assert cfg.model.data_preprocessor.batch_augments[0].size == (256, 256)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (512, 512)
    cfg = read(demo, image_size=(512, 512))
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['RandomResize'].scale == steps['RandomCrop'].crop_size == (512, 512)
    assert cfg.model.data_preprocessor.batch_augments[0].size == (512, 512)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (256, 256)


@pytest.mark.parametrize(
    ('name', 'epochs', 'expected'),
    [
        ('armbench/mask_rcnn_DAMamba_tiny_fpn_armbench', 10, [8, 9]),
        ('armbench/mask_rcnn_DAMamba_tiny_fpn_armbench', 3, [2]),
        ('armbench/mask_rcnn_r50_fpn_armbench', 10, [3, 6, 9]),
        ('armbench/mask_rcnn_r50_fpn_armbench', 1, []),
        ('armbench/mask2former_swin-b-p4-w12-384_armbench', 30, [27]),
        ('mask_rcnn_DAMamba_tiny_fpn_1x_coco', 12, [8, 11]),
        ('mask_rcnn_DAMamba_tiny_fpn_1x_coco', 24, [16, 22]),
        ('mask_rcnn_DAMamba_tiny_fpn_3x', 36, [27, 33]),
    ],
)
def test_where_the_rate_falls_moves_with_the_epochs(name, epochs, expected):
    cfg = read(ROOT / 'configs' / f'{name}.py', max_epochs=epochs)
    last = cfg.param_scheduler[-1] if isinstance(cfg.param_scheduler, list) else cfg.param_scheduler
    assert (cfg.train_cfg.max_epochs, last.end, last.milestones) == (epochs, epochs, expected)


OWN = """
_base_ = '{base}'
{lines}
"""


def own(tmp_path: Path, lines: str, base: Path = SHIPPED[-1]) -> Path:
    (tmp_path / 'own.py').write_text(OWN.format(base=base, lines=lines))
    return tmp_path / 'own.py'


@pytest.mark.parametrize(
    ('lines', 'key', 'value'),
    [
        ("max_epochs = 24\ntrain_cfg = dict(max_epochs=max_epochs)\nparam_scheduler = [dict(type='MultiStepLR', "
         "milestones=[16, 22], end=max_epochs)]", 'param_scheduler.0.milestones', [16, 22]),
        ("root = 'data/coco/'\ntrain_dataloader = dict(dataset=dict(data_root=root, ann_file='data/coco/a.json'))",
         'train_dataloader.dataset.ann_file', 'data/coco/a.json'),
        ("model = dict(roi_head=dict(bbox_head=dict(loss_cls=dict(class_weight=[2.0] * 81))))",
         'model.roi_head.bbox_head.loss_cls.class_weight', [2.0] * 81),
    ],
)  # fmt: skip
@pytest.mark.parametrize('options', [{}, dict(data_root='data/coco/mine/')])
def test_what_a_config_of_ones_own_says_stands(lines, key, value, options, tmp_path):
    path = own(tmp_path, lines)
    cfg = read(path, **options)
    prepare(cfg)
    node = cfg
    for part in key.split('.'):
        node = node[int(part)] if part.isdecimal() else node[part]
    assert node == value
    if options and 'root = ' not in lines:
        assert cfg.train_dataloader.dataset.data_root == 'data/coco/mine/'


@pytest.mark.parametrize(
    ('lines', 'keys'),
    [
        ('max_epochs = 24', 'train_cfg.max_epochs, param_scheduler.1.end, param_scheduler.1.milestones'),
        ("data_root = '/mine/'", 'train_dataloader.dataset.data_root, val_dataloader.dataset.data_root'),
        ("data_root: str = '/mine/'", 'train_dataloader.dataset.data_root'),
    ],
)
def test_a_variable_that_comes_too_late_is_refused_with_the_keys_to_set(lines, keys, tmp_path):
    with pytest.raises(ConfigError, match=f'own.py says .* and does not use it, .*: set {keys}'):
        read(own(tmp_path, lines, ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'))


@pytest.mark.parametrize('suffix', ['py', 'json', 'yaml'])
def test_the_variable_of_a_dumped_config_is_refused_with_the_keys_to_set(suffix, tmp_path):
    path = tmp_path / f'dumped.{suffix}'
    read(R50).dump(path)
    for name, value in (('data_root', '/x'), ('max_epochs', 3), ('classes', ['Object'])):
        with pytest.raises(ConfigError, match=f'has no {name} that a command line could change anything by: set '):
            read(path, **{name: value})
    assert read(path, load_from='x.pth').load_from == 'x.pth'  # which the runner reads


@pytest.mark.parametrize(
    ('lines', 'name'),
    [
        ('if True:\n    max_epochs = 24\ntrain_cfg = dict(max_epochs=max_epochs)', 'max_epochs'),
        ('max_epochs, other = 10, 1\ntrain_cfg = dict(max_epochs=max_epochs)', 'max_epochs'),
        ('max_epochs = 10\nmax_epochs += 5\ntrain_cfg = dict(max_epochs=max_epochs)', 'max_epochs'),
        ('train_cfg = dict(max_epochs=24)\nparam_scheduler = []', 'max_epochs'),
    ],
)
def test_a_variable_that_can_not_be_put_in_is_refused(lines, name, tmp_path):
    with pytest.raises(ConfigError, match=f'{name}'):
        read(own(tmp_path, lines, ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'), **{name: 2})


def test_a_section_on_the_command_line_is_merged_as_mmengine_does(tmp_path):
    base = ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'
    cfg = read(
        base, train_cfg=dict(val_interval=3), val_evaluator=dict(classwise=True), auto_scale_lr=dict(enable=True)
    )
    assert cfg.train_cfg == dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=3)
    assert cfg.val_evaluator.classwise and 'classwise' not in cfg.test_evaluator
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=16)
    cfg = read(base, val_dataloader=None, val_cfg=None, val_evaluator=None)
    assert cfg.val_dataloader is None and cfg.test_dataloader.dataset.data_root == 'data/coco/'


def test_a_pipeline_that_comes_too_late_is_refused_and_an_idle_name_of_what_is_written_out_is_not(tmp_path):
    base = ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_3x.py'
    with pytest.raises(ConfigError, match='own.py says train_pipeline'):
        read(own(tmp_path, "train_pipeline = [dict(type='LoadImageFromFile')]", base))
    lines = (
        'max_epochs = 24\ntrain_cfg = dict(max_epochs=24)\n'
        "param_scheduler = [dict(type='MultiStepLR', milestones=[16], by_epoch=True, begin=0, end=24)]"
    )
    assert read(own(tmp_path, lines, base)).train_cfg.max_epochs == 24


@pytest.mark.parametrize(
    'options',
    [
        dict(milestones=[1]), dict(max_epochs=1, milestones=[]), {'optim_wrapper.dtype': 'float16'},
        {'vis_backends': [dict(type='LocalVisBackend')]}, {'param_scheduler.1.convert_to_iter_based': True},
        {'default_hooks.early_stopping.type': 'EarlyStoppingHook'}, {'optim_wrapper.optimizer._delete_': True},
        {'train_dataloader.dataset.backend_args.backend': 'local'},
    ],
    ids=str,
)  # fmt: skip
def test_what_people_set_every_day_is_taken(options):
    read(ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py', **options)


@pytest.mark.parametrize('value', [3, 0.5, None])
def test_a_number_may_be_whole_and_a_value_none(value, tmp_path):
    (tmp_path / 'rate.py').write_text('rate = 0.1\noptim_wrapper = dict(optimizer=dict(lr=rate))\n')
    assert read(tmp_path / 'rate.py', rate=value).optim_wrapper.optimizer.lr == value


@pytest.mark.parametrize(
    'options',
    [dict(classes='Object'), dict(classes=[]), dict(scale=(640,)), dict(scale='640'), dict(scale=(1.5, 2)),
     dict(max_epochs='3x'), dict(max_epochs=1.5), dict(max_epochs=True), dict(test_subset=3)],
    ids=str,
)  # fmt: skip
def test_a_value_of_another_kind_is_refused(options):
    with pytest.raises(ConfigError, match=f'{next(iter(options))} is .* is of another kind'):
        read(R50, **options)


def test_classes_that_no_base_assigns_are_put_in_where_a_leaf_uses_them_and_refused_elsewhere(tmp_path):
    used = "classes = ('A', 'B')\ntrain_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))\n"
    (tmp_path / 'used.py').write_text(used)
    cfg = read(tmp_path / 'used.py', classes=['Big A', 'B', 'C'])
    assert cfg.train_dataloader.dataset.metainfo.classes == ['Big A', 'B', 'C']
    (tmp_path / 'idle.py').write_text("classes = ('A', 'B')\nmodel = dict(type='MaskRCNN')\n")
    with pytest.raises(ConfigError, match='idle.py has no classes that a command line could change anything by'):
        read(tmp_path / 'idle.py', classes=['C'])


@pytest.mark.parametrize('epochs', [0, -1])
def test_a_training_has_an_epoch_at_least(epochs):
    with pytest.raises(ConfigError, match='max_epochs must be a whole number from 1 on, got'):
        read(R50, max_epochs=epochs)


NEW_BASE = """
from mmdet.datasets import CocoDataset

data_root = 'data/coco/'
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
train_dataloader = dict(batch_size=2, dataset=dict(type=CocoDataset, data_root=data_root, ann_file='a.json'))
test_dataloader = dict(dataset=dict(type=CocoDataset, data_root=data_root, ann_file=f'{data_root}b.json'))
"""
NEW_STYLE = """
from mmengine.config import read_base

with read_base():
    from .base import *

from mmengine.optim import OptimWrapper

rate = 0.1
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(lr=rate * 2))
"""


def test_the_new_style_is_read_alike(tmp_path):
    (tmp_path / 'base.py').write_text(NEW_BASE)
    (tmp_path / 'new.py').write_text(NEW_STYLE)
    cfg = read(tmp_path / 'new.py', data_root='/my data/', max_epochs=2, rate=1.0, **{'train_dataloader.pin_memory': 3})
    assert cfg.train_cfg.max_epochs == 2 and cfg.train_dataloader.pin_memory == 3
    assert cfg.optim_wrapper.optimizer.lr == 2
    assert cfg.train_dataloader.dataset.data_root == '/my data/'
    assert cfg.test_dataloader.dataset.ann_file == '/my data/b.json'
    with pytest.raises(ConfigError, match='is of another kind'):
        read(tmp_path / 'new.py', max_epochs='many')
    with pytest.raises(ConfigError, match='dataset.fractoin is not in the config'):
        read(tmp_path / 'new.py', **{'train_dataloader.dataset.fractoin': 1})
    (tmp_path / 'late.py').write_text(f"{NEW_STYLE}data_root = '/mine/'\n")
    with pytest.raises(ConfigError, match='late.py says data_root'):
        read(tmp_path / 'late.py')


def test_mmdetections_own_configs_have_their_variables_too(tmp_path):
    (tmp_path / 'own.py').write_text("_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'\n")
    cfg = read(tmp_path / 'own.py', data_root='/x/')
    assert [cfg[f'{split}_dataloader'].dataset.data_root for split in ('train', 'val', 'test')] == ['/x/'] * 3
    assert cfg.val_evaluator.ann_file == '/x/annotations/instances_val2017.json'


@pytest.mark.parametrize('many', [False, True], ids=['one', 'several'])
def test_mmdetections_metric_gives_way_to_ours_and_that_is_said(many):
    metric = dict(type='CocoMetric', ann_file='x.json', metric='bbox', use_mp_eval=True)
    cfg = Config(
        dict(val_evaluator=dict(metric), test_evaluator=[dict(metric), dict(type='DumpDetResults')] if many else metric)
    )
    note = use_our_metric(cfg)
    ours = cfg.test_evaluator[0] if many else cfg.test_evaluator
    assert ours == cfg.val_evaluator == dict(type='CocoInstanceMetric', ann_file='x.json', metric='bbox')
    assert note.startswith('val_evaluator and test_evaluator: CocoInstanceMetric in the place of CocoMetric')
    assert use_our_metric(cfg) is None


def test_without_test_json_it_is_tested_on_val_json_and_said(tmp_path, caplog):
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    armbench.write(tmp_path, splits=('train', 'val'), pictures=False)
    cfg = read(R50, data_root=str(tmp_path))
    folder = tmp_path / 'mix-object-tote'
    with caplog.at_level('WARNING', 'damamba'):
        dataset = DATASETS.build({**cfg.test_dataloader.dataset, 'lazy_init': True})
    assert f'{folder}/test.json is not there: testing on {folder}/val.json' in caplog.text
    assert dataset.ann_file == f'{folder}/val.json'
    armbench.write(tmp_path, pictures=False)
    assert DATASETS.build({**cfg.test_dataloader.dataset, 'lazy_init': True}).ann_file == f'{folder}/test.json'
