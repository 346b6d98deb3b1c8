"""Spaces: files, presets of the real configs, ranges and keys that can't be meant."""

import json
from pathlib import Path

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from damamba.engine.config import read_config
from damamba.tuning import TuningError
from damamba.tuning.overrides import MISSING, value_at
from damamba.tuning.space import Parameter, decode, defaults, preset, read_space
from tests.detection import ROOT
from tests.tuning.helpers import LR, write_config

CONFIGS = sorted([*ROOT.glob('configs/*.py'), *ROOT.glob('configs/armbench/*.py'), *ROOT.glob('configs/demo/*.py')])
ENTRIES = {
    'optim_wrapper.optimizer.lr': {'type': 'float', 'low': 1e-5, 'high': 1e-3, 'log': True},
    'train_dataloader.batch_size': {'type': 'int', 'low': 2, 'high': 8, 'step': 2},
    'param_scheduler.1.milestones': {'type': 'categorical', 'choices': [[2], [1, 2]]},
    'optim_wrapper.accumulative_counts': {'type': 'int', 'low': 1, 'high': 4, 'log': True, 'new': True},
}


@pytest.fixture
def cfg(tmp_path):
    return read_config(str(write_config(tmp_path)))


def read(tmp_path, cfg, entries, name='space.json'):
    texts = {
        '.py': f'space = {entries!r}',
        '.json': json.dumps({'space': entries}),
        '.yaml': yaml.dump({'space': entries}),
    }
    (tmp_path / name).write_text(texts[Path(name).suffix])
    return read_space(tmp_path / name, cfg)


@pytest.mark.parametrize('name', ['space.py', 'space.json', 'space.yaml'])
def test_a_space_is_read_from_a_file(tmp_path, cfg, name):
    found = {parameter.key: parameter for parameter in read(tmp_path, cfg, ENTRIES, name)}
    lr, batch, milestones, new = (found[key] for key in ENTRIES)
    assert lr.distribution() == FloatDistribution(1e-5, 1e-3, log=True)
    assert batch.distribution() == IntDistribution(2, 8, step=2)
    assert milestones.distribution() == CategoricalDistribution(['[2]', '[1, 2]'])
    assert new.distribution() == IntDistribution(1, 4, log=True)
    assert decode([lr, milestones], {lr.key: 0.1, milestones.key: '[1, 2]'}) == {lr.key: 0.1, milestones.key: [1, 2]}


def test_the_default_is_found_wherever_it_lies_inside(tmp_path, cfg):
    space = read(tmp_path, cfg, {key: entry for key, entry in ENTRIES.items() if 'new' not in entry})
    assert defaults(space, cfg) == ({LR.key: 1e-4, space[1].key: 2, space[2].key: '[2]'}, '')
    assert defaults(read(tmp_path, cfg, ENTRIES), cfg) == (None, 'optim_wrapper.accumulative_counts is not set there')


@pytest.mark.parametrize(
    ('parameter', 'value', 'place'),
    [
        (Parameter('k', 'float', low=0.1, high=1.0), 1.0, 1.0),
        (Parameter('k', 'float', low=0.1, high=1.0), 1, 1),
        (Parameter('k', 'float', low=0.1, high=1.0), 1.01, MISSING),
        (Parameter('k', 'float', low=0.0, high=1.0, step=0.1), 0.3, 0.3),
        (Parameter('k', 'float', low=0.0, high=1.0, step=0.1), 0.35, MISSING),
        (Parameter('k', 'int', low=1, high=9, step=2), 3, 3),
        (Parameter('k', 'int', low=1, high=9, step=2), 4, MISSING),
        (Parameter('k', 'int', low=0, high=9), True, MISSING),
        (Parameter('k', 'int', low=0, high=9), 1.0, MISSING),
        (Parameter('k', 'float', low=0, high=9), None, MISSING),
        (Parameter('k', 'categorical', choices=((1, 2), None)), [1, 2], '[1, 2]'),
        (Parameter('k', 'categorical', choices=({'type': 'SGD'}, None)), None, None),
        (Parameter('k', 'categorical', choices=(1, 2)), True, MISSING),
    ],
)
def test_where_a_value_of_the_config_lies(parameter, value, place):
    assert parameter.place(value) is place if place is MISSING else parameter.place(value) == place


