"""Values in the files of trials: what is read from them is what was meant, lists and settings included."""

import pytest

from damamba.engine.config import read_config
from damamba.engine.config_checks import READ_BY_RUNNER, same
from damamba.tuning import TuningError
from damamba.tuning.overrides import configured, value_at, write_overrides
from tests.detection import ROOT
from tests.tuning.helpers import LR, write_config

NANO = ROOT / 'configs/armbench/mask_rcnn_DAMamba_nano_fpn_armbench_demo.py'
SGD = dict(type='SGD', lr=0.02, momentum=0.9)
VALUES = {
    LR.key: 0.123456789012345,
    'param_scheduler.0.end': 7,
    'train_dataloader.dataset.pipeline.3.prob': 0.25,
    'model.backbone.arch.drop_path_rate': 0.2,
    'train_dataloader.batch_size': 3,
}
OPTIONS = {'data_root': '/data/other/', 'max_epochs': 2, 'scale': (256, 256), 'randomness.seed': 5}


def settings(cfg) -> dict:
    """All that is trained with: without variables, which are used by then."""
    return {key: value for key, value in cfg.to_dict().items() if key in READ_BY_RUNNER}


@pytest.mark.parametrize('options', [{}, OPTIONS], ids=['none', 'options'])
@pytest.mark.parametrize('values', [{}, VALUES, {'optim_wrapper.optimizer': SGD}], ids=['none', 'values', 'dict'])
def test_a_written_file_trains_as_the_command_line_would(tmp_path, options, values):
    path = write_overrides(tmp_path / 'deep/trial.py', NANO, options, values)
    cfg = read_config(str(path))
    assert settings(cfg) == settings(configured(NANO, options, values))
    for key, value in values.items():
        assert value_at(cfg, key) == value
    if options:
        assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == cfg.param_scheduler[1].T_max == 2
        assert cfg.train_dataloader.dataset.data_root == '/data/other/'
        resize = cfg.train_dataloader.dataset.pipeline[2]
        assert resize.type == 'Resize' and tuple(resize.scale) == (256, 256)


def test_a_dictionary_replaces_the_other_as_a_whole(tmp_path):
    cfg = read_config(str(write_overrides(tmp_path / 'sgd.py', NANO, {}, {'optim_wrapper.optimizer': SGD})))
    assert cfg.optim_wrapper.optimizer == SGD and cfg.optim_wrapper.clip_grad.max_norm == 10


def test_a_file_holds_what_differs_alone_and_names_its_base_relatively(laid_out, tmp_path):
    config = write_config(tmp_path / 'configs')
    text = write_overrides(tmp_path / 'study/best.py', config, {}, {LR.key: 0.5}, ['why', 'and how']).read_text()
    assert text == "# why\n# and how\n_base_ = '../configs/base.py'\noptim_wrapper = dict(optimizer=dict(lr=0.5))\n"


def test_a_new_key_is_added_with_what_leads_to_it(tmp_path):
    cfg = read_config(str(write_overrides(tmp_path / 'new.py', write_config(tmp_path), {}, {'a.b.c': [1, 2]})))
    assert cfg.a.b.c == [1, 2]
    with pytest.raises(TuningError, match='max_epochs.x can not be set: max_epochs holds 3'):
        configured(tmp_path / 'base.py', {}, {'max_epochs.x': 1})


@pytest.mark.parametrize(
    ('value', 'other', 'wanted'),
    [((1, 2), [1, 2], True), ({'a': (1,)}, {'a': [1]}, True), (1, True, False), (0.1, 0.1, True), ([1], [1, 2], False)],
)
def test_settings_that_are_the_same(value, other, wanted):
    assert same(value, other) is wanted
