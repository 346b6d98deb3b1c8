"""Settings that a config says once: where its data lie, which subset, which classes."""

import copy

import pytest
from mmengine.config import Config

import damamba.register  # noqa: F401
from damamba.engine.settings import SettingError, spread
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
