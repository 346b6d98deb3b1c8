"""Settings that a config says once: where its data lie, which subset, which classes."""

import copy

import pytest
from mmengine.config import Config

import damamba.register  # noqa: F401
from damamba.engine.config import read_config
from damamba.engine.settings import SettingError, spread, subset
from tests import armbench
from tests.detection import ROOT

R50 = 'mask_rcnn_r50_fpn_armbench'
MASK2FORMER = 'mask2former_swin-b-p4-w12-384_armbench'
BOTH = pytest.mark.parametrize('name', [R50, MASK2FORMER])
SAME = 'same-object-transfer-set'


def read(name, **options):
    cfg = Config.fromfile(ROOT / 'configs' / 'armbench' / f'{name}.py')
    cfg.merge_from_dict(options)
    return cfg


def files(cfg, split):
    dataset = cfg[f'{split}_dataloader'].dataset
    evaluator = cfg.get(f'{split}_evaluator') or {}
    return dataset.ann_file, dataset.data_prefix.img, evaluator.get('ann_file')


@BOTH
def test_a_test_subset_is_where_it_is_tested_and_nowhere_else(name):
    cfg = read(name, test_subset=SAME, data_root='/data/arm')
    spread(cfg)
    assert files(cfg, 'test') == (f'{SAME}/test.json', f'{SAME}/images/', f'/data/arm/{SAME}/test.json')
    for split in ('train', 'val'):
        assert SAME not in str(files(cfg, split))
    assert cfg.test_dataloader.dataset.data_root == '/data/arm'


@BOTH
def test_a_train_subset_is_where_it_is_trained_and_validated(name):
    cfg = read(name, train_subset=SAME)
    spread(cfg)
    root = 'data/armbench-segmentation-0.1'
    assert files(cfg, 'train') == (f'{SAME}/train.json', f'{SAME}/images/', None)
    assert files(cfg, 'val') == (f'{SAME}/val.json', f'{SAME}/images/', f'{root}/{SAME}/val.json')
    assert files(cfg, 'test')[0] == 'mix-object-tote/test.json'


@pytest.mark.parametrize('classes', [('Object',), ['Object'], ('Object', 'Tote', 'Hand')])
def test_classes_reach_data_sets_and_heads_of_mask_rcnn(classes):
    cfg = read(R50, classes=classes)
    spread(cfg)
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.metainfo.classes == tuple(classes)
    heads = cfg.model.roi_head
    assert heads.bbox_head.num_classes == heads.mask_head.num_classes == len(classes)


@pytest.mark.parametrize('count', [1, 3])
def test_classes_reach_both_heads_of_mask2former_and_the_weights_of_its_loss(count):
    cfg = read(MASK2FORMER, classes=('Object', 'Tote', 'Hand')[:count])
    spread(cfg)
    for head in (cfg.model.panoptic_head, cfg.model.panoptic_fusion_head):
        assert (head.num_things_classes, head.num_stuff_classes) == (count, 0)
    assert cfg.model.panoptic_head.loss_cls.class_weight == [1.0] * count + [0.1]


@BOTH
def test_without_an_edit_nothing_changes_and_twice_is_as_good_as_once(name):
    cfg = read(name)
    before = copy.deepcopy(cfg.to_dict())
    assert spread(cfg) == []
    assert cfg.to_dict() == before
    cfg = read(name, classes=('Object',), test_subset=SAME, data_root='/x')
    spread(cfg)
    once = copy.deepcopy(cfg.to_dict())
    spread(cfg)
    assert cfg.to_dict() == once


@pytest.mark.parametrize('classes', ['Object', ()])
def test_classes_that_are_no_tuple_of_names_are_refused(classes):
    with pytest.raises(SettingError, match='classes must be a tuple of names'):
        spread(read(R50, classes=classes))


@BOTH
def test_without_test_json_it_is_tested_on_val_json_and_said(name, tmp_path):
    armbench.write(tmp_path, splits=('train', 'val'), pictures=False)
    cfg = read(name, data_root=str(tmp_path))
    (note,) = spread(cfg)
    folder = tmp_path / 'mix-object-tote'
    assert note == f'{folder}/test.json is not there: testing on {folder}/val.json'
    assert files(cfg, 'test') == ('mix-object-tote/val.json', 'mix-object-tote/images/', f'{folder}/val.json')
    armbench.write(tmp_path, pictures=False)
    cfg = read(name, data_root=str(tmp_path))
    assert spread(cfg) == []
    assert files(cfg, 'test')[0] == 'mix-object-tote/test.json'


def test_where_neither_is_there_the_missing_file_is_named_by_its_own_name(tmp_path):
    cfg = read(R50, data_root=str(tmp_path))
    assert spread(cfg) == []
    assert files(cfg, 'test')[0] == 'mix-object-tote/test.json'


def test_a_scale_reaches_every_pipeline():
    cfg = read(R50, scale='(640,512)')
    with pytest.raises(SettingError, match='scale must be two whole numbers'):
        spread(cfg)
    cfg = read(R50, scale=[640, 512])
    spread(cfg)
    for split in ('train', 'val', 'test'):
        (resize,) = [step for step in cfg[f'{split}_dataloader'].dataset.pipeline if step.type == 'Resize']
        assert resize.scale == (640, 512)


def test_mask2formers_size_is_what_it_jitters_crops_and_pads_to_and_leaves_the_test_alone():
    cfg = read(MASK2FORMER, image_size=(512, 512))
    spread(cfg)
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['RandomResize'].scale == steps['RandomCrop'].crop_size == (512, 512)
    assert cfg.model.data_preprocessor.batch_augments[0].size == (512, 512)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (1333, 800)


