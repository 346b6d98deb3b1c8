"""What is filled."""

import json
import logging

import pytest
import safetensors.torch
import torch
from torch import nn

from damamba.checkpoint import (
    CheckpointError,
    backbone_state,
    describe,
    load_backbone,
    match,
    read,
    state_dict_of,
)
from damamba.models import DAMamba
from tests.checkpoint.helpers import equal, prefixed, save


def containers(state):
    return {
        'bare': state,
        'model': {'model': state, 'epoch': 3},
        'model_ema': {'model_ema': state, 'epoch': 3},
        'state_dict': {'state_dict': state, 'meta': {'epoch': 3}},
    }


@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.', 'module.backbone.'])
@pytest.mark.parametrize('container', ['bare', 'model', 'model_ema', 'state_dict'])
def test_a_backbone_is_filled_from_every_container_and_prefix(container, prefix, state, empty, tmp_path):
    path = save(containers(prefixed(prefix, state))[container], tmp_path / 'weights.pth')
    result = load_backbone(empty, path)
    assert equal(empty.state_dict(), state)
    assert result.complete
    assert len(result.filled) == len(state)


def test_the_trained_weights_go_before_their_average(state, empty, tmp_path):
    average = {name: torch.zeros_like(value) for name, value in state.items()}
    load_backbone(empty, save({'model_ema': average, 'model': state}, tmp_path / 'both.pth'))
    assert equal(empty.state_dict(), state)


@pytest.mark.parametrize('value', [float('nan'), float('-inf')])
def test_weights_that_are_not_finite_are_refused_by_their_names(value, state, empty, tmp_path):
    before = {name: tensor.clone() for name, tensor in empty.state_dict().items()}
    name = next(name for name, parameter in empty.named_parameters() if parameter.numel() > 3)
    broken = state[name].clone()
    broken.view(-1)[3] = value
    path = save({'model': {**state, name: broken}}, tmp_path / 'weights.pth')
    with pytest.raises(CheckpointError, match=f'{path} holds weights that are not finite: {name}; its training'):
        load_backbone(empty, path)
    assert equal(empty.state_dict(), before)


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_both_formats_of_torch_are_read(legacy, state, empty, tmp_path):
    load_backbone(empty, save({'model': state}, tmp_path / 'weights.pth', legacy))
    assert equal(empty.state_dict(), state)


def test_safetensors_are_read_with_their_meta(state, empty, tmp_path):
    path = tmp_path / 'weights.safetensors'
    safetensors.torch.save_file(state, path, metadata={'meta': json.dumps({'classes': ['cat']})})
    load_backbone(empty, path)
    assert equal(empty.state_dict(), state)
    assert read(path)['meta'] == {'classes': ['cat']}


@pytest.mark.parametrize('given', ['cuda', torch.device('cuda')])
def test_safetensors_on_cuda_are_read_to_the_current_device(given, state, tmp_path, monkeypatch):
    path, asked = tmp_path / 'weights.safetensors', []
    safetensors.torch.save_file(state, path)

    def open_on_cpu(path, framework, device, safe_open=safetensors.safe_open):
        asked.append(device)
        return safe_open(path, framework=framework, device='cpu')

    monkeypatch.setattr(safetensors, 'safe_open', open_on_cpu)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 3)
    read(path, given)
    assert asked == ['cuda:3']


def test_the_imagenet_head_is_left_out(state, empty, tmp_path):
    classifier = {**state, 'head.fc.weight': torch.zeros(1000, 64), 'head.fc.bias': torch.zeros(1000)}
    result = load_backbone(empty, save({'model': classifier}, tmp_path / 'imagenet.pth'))
    assert equal(empty.state_dict(), state)
    assert result.unexpected == []


def test_the_rest_of_a_detector_is_left_out(state, empty, tmp_path):
    rest = {'neck.fpn.weight': torch.ones(3), 'roi_head.fc.weight': torch.ones(3)}
    load_backbone(empty, save({'state_dict': {**prefixed('backbone.', state), **rest}}, tmp_path / 'detector.pth'))
    assert equal(empty.state_dict(), state)


def test_the_published_classifiers_names_fill_the_published_backbone(shared, tmp_path):
    lines = (shared / 'reference/damamba_tiny_imagenet_keys.tsv').read_text().splitlines()
    names = dict(line.split('\t') for line in lines)
    sizes = {name: [] if size == 'scalar' else [int(n) for n in size.split('x')] for name, size in names.items()}
    path = save({'model': {name: torch.ones(()).expand(size) for name, size in sizes.items()}}, tmp_path / 'tiny.pth')
    assert len(load_backbone(DAMamba('tiny'), path).filled) == 873


def test_a_log_record_says_how_many_tensors_were_filled_from_where_and_what_was_left(state, empty, tmp_path, caplog):
    path = save({'model': {**state, 'head.fc.weight': torch.zeros(9, 64)}}, tmp_path / 'imagenet.pth')
    with caplog.at_level(logging.INFO, logger='damamba.checkpoint'):
        load_backbone(empty, path)
    (record,) = caplog.records
    text = record.getMessage()
    assert (record.name, record.levelno) == ('damamba.checkpoint', logging.INFO)
    assert f'Filled {len(state)} of {len(state)} tensors of the backbone from {path}' in text
    assert "under 'model'" in text
    assert 'left out head.fc.weight' in text


def test_the_parts_of_a_state_dict_are_told_apart(state):
    content = {'meta': {}, 'state_dict': prefixed('module.', {**prefixed('backbone.', state), 'neck.w': torch.ones(1)})}
    found, container = state_dict_of(content)
    kept, left = backbone_state(found)
    assert container == 'state_dict'
    assert equal(kept, state)
    assert left == ['neck.w']
    assert describe(found) == 'a DAMamba of depths 1, 1, 1, 2 and dims 16, 32, 48, 64'


def test_a_match_lists_what_fits_and_what_does_not():
    module = nn.Linear(2, 3)
    result = match(module, {'weight': torch.zeros(2, 3), 'other': torch.zeros(())})
    assert result.filled == []
    assert result.missing == ['bias']
    assert result.mismatched == ['weight (file 2x3, model 3x2)']
    assert result.unexpected == ['other']
    assert not result.complete
    assert str(result) == (
        '0 of 2 tensors match; 1 missing: bias; 1 mismatched: weight (file 2x3, model 3x2); 1 unexpected: other'
    )