@pytest.mark.parametrize(
    ('key', 'entry', 'message'),
    [
        (LR.key, {'type': 'float', 'low': 1, 'high': 0.1}, ': `low <= high` must hold, but got (low=1, high=0.1).'),
        (LR.key, {'type': 'float', 'low': 0, 'high': 0.1, 'log': True}, '`low > 0` must hold for `log=True`'),
        (LR.key, {'type': 'float', 'low': 0.1, 'high': 1, 'log': True, 'step': 0.1}, 'step'),
        (LR.key, {'type': 'float', 'low': 0.1}, 'high must be a number, got None'),
        (LR.key, {'type': 'float', 'low': '1e-4', 'high': 1}, "low must be a number, got '1e-4'"),
        ('max_epochs', {'type': 'int', 'low': 0.5, 'high': 3}, 'low must be a whole number, got 0.5'),
        ('max_epochs', {'type': 'int', 'low': True, 'high': 3}, 'low must be a whole number, got True'),
        (LR.key, {'type': 'uniform', 'low': 0, 'high': 1}, 'must be a dict with type float, int or categorical'),
        (LR.key, [1, 2], 'must be a dict with type float, int or categorical, got [1, 2]'),
        (LR.key, {'type': 'float', 'low': 0, 'high': 1, 'choices': []}, "type='float' does not know choices; it takes"),
        (LR.key, {'type': 'categorical', 'choices': []}, 'choices must be a list of values, got []'),
        (LR.key, {'type': 'categorical', 'choices': [1, 1.0]}, 'choices has 1.0 twice'),
        (LR.key, {'type': 'float', 'low': 1e-5, 'high': float('inf')}, 'high must be finite, got inf'),
        (LR.key, {'type': 'float', 'low': float('nan'), 'high': 1}, 'low must be finite, got nan'),
        (LR.key, {'type': 'float', 'low': 0, 'high': 1, 'step': float('nan')}, 'step must be finite, got nan'),
        (LR.key, {'type': 'float', 'low': 0.1, 'high': 1, 'log': 'yes'}, "log must be True or False, got 'yes'"),
        ('max_epochs', {'type': 'int', 'low': 1, 'high': 3, 'step': 0}, ': `step > 0` must hold, but got step=0.'),
        ('optim_wrapper.optimiser.lr', {'type': 'float', 'low': 0, 'high': 1}, f'; is {LR.key} meant?'),
        ('param_scheduler.2.end', {'type': 'int', 'low': 1, 'high': 2}, 'is not in the config; is param_scheduler.'),
        ('zzz', {'type': 'int', 'low': 1, 'high': 2}, 'zzz is not in the config (a key that is to be'),
    ],
)
def test_what_can_not_be_meant_is_one_sentence(tmp_path, cfg, key, entry, message):
    with pytest.raises(TuningError) as error:
        read(tmp_path, cfg, {key: entry})
    assert str(error.value).startswith(f'{tmp_path}/space.json: {key}') and message in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('outer', 'inner'),
    [('optim_wrapper.optimizer', LR.key), ('param_scheduler', 'param_scheduler.0.end'), ('optim_wrapper', LR.key)],
)
def test_a_key_within_another_is_refused(tmp_path, cfg, outer, inner):
    entry = {'type': 'categorical', 'choices': [1, 2]}
    for entries in ({outer: entry, inner: entry}, {inner: entry, outer: entry}):
        with pytest.raises(TuningError, match=f'space.json: {outer} holds {inner}, and each would undo the other'):
            read(tmp_path, cfg, entries)
    assert len(read(tmp_path, cfg, {'max_epochs': entry, 'train_cfg.max_epochs': entry})) == 2


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('space.py', 'space = {', 'space.py, line 1: '),
        ('space.json', '{', 'space.json can not be read: '),
        ('space.yaml', 'space: [', 'space.yaml can not be read: '),
        ('space.py', 'lr = 1', 'space.py has no space: wanted space = '),
        ('space.py', 'space = {}', 'space.py has no space: wanted space = '),
    ],
)
def test_a_file_of_something_else_is_one_sentence(tmp_path, cfg, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match='.*') as error:
        read_space(tmp_path / name, cfg)
    assert message in str(error.value) and '\n' not in str(error.value)
    with pytest.raises(TuningError, match='nowhere.py does not exist; wanted a file with space = '):
        read_space(tmp_path / 'nowhere.py', cfg)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_presets_lie_around_what_every_config_says(path):
    cfg = read_config(str(path))
    (lr,) = preset('lr', cfg)
    own = value_at(cfg, lr.key)
    assert (lr.key, lr.log) == (LR.key, True) and (lr.low, lr.high) == pytest.approx((own / 10, own * 10))
    space = preset('optimizer', cfg)
    values, reason = defaults(space, cfg)
    assert not reason and len(values) == len(space) >= 3
    keys = [parameter.key for parameter in space]
    assert keys[:2] == [LR.key, 'optim_wrapper.optimizer.weight_decay']
    assert ('param_scheduler.0.share' in keys) == (value_at(cfg, 'param_scheduler.0.type') == 'WarmUp')
    assert ('optim_wrapper.optimizer.momentum' in keys) == (cfg.optim_wrapper.optimizer.type == 'SGD')
    assert ('optim_wrapper.clip_grad.max_norm' in keys) == ('clip_grad' in cfg.optim_wrapper)


def test_a_preset_needs_a_learning_rate(cfg):
    del cfg.optim_wrapper['optimizer']
    with pytest.raises(TuningError, match='--preset lr needs optim_wrapper.optimizer.lr in the config: write'):
        preset('lr', cfg)
