"""A checkpoint that carries code is refused on every way in, and its code has not run."""

import os

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

import damamba.register  # noqa: F401
from damamba import checkpoint
from damamba.checkpoint import CheckpointError
from damamba.cli import publish_model
from damamba.cli import test as test_command
from damamba.cli import train as train_command


class Payload:
    """Unpickling this runs a command."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}',)


@pytest.fixture(params=['zip', 'legacy'])
def hostile(request, tmp_path):
    """A checkpoint whose code would leave the file `ran` beside it."""
    path = tmp_path / 'hostile.pth'
    content = {'meta': Payload(tmp_path / 'ran'), 'state_dict': {'weight': torch.zeros(1)}, 'message_hub': {}}
    torch.save(content, path, _use_new_zipfile_serialization=request.param == 'zip')
    return path


@pytest.fixture(autouse=True)
def trust_ends():
    yield
    checkpoint.trust_checkpoints(False)


def refused(hostile, act) -> None:
    with pytest.raises(CheckpointError, match=f'{hostile} was refused: .*system.*--trust-checkpoint'):
        act()
    assert not (hostile.parent / 'ran').exists()


def test_as_pretrained(hostile, small_config, tmp_path):
    command = [str(small_config), '--work-dir', str(tmp_path), '--cfg-options', f'model.backbone.pretrained={hostile}']
    refused(hostile, lambda: train_command.train(command))


def test_as_load_from(hostile, small_config, tmp_path):
    command = [str(small_config), '--work-dir', str(tmp_path), '--cfg-options', f'load_from={hostile}']
    refused(hostile, lambda: train_command.train(command))


def test_as_resume(hostile, small_config, tmp_path):
    command = [str(small_config), '--work-dir', str(tmp_path), '--resume', str(hostile)]
    refused(hostile, lambda: train_command.train(command))


def test_as_the_newest_checkpoint_of_the_work_folder(hostile, small_config, tmp_path):
    (tmp_path / 'last_checkpoint').write_text(str(hostile))
    refused(hostile, lambda: train_command.train([str(small_config), '--work-dir', str(tmp_path), '--resume']))


def test_as_the_checkpoint_to_test(hostile, small_config, tmp_path):
    refused(hostile, lambda: test_command.test([str(small_config), str(hostile), '--work-dir', str(tmp_path)]))


def test_as_the_checkpoint_to_publish(hostile, tmp_path):
    with pytest.raises(SystemExit, match=r'was refused: .*--trust-checkpoint'):
        publish_model.main([str(hostile), str(tmp_path / 'out.pth')])
    assert not (tmp_path / 'ran').exists() and not list(tmp_path.glob('out*'))


def test_as_init_cfg_of_another_backbone(hostile):
    class Other(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Pretrained', checkpoint=str(hostile)))
            self.weight = torch.nn.Parameter(torch.zeros(1))

    refused(hostile, Other().init_weights)


def test_through_mmengine_itself(hostile):
    refused(hostile, lambda: load_checkpoint(torch.nn.Linear(1, 1), str(hostile)))


def test_trust_checkpoint_is_the_one_way_round(hostile, small_config, tmp_path):
    command = [str(small_config), str(hostile), '--work-dir', str(tmp_path), '--trust-checkpoint']
    with pytest.raises(CheckpointError, match='holds 1 tensors of another model'):
        test_command.test(command)
    assert (tmp_path / 'ran').exists()


def test_a_config_inside_a_checkpoint_does_not_run_on_resume(small_config, tmp_path):
    run = tmp_path / 'run'
    train_command.train([str(small_config), '--work-dir', str(run), '--no-validate'])
    content = torch.load(run / 'epoch_1.pth', weights_only=False)
    content['meta']['config'] = f"import os\nos.system('touch {tmp_path}/ran')\n"  # MMCV 1.x kept its config so
    torch.save(content, tmp_path / 'old.pth')
    options = ['--no-validate', '--cfg-options', 'train_cfg.max_epochs=2']
    train_command.train([str(small_config), '--work-dir', str(run), '--resume', str(tmp_path / 'old.pth'), *options])
    assert (run / 'epoch_2.pth').is_file() and not (tmp_path / 'ran').exists()


def test_no_loader_of_mmengine_is_left():
    modules = {loader.__module__ for loader in CheckpointLoader._schemes.values()}
    assert modules == {'damamba.engine.loading'}


def test_names_of_model_zoos_are_resolved_and_read_here(monkeypatch):
    seen = []
    monkeypatch.setattr('damamba.engine.loading.read', lambda source, map_location: seen.append(source) or {})
    CheckpointLoader.load_checkpoint('torchvision://resnet50')
    assert seen[0].startswith('https://download.pytorch.org/models/resnet50-')
    with pytest.raises(CheckpointError, match='names no model of torchvision'):
        CheckpointLoader.load_checkpoint('torchvision://nothing')
    with pytest.raises(CheckpointError, match='download the file and give its path'):
        CheckpointLoader.load_checkpoint('s3://bucket/file.pth')


def test_a_detector_for_other_classes_is_named_by_them():
    from torch import nn

    from damamba.engine.loading import fill

    def detector(classes: int) -> nn.Module:
        model = nn.Module()
        model.roi_head = nn.Module()
        model.roi_head.bbox_head = nn.Module()
        model.roi_head.bbox_head.fc_cls = nn.Linear(4, classes + 1)
        model.neck = nn.Linear(2, 2)
        return model

    with pytest.raises(
        CheckpointError, match=r'x.pth holds .* with heads for 3 classes; wanted .* for 80 classes'
    ) as e:
        fill(detector(80), detector(3).state_dict(), 'x.pth', needs_all=True)
    assert len(str(e.value)) < 600


@pytest.mark.parametrize(
    ('name', 'value', 'text'),
    [
        ('0.bias', float('inf'), r'weights that are not finite: 0.bias; '),
        ('0.running_mean', float('nan'), r'weights that are not finite: 0.running_mean; '),
        ('0.running_var', -1e-9, r'variances below 0: 0.running_var; '),
        ('0.running_var', 0.0, r'variances of 0, and the epsilon .* is 0 too: 0.running_var; half precision .* 3e-8'),
        ('0.running_var', torch.tensor(2e-8).half().item(), r'variances of 0'),
    ],
)
def test_a_detector_whose_weights_make_no_numbers_finds_nothing_and_is_refused(name, value, text):
    from torch import nn

    from damamba.engine.loading import fill

    model = nn.Sequential(nn.BatchNorm2d(2, eps=0.0))
    with pytest.raises(CheckpointError, match=f'x.pth holds {text}'):
        fill(model, {**model.state_dict(), name: torch.tensor([1.0, value])}, 'x.pth', needs_all=True)
    model[0].eps = 1e-5
    fill(model, {**model.state_dict(), '0.running_var': torch.tensor([1.0, 0.0])}, 'x.pth', needs_all=True)
