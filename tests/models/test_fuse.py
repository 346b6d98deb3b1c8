"""A fused backbone gives the features of the plain one, and says what it no longer is."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from damamba.models import DAMamba, fuse
from tests.models.helpers import mini


def trained(**options):
    """A backbone whose batch normalisations and biases have seen something."""
    model = DAMamba(**options) if options else mini()
    for norm in (m for m in model.modules() if isinstance(m, _BatchNorm)):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -1, 1)
    for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d) and m.bias is not None):
        nn.init.uniform_(conv.bias, -1, 1)  # it begins at 0, which folding can't get wrong
    return model.eval()


def compare(values, truths, limit):
    for value, truth in zip(values, truths, strict=True):
        assert (value - truth).abs().max() <= limit * truth.abs().max()


@pytest.mark.parametrize('grad', [False, True], ids=['inference', 'with gradients'])
@pytest.mark.parametrize('arch', ['mini', 'small'])
def test_a_fused_backbone_gives_the_same_features(arch, grad):
    model = trained(arch=arch) if arch != 'mini' else trained()
    picture = torch.randn(1, 3, 64, 96)
    with torch.set_grad_enabled(grad):
        truths = model(picture)
        values = fuse(copy.deepcopy(model))(picture)
    compare(values, truths, 1e-5)


def test_nothing_is_left_to_fold_and_fusing_again_changes_nothing():
    model = fuse(trained())
    assert not model.training
    assert not any(isinstance(m, _BatchNorm) for m in model.modules())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    fuse(model)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_fused_model_is_found_inside_another():
    detector = nn.ModuleDict(dict(backbone=trained(), neck=nn.BatchNorm2d(4)))
    assert fuse(detector) is detector
    kept = [name for name, m in detector.named_modules() if isinstance(m, _BatchNorm)]
    assert kept == ['neck']


def test_what_somebody_changed_is_not_folded_and_acts_as_before():
    model, x = trained(), torch.randn(1, 3, 64, 96)
    changed, other = model.stages[1].blocks
    changed.mlp.act, model.stages[0].blocks[0].norm2.forward = nn.ReLU(), lambda x: -x
    with torch.no_grad():
        truths = model(x)
        fuse(model)
        compare(model(x), truths, 1e-5)
    kept = [name for name, m in model.named_modules() if isinstance(m, _BatchNorm)]
    assert kept == ['stages.0.blocks.0.norm2', 'stages.1.blocks.0.norm2'] and isinstance(other.norm2, nn.Identity)