@BOTH
@pytest.mark.parametrize('root', ['/data/mix-object-tote/armbench', '/data/mix-object-tote/', 'mix-object-tote', '/'])
def test_a_subset_is_another_below_data_root_alone(name, root):
    cfg = read(name, test_subset=SAME, train_subset=f'deeper/{SAME}/', data_root=root)
    spread(cfg)
    inside = root.rstrip('/') + '/'
    assert files(cfg, 'test') == (f'{SAME}/test.json', f'{SAME}/images/', f'{inside}{SAME}/test.json')
    assert files(cfg, 'val')[::2] == (f'deeper/{SAME}/val.json', f'{inside}deeper/{SAME}/val.json')
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.data_root == root


def test_whole_paths_are_renamed_below_data_root_and_those_from_elsewhere_stay():
    own, other = '/mix-object-tote/mix-object-tote/test.json', '/mine/mix-object-tote/test.json'
    options = {'test_dataloader.dataset.ann_file': own, 'test_evaluator.ann_file': other}
    cfg = read(R50, data_root='/mix-object-tote', test_subset=SAME, **options)
    spread(cfg)
    assert files(cfg, 'test') == (f'/mix-object-tote/{SAME}/test.json', f'{SAME}/images/', other)


@pytest.mark.parametrize('name', ['train_subset', 'test_subset'])
@pytest.mark.parametrize('folder', ['/data/same', '', '/', '.', '..', '../same', 'a/../b', 'a//b', 3, None])
def test_a_subset_is_a_folder_below_data_root(name, folder):
    with pytest.raises(SettingError, match=f'{name} must be a folder below data_root, such as .*, got {folder!r}$'):
        spread(read(R50, **{name: folder}))


def test_slashes_at_the_end_of_a_subset_make_no_other_one():
    cfg = read(R50, test_subset='mix-object-tote/')
    assert subset(cfg, 'test_subset') == 'mix-object-tote'
    spread(cfg)
    assert cfg.test_subset == 'mix-object-tote'
    assert files(cfg, 'test')[0] == 'mix-object-tote/test.json'


def schedule(path, **options):
    cfg = Config.fromfile(ROOT / 'configs' / f'{path}.py')
    cfg.merge_from_dict(options)
    spread(cfg)
    schedulers = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
    assert cfg.train_cfg.max_epochs == schedulers[-1].end
    assert all(s.end in (50, 501) for s in schedulers[:-1])  # warm-up counts iterations
    return cfg.train_cfg.max_epochs, schedulers[-1].get('milestones', schedulers[-1].get('T_max'))


@pytest.mark.parametrize(
    ('path', 'epochs', 'expected'),
    [
        ('armbench/mask_rcnn_DAMamba_tiny_fpn_armbench', 10, [8, 9]),
        ('armbench/mask_rcnn_DAMamba_tiny_fpn_armbench', 20, [16, 18]),
        ('armbench/mask_rcnn_DAMamba_tiny_fpn_armbench', 3, [2]),
        ('armbench/mask_rcnn_r50_fpn_armbench', 3, [1, 2]),
        ('armbench/mask_rcnn_r50_fpn_armbench', 1, []),
        ('armbench/mask2former_swin-b-p4-w12-384_armbench', 30, [27]),
        ('armbench/mask2former_swin-b-p4-w12-384_armbench_demo', 1, []),
        ('armbench/mask_rcnn_DAMamba_nano_fpn_armbench_demo', 16, 16),
        ('armbench/mask_rcnn_DAMamba_nano_fpn_armbench_demo', 3, 3),
        ('demo/mask_rcnn_DAMamba_nano_fpn_shapes', 2, 2),
        ('mask_rcnn_DAMamba_tiny_fpn_1x_coco', 24, [16, 22]),
        ('mask_rcnn_DAMamba_tiny_fpn_3x', 12, [9, 11]),
    ],
)
def test_epochs_reach_the_loop_and_every_scheduler_that_counts_them(path, epochs, expected):
    assert schedule(path, max_epochs=epochs) == (epochs, expected)


def test_what_a_config_says_of_epochs_itself_stays():
    options = {'train_cfg.max_epochs': 2, 'param_scheduler.1.end': 7, 'param_scheduler.1.milestones': [4, 6]}
    cfg = read(R50, max_epochs=5, **options)
    spread(cfg)
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler[1].end) == (2, 7)
    assert cfg.param_scheduler[1].milestones == [4, 6]


@pytest.mark.parametrize('epochs', [0, -1, 1.5, '3x', True])
def test_epochs_that_are_no_number_are_refused(epochs):
    with pytest.raises(SettingError, match='max_epochs must be a whole number of epochs, got'):
        spread(read(R50, max_epochs=epochs))


def test_what_is_merged_into_a_config_stands_for_itself():
    """Though it is what the base said, and the leaf says something else."""
    path = ROOT / 'configs' / 'armbench' / 'mask_rcnn_DAMamba_nano_fpn_armbench_demo.py'
    cfg = read_config(str(path))
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == 16
    cfg.merge_from_dict({'train_cfg.max_epochs': 6})
    spread(cfg)
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler[1].end) == (6, 16)
    cfg.merge_from_dict({'max_epochs': 3})
    cfg.train_cfg.max_epochs = 16
    spread(cfg)
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == cfg.param_scheduler[1].T_max == 3
