import pytest
from mmengine.config import Config

import damamba.register  # noqa: F401
from damamba.engine.config import prepare, read_config
from damamba.engine.config_checks import ConfigError
from tests.detection import ROOT, TINY_1X

NAMES = [
    f'mask_rcnn_DAMamba_{size}_fpn_{schedule}' for size in ('tiny', 'small', 'base') for schedule in ('1x_coco', '3x')
]


def read(name: str, **options) -> Config:
    return read_config(str(ROOT / 'configs' / f'{name}.py'), options)


def paths(cfg: Config) -> list[str]:
    assert not any('ann_file' in cfg[f'{split}_evaluator'] for split in ('val', 'test'))
    return [cfg[f'{split}_dataloader'].dataset.data_root for split in ('train', 'val', 'test')]


def reached(root: str) -> list[str]:
    return [root] * 3


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('root', ['/data/coco', '/data/coco/', 'elsewhere'])
def test_data_root_on_the_command_line_reaches_every_dataloader(name, root):
    cfg = read(name, data_root=root)
    prepare(cfg)
    assert paths(cfg) == reached(root)


@pytest.mark.parametrize('name', NAMES)
def test_data_root_edited_in_the_leaf_config_reaches_every_dataloader(name, tmp_path):
    text = (ROOT / 'configs' / f'{name}.py').read_text()
    edited = text.replace("data_root = 'data/coco/'", "data_root = '/data/coco/'")
    assert edited != text
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(edited.replace("'./_base_", f"'{ROOT}/configs/_base_"))
    cfg = Config.fromfile(leaf)
    prepare(cfg)
    assert paths(cfg) == reached('/data/coco/')


def test_without_an_edit_the_paths_stay():
    cfg = read(NAMES[0])
    prepare(cfg)
    assert paths(cfg) == reached('data/coco/')


def test_a_dataset_with_a_root_of_its_own_keeps_it():
    cfg = read(NAMES[0], data_root='/data/coco', **{'val_dataloader.dataset.data_root': '/mine'})
    prepare(cfg)
    assert cfg.val_dataloader.dataset.data_root == '/mine'
    assert cfg.train_dataloader.dataset.data_root == '/data/coco'


@pytest.mark.parametrize(
    ('setting', 'replacement'),
    [
        (dict(data=dict(samples_per_gpu=2)), 'train_dataloader'),
        (dict(optimizer=dict(type='AdamW')), 'optim_wrapper.optimizer'),
        (dict(runner=dict(type='EpochBasedRunner', max_epochs=12)), 'train_cfg'),
    ],
)
def test_a_config_of_mmdetection_2_is_refused_with_what_replaced_its_settings(setting, replacement):
    with pytest.raises(ConfigError, match=f'MMDetection 2.x.*{next(iter(setting))} became {replacement}'):
        prepare(Config(setting))


def test_an_old_setting_on_the_command_line_is_refused_too():
    with pytest.raises(ConfigError, match='data became train_dataloader'):
        prepare(read(NAMES[0], **{'data.samples_per_gpu': 4}))


def test_tiny_1x_is_the_config_that_other_tests_narrow():
    assert TINY_1X.stem == NAMES[0]


@pytest.mark.parametrize(
    ('evaluator', 'best'),
    [
        (dict(metric=['bbox', 'segm']), 'coco/segm_mAP'),
        (dict(metric='bbox'), 'coco/bbox_mAP'),
        (dict(), 'coco/bbox_mAP'),
        (dict(metric=['segm'], prefix='mine'), 'mine/segm_mAP'),
        (dict(metric=['segm'], metric_items=['mAP_50']), None),
        (dict(metric=['segm'], metric_items='mAP_50'), None),
        (dict(metric='proposal'), None),
        (None, None),
    ],
)
@pytest.mark.parametrize('many', [False, True], ids=['one', 'several'])
def test_the_best_checkpoint_is_kept_by_what_is_measured(evaluator, best, many):
    cfg = read(NAMES[0])
    ours = evaluator if evaluator is None else dict(type='CocoInstanceMetric', **evaluator)
    cfg.val_evaluator = [dict(type='DumpDetResults', out_file_path='x.pkl'), ours or {}] if many else ours
    notes = [note for note in prepare(cfg) if note.startswith('The best checkpoint')]
    assert cfg.default_hooks.checkpoint.save_best == best and len(notes) == (best != 'coco/segm_mAP')
    assert [note for note in prepare(cfg) if note.startswith('The best')] == []


def test_another_measure_of_the_best_stays():
    cfg = read(NAMES[0], **{'default_hooks.checkpoint.save_best': 'auto', 'val_evaluator.metric': 'bbox'})
    prepare(cfg)
    assert cfg.default_hooks.checkpoint.save_best == 'auto'


def test_an_end_of_warm_up_is_refused_with_what_to_say_instead():
    """MMEngine fills in the training's own end there, of which the warm-up is a share."""
    with pytest.raises(ConfigError, match='WarmUp begins at 0 and ends by itself: say most, in iterations, or share'):
        prepare(read(NAMES[0], **{'param_scheduler.0.end': 20}))
