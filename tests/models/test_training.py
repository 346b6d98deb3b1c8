"""The backbone in a training: what is frozen, and where the weights come from."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from damamba.checkpoint import CheckpointError
from damamba.models.damamba import Block
from tests.models.helpers import mini, statistics

# What is frozen


@pytest.mark.parametrize('mode_is_set', [True, False])
@pytest.mark.parametrize('frozen', [-1, 0, 2, 4])
def test_frozen_stages_take_no_gradient_and_gather_no_statistics(frozen, mode_is_set):
    model = mini(frozen_stages=frozen, drop_path_rate=0.2)
    if mode_is_set:
        model.train()
    before = statistics(model)
    outs = model(torch.randn(2, 3, 64, 64))
    if frozen < 4:
        sum(out.mean() for out in outs).backward()
    prefixes = ('stem.', *(f'stages.{i}.' for i in range(frozen)), *(f'norm{i + 1}.' for i in range(frozen)))
    prefixes = prefixes if frozen >= 0 else ()
    for name, parameter in model.named_parameters():
        if not name.endswith('conv_constant'):
            assert parameter.requires_grad != name.startswith(prefixes), name
            assert (parameter.grad is None) == name.startswith(prefixes), name
    for name, value in statistics(model).items():
        assert torch.equal(value, before[name]) == name.startswith(prefixes), name


def test_what_is_frozen_stays_in_evaluation_mode_through_train_and_eval():
    model = mini(frozen_stages=1)
    for mode in (True, False, True):
        assert model.train(mode) is model
        assert model.training == mode
        for module in (model.stem, model.stages[0], model.norm1):
            assert not any(m.training for m in module.modules())
        assert all(m.training == mode for m in model.stages[1].modules())


def test_norm_eval_keeps_statistics_but_trains_everything():
    model = mini(norm_eval=True, drop_path_rate=0.5)
    model.train()
    before = statistics(model)
    sum(out.mean() for out in model(torch.randn(2, 3, 64, 64))).backward()
    assert all(torch.equal(value, before[name]) for name, value in statistics(model).items())
    assert all(p.grad is not None for n, p in model.named_parameters() if not n.endswith('conv_constant'))
    assert all(m.drop_path.training for m in model.modules() if isinstance(m, Block))


# Pretrained weights


@pytest.fixture
def weights(tmp_path):
    """A file of a mini backbone's weights, and its state dict."""
    state = mini().state_dict()
    torch.save({'model': state}, tmp_path / 'weights.pth')
    return str(tmp_path / 'weights.pth'), state


def holds(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize('how', ['pretrained', 'init_cfg'])
def test_init_weights_fills_the_backbone_from_the_file_once_and_the_constructor_does_not(weights, how):
    path, state = weights
    model = mini(**{how: path if how == 'pretrained' else dict(type='Pretrained', checkpoint=path)})
    assert not holds(model, state)
    model.init_weights()
    assert holds(model, state)
    nn.init.constant_(model.norm4.norm.weight, 7)
    model.init_weights()
    assert (model.norm4.norm.weight == 7).all()


def test_init_weights_without_a_file_keeps_what_was_drawn():
    model = mini()
    before = copy.deepcopy(model.state_dict())
    model.init_weights()
    assert holds(model, before)


def test_init_weights_from_a_missing_file_is_an_error_that_names_it_and_can_be_tried_again(weights, tmp_path):
    path, state = weights
    model = mini(pretrained=str(tmp_path / 'later.pth'))
    with pytest.raises(CheckpointError, match='later.pth'):
        model.init_weights()
    Path(path).rename(tmp_path / 'later.pth')
    model.init_weights()
    assert holds(model, state)
