import pytest
from mmengine.config import Config

import damamba.register  # noqa: F401
from damamba.engine.config import ConfigError, prepare
from tests.detection import ROOT, TINY_1X

NAMES = [
    f'mask_rcnn_DAMamba_{size}_fpn_{schedule}' for size in ('tiny', 'small', 'base') for schedule in ('1x_coco', '3x')
]


def read(name: str, **options) -> Config:
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    cfg.merge_from_dict(options)
    return cfg


def paths(cfg: Config) -> list[str]:
    loaders = [cfg[f'{split}_dataloader'].dataset.data_root for split in ('train', 'val', 'test')]
    return loaders + [cfg[f'{split}_evaluator'].ann_file for split in ('val', 'test')]


def reached(root: str) -> list[str]:
    return [root] * 3 + [f'{root.rstrip("/")}/annotations/instances_val2017.json'] * 2


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('root', ['/data/coco', '/data/coco/', 'elsewhere'])
def test_data_root_on_the_command_line_reaches_every_dataloader_and_evaluator(name, root):
    cfg = read(name, data_root=root)
    prepare(cfg)
    assert paths(cfg) == reached(root)


@pytest.mark.parametrize('name', NAMES)
def test_data_root_edited_in_the_leaf_config_reaches_every_dataloader_and_evaluator(name, tmp_path):
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


def test_wrapped_and_listed_datasets_are_reached():
    cfg = read(NAMES[0], data_root='/data/coco')
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner, inner])
    cfg.test_evaluator = [cfg.test_evaluator]
    prepare(cfg)
    assert [d.data_root for d in cfg.train_dataloader.dataset.datasets] == ['/data/coco'] * 2
    assert cfg.test_evaluator[0].ann_file == '/data/coco/annotations/instances_val2017.json'


def test_a_prepared_config_can_be_moved_again():
    cfg = read(NAMES[0], data_root='/first')
    prepare(cfg)
    cfg.data_root = '/second'
    prepare(cfg)
    assert paths(cfg) == reached('/second')


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
