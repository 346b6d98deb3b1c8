"""Writing weights alone."""

import hashlib
import os

import numpy as np
import pytest
import safetensors.torch
import torch

from damamba.checkpoint import (
    load_backbone,
    publish,
    read,
)
from tests.checkpoint.helpers import equal, error_of, prefixed, save


@pytest.fixture
def training(state, tmp_path):
    """A training checkpoint with an optimizer, and its path."""
    meta = {
        'epoch': 12,
        'config': 'x = 1',
        'dataset_meta': {'classes': ('cat', 'dog'), 'palette': np.array([[1, 2, 3]])},
    }
    content = {
        'meta': meta,
        'state_dict': prefixed('module.', state),
        'optimizer': {'state': {0: torch.ones(1000, 1000)}},
    }
    return save(content, tmp_path / 'epoch_12.pth')


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_publishing_keeps_the_weights_alone_under_their_hash(ending, training, state, tmp_path):
    path = publish(training, tmp_path / 'out' / f'damamba.tiny{ending}')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path == tmp_path / 'out' / f'damamba.tiny-{digest[:8]}{ending}'
    assert list(path.parent.iterdir()) == [path]
    content = read(path)
    assert sorted(content) == ['meta', 'state_dict']
    assert content['meta'] == {'dataset_meta': {'classes': ['cat', 'dog'], 'palette': [[1, 2, 3]]}}
    assert equal({name: content['state_dict'][name] for name in state}, state)
    assert len(content['state_dict']) == len(state)
    assert path.stat().st_size < training.stat().st_size - 3_000_000


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_published_weights_fill_a_backbone(ending, training, state, empty, tmp_path):
    load_backbone(empty, publish(training, tmp_path / f'damamba{ending}'))
    assert equal(empty.state_dict(), state)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_weights_that_share_memory_or_lie_strided_are_published(ending, tmp_path):
    tied = torch.randn(3)
    state = {'a': tied, 'b': tied, 'strided': torch.randn(4, 3).t(), 'expanded': torch.randn(1).expand(5)}
    path = publish(save({'state_dict': state}, tmp_path / 'tied.pth'), tmp_path / f'out{ending}')
    content = read(path)['state_dict']
    assert all(torch.equal(content[name], value) for name, value in state.items())


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_a_process_of_another_number_publishes_the_same_weights_under_the_same_name(
    ending, training, tmp_path, monkeypatch
):
    names = []
    for number in (111, 222):
        monkeypatch.setattr(os, 'getpid', lambda number=number: number)
        names.append(publish(training, tmp_path / f'out{ending}').name)
    assert names[0] == names[1]


def test_a_write_that_fails_leaves_nothing_behind(training, tmp_path, monkeypatch):
    def fail(content, file, write=torch.save):
        write({'half': torch.ones(3)}, file)
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', fail)
    target = tmp_path / 'out' / 'damamba.pth'
    text = error_of(publish, training, target)
    assert f'{target} could not be written' in text
    assert 'No space left' in text
    assert list((tmp_path / 'out').iterdir()) == []


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_a_file_in_the_way_of_the_folder_is_an_error_that_names_the_target(ending, training, tmp_path):
    (tmp_path / 'out').write_text('in the way')
    target = tmp_path / 'out' / f'damamba{ending}'
    assert f'{target} could not be written' in error_of(publish, training, target)
    assert (tmp_path / 'out').read_text() == 'in the way'


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_that_may_not_be_written_is_an_error_that_names_the_target(ending, training, tmp_path):
    folder = tmp_path / 'out'
    folder.mkdir(mode=0o500)
    assert f'{folder / "damamba"}{ending} could not be written' in error_of(
        publish, training, folder / f'damamba{ending}'
    )


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_a_meta_that_is_no_dict_is_left_out(ending, state, tmp_path):
    path = tmp_path / f'listed{ending}'
    if ending == '.pth':
        save({'meta': ['cat'], 'state_dict': state}, path)
    else:
        safetensors.torch.save_file(state, path, metadata={'meta': '["cat"]'})
        assert read(path)['meta'] == {}
    assert read(publish(path, tmp_path / 'out.pth'))['meta'] == {'dataset_meta': {}}


def test_publishing_under_another_ending_is_an_error_that_says_which_there_are(training, tmp_path):
    assert f'{tmp_path / "out.onnx"} must end in .pth or .safetensors' in error_of(
        publish, training, tmp_path / 'out.onnx'
    )


def test_publishing_a_file_without_tensors_is_an_error_that_says_so(tmp_path):
    path = save({'meta': {'epoch': 1}}, tmp_path / 'nothing.pth')
    assert f'{path} holds no tensors' in error_of(publish, path, tmp_path / 'out.pth')
