"""What a user can get wrong is one sentence that says what to do, and no traceback."""

import json

import pytest
import torch

from damamba.checkpoint import CheckpointError
from damamba.cli import test as test_command
from damamba.cli import train as train_command
from damamba.engine.config_checks import ConfigError
from tests.cli.helpers import test, train
from tests.detection import ROOT


@pytest.mark.parametrize(
    ('flags', 'replacement'),
    [
        (['--gpus', '4'], 'no more: bash dist_train.sh CONFIG 4'),
        (['--gpu-ids', '2', '3'], 'no more: CUDA_VISIBLE_DEVICES=2,3 bash dist_train.sh CONFIG 2'),
        (['--gpu-id', '3'], 'no more: CUDA_VISIBLE_DEVICES=3 damamba train CONFIG'),
        (['--gpus', '1'], 'no more: damamba train CONFIG'),
    ],
)
def test_flags_that_chose_gpus_say_what_replaced_them(small_config, flags, replacement, capsys):
    with pytest.raises(SystemExit):
        train_command.parse([str(small_config), *flags])
    assert replacement in capsys.readouterr().err


def test_an_option_without_a_value_is_an_error(small_config, capsys):
    with pytest.raises(SystemExit):
        train_command.parse([str(small_config), '--cfg-options', 'data_root'])
    assert '--cfg-options takes KEY=VALUE, got data_root' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("_base_ = ['../_base_/models/mask_rcnn_r50_fpn.py']\noptimizer = dict(type='AdamW')\n", 'optimizer became'),
        ("_base_ = './nowhere.py'\n", 'leaf.py can not be read: .*nowhere.py'),
        ('model = dict(\n', 'leaf.py, line 1'),
    ],
)
def test_a_config_that_can_not_be_read_is_one_sentence(tmp_path, text, message):
    (tmp_path / 'leaf.py').write_text(text)
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / 'leaf.py')


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.backbone.foo=1', 'model.backbone.foo is not in the config, and nothing reads it'),
        ('+model.backbone.foo=1', "unexpected keyword argument 'foo'"),
        ('model.backbone.arch=huge', 'arch must be one of tiny, small, base'),
        ('data_root=/gone', 'not found: data_root is'),
        ('launcher=foo', 'launcher of --cfg-options changes nothing: --launcher says it'),
        ('work_dir=elsewhere', 'work_dir of --cfg-options changes nothing: --work-dir says it'),
        ('randomness.seed=-1', 'Seed must be between 0 and 2**32 - 1'),
        (
            'model.data_preprocessor.mean=[1,2]',
            'DetDataPreprocessor can not be built as the config says: `mean`',
        ),
        ('test_evaluator.metric=bbbox', 'test_evaluator can not be built: metric should be one of'),
    ],
)
def test_a_mistake_of_the_user_shows_no_traceback(small_config, tmp_path, option, message, monkeypatch, capsys):
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / 'error.json'))
    command = [str(small_config), '--work-dir', str(tmp_path), '--cfg-options', option]
    with pytest.raises(SystemExit):
        train_command.main(command)
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith('error: ') and message in shown
    assert json.loads((tmp_path / 'error.json').read_text())['message'] == shown


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        (['--eval', 'bbox', '--format-only'], 'leave out --eval'),
        (['--out', 'x.json'], 'must end in .pkl'),
        (['--eval', 'miou'], 'invalid choice'),
    ],
)
def test_contradictory_flags_are_refused(small_config, flags, text, capsys):
    with pytest.raises(SystemExit):
        test_command.parse([str(small_config), 'x.pth', *flags])
    assert text in capsys.readouterr().err


def test_a_missing_config_is_one_sentence():
    with pytest.raises(ConfigError, match='nowhere.py does not exist; wanted a config file'):
        train('nowhere.py')


def test_missing_annotations_are_one_sentence_that_names_data_root(small_config):
    with pytest.raises(
        ConfigError, match='/gone/annotations/instances_train2017.json, .*/gone/train2017/, .* not found: data_root'
    ):
        train(small_config, '--cfg-options', 'data_root=/gone')


def test_a_checkpoint_of_another_size_is_one_error_when_tested(trained, coco, tmp_path):
    command = [ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py', trained / 'epoch_1.pth']
    with pytest.raises(CheckpointError) as error:
        test(*command, '--work-dir', tmp_path, '--cfg-options', f'data_root={coco}')
    text = str(error.value)
    assert 'epoch_1.pth holds a DAMamba of depths 1, 1, 1, 1 and dims 16, 32, 32, 48' in text
    assert 'wanted a MaskRCNN with a DAMamba of depths 3, 4, 12, 5 and dims 80, 160, 320, 512' in text
    assert len(text) < 1500


def test_backbone_weights_given_as_a_detector_say_where_they_go(trained, small_config, tmp_path):
    state = torch.load(trained / 'epoch_1.pth', weights_only=False)['state_dict']
    alone = {name.removeprefix('backbone.'): value for name, value in state.items() if name.startswith('backbone.')}
    torch.save(alone, tmp_path / 'alone.pth')
    with pytest.raises(CheckpointError, match='go into model.backbone.pretrained'):
        test(small_config, tmp_path / 'alone.pth', '--work-dir', tmp_path)


@pytest.mark.parametrize('key', ['load_from', 'resume', '+resume'])
def test_what_the_arguments_of_a_test_say_is_refused_elsewhere(small_config, tmp_path, key):
    with pytest.raises(ConfigError, match=f'{key.removeprefix("+")} of --cfg-options .* CHECKPOINT says it'):
        test(small_config, 'x.pth', '--work-dir', tmp_path, '--cfg-options', f'{key}=1')
