"""What a study's trials have in common: settings and files count, places and loaders do not."""

import json

import pytest
from mmengine.config import Config

from damamba.tuning.overrides import configured
from damamba.tuning.study import conditions, differences
from tests.detection import ROOT
from tests.tuning.helpers import LR
from tests.tuning.test_space import CONFIGS

NANO = ROOT / 'configs/armbench/mask_rcnn_DAMamba_nano_fpn_armbench_demo.py'


def make_data(folder, content='{}'):
    """A folder of data as one machine has it."""
    (folder / 'mix-object-tote').mkdir(parents=True)
    for split in ('train', 'val', 'test'):
        (folder / f'mix-object-tote/{split}.json').write_text(content)
    (folder / 'start.pth').write_text(content)
    return folder


def of(folder, **options) -> dict:
    """The conditions of the demo's config, with the data in this folder; as a study gives them back."""
    own = {'data_root': f'{folder}/', 'load_from': f'{folder}/start.pth', **options}
    return json.loads(json.dumps(conditions(configured(NANO, own, {}), 1)))


def test_another_machine_has_the_same_conditions(tmp_path):
    one, other = make_data(tmp_path / 'a'), make_data(tmp_path / 'somewhere/else')
    aside = {
        'train_dataloader.num_workers': 8, 'val_dataloader.persistent_workers': False, 'work_dir': '/x',
        'default_hooks.checkpoint.interval': 5, 'default_hooks.logger.interval': 1, 'log_level': 'ERROR',
        'test_dataloader.batch_size': 4, 'env_cfg.cudnn_benchmark': True,
    }  # fmt: skip
    assert differences(of(one), of(other, **aside)) == ''
    assert str(tmp_path) not in json.dumps(of(one))


@pytest.mark.parametrize('name', ['mix-object-tote/train.json', 'mix-object-tote/val.json', 'start.pth'])
def test_what_is_in_the_files_counts(tmp_path, name):
    one, other = make_data(tmp_path / 'a'), make_data(tmp_path / 'b')
    (other / name).write_text('{"info": {}}')
    key = {'train.json': 'train_dataloader.dataset.ann_file', 'val.json': 'val_dataloader.dataset.ann_file'}
    told = differences(of(one), of(other))
    assert f'{key.get(name.split("/")[-1], "load_from")} ("sha256 ' in told
    (other / 'mix-object-tote/test.json').write_text('none of the training')
    assert differences(of(other), of(other)) == ''


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        ({'max_epochs': 1}, 'train_cfg.max_epochs (16 then, 1 now), param_scheduler.1.T_max (16 then, 1 now), '),
        ({'train_dataloader.dataset.fraction': 0.2}, 'train_dataloader.dataset.fraction (1.0 then, 0.2 now)'),
        ({LR.key: 0.1}, f'{LR.key} (0.0015 then, 0.1 now)'),
        ({'randomness.seed': None}, 'randomness.seed (0 then, null now)'),
        ({'load_from': None}, 'load_from ("sha256 '),
        ({'auto_scale_lr.enable': True}, 'auto_scale_lr.enable (not set then, true now)'),
        (
            {'custom_hooks': []},
            'custom_hooks (not set then, [] now), custom_hooks.0.type ("ProgressHook" then, not set',
        ),
    ],
)
def test_a_setting_that_differs_is_named_with_both_values(tmp_path, options, told):
    folder = make_data(tmp_path / 'a')
    assert differences(of(folder), of(folder, **options)).startswith(told)


def test_a_missing_file_is_known_by_its_name():
    found = {
        path: conditions(Config(dict(load_from=path)), 1)['load_from'] for path in ('/a/b.pth', 'c/b.pth', 'x://y/b')
    }
    assert found == {'/a/b.pth': 'b.pth', 'c/b.pth': 'b.pth', 'x://y/b': 'x://y/b'}


def test_a_folder_is_known_from_its_data_root_on():
    roots = ('data/a/', '/mnt/b/')
    configs = [Config(dict(data_root=root, model=dict(init=f'{root}deep/x'))) for root in roots]
    found = [conditions(cfg, 1)['model.init'] for cfg in configs]
    assert found == ['deep/x', 'deep/x']


def test_what_json_has_no_word_for_is_the_same_in_every_process():
    found = conditions(Config(dict(model=dict(type=Config, names={'b', 'a'}, many=[*range(99)]), a=1)), 2)
    assert found['model.type'] == 'Config' and found['model.names'] == ['a', 'b'] and found['--gpus'] == 2
    assert found['model.many'] == 'sha256 ' + found['model.many'][-12:] and 'a' not in found


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_database_can_hold_the_conditions_of_every_config(path):
    found = conditions(configured(path, {}, {}), 1)
    text = json.dumps(found)
    assert len(text) < 2**16 and differences(json.loads(text), found) == ''
    assert any(key.endswith('optimizer.lr') for key in found) and 'train_cfg.max_epochs' in found
