"""A fused backbone gives the features of the plain one, and says what it no longer is."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from damamba.models import DAMamba, folding, fuse
from damamba.models.layers import ResidualDepthwiseConv
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


@pytest.mark.parametrize('change', [('enabled', False), ('ONEDNN', 'mkldnn::_of_another_version')], ids=['off', 'old'])
def test_without_onednns_fused_gelu_the_features_are_the_same(change, monkeypatch):
    model, x = trained(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        truths = model(x)
        monkeypatch.setattr(torch.backends.mkldnn if change[0] == 'enabled' else folding, *change)
        assert not folding._has_onednn(x)
        compare(model(x), truths, 1e-5)


@pytest.mark.parametrize('grad', [False, True], ids=['inference', 'with gradients'])
@pytest.mark.parametrize('arch', ['mini', 'small'])
def test_a_fused_backbone_gives_the_same_features(arch, grad):
    model = trained(arch=arch) if arch != 'mini' else trained()
    picture = torch.randn(1, 3, 64, 96)
    with torch.set_grad_enabled(grad):
        truths = model(picture)
        values = fuse(copy.deepcopy(model))(picture)
    compare(values, truths, 1e-5)


@pytest.mark.parametrize('affine', [True, False], ids=['affine', 'without weights'])
def test_inference_folds_on_the_way_and_training_does_not(affine):
    model = mini(norm_cfg=dict(type='BN', affine=affine)).double().eval()
    for norm in (m for m in model.modules() if isinstance(m, _BatchNorm)):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    picture = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    truths = model(picture)  # with gradients: each batch normalisation runs
    with torch.no_grad():
        compare(model(picture), truths, 1e-12)
        model.train()
        in_training = copy.deepcopy(model)(picture)
        assert not torch.allclose(in_training[0], truths[0])  # normalised by the batch's own statistics


def test_batch_normalisation_without_statistics_is_not_folded():
    model = mini(norm_cfg=dict(type='BN', track_running_stats=False)).eval()
    picture = torch.randn(2, 3, 64, 96)
    truths = model(picture)
    with torch.no_grad():
        compare(model(picture), truths, 1e-5)
    norms = sum(isinstance(m, _BatchNorm) for m in model.modules())
    fuse(model)
    assert norms and sum(isinstance(m, _BatchNorm) for m in model.modules()) == norms
    assert all(m.merged for m in model.modules() if isinstance(m, ResidualDepthwiseConv))
    compare(model(picture), truths, 1e-5)


def test_nothing_is_left_to_fold_and_fusing_again_changes_nothing():
    model = fuse(trained())
    assert not model.training
    assert not any(isinstance(m, _BatchNorm) for m in model.modules())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    fuse(model)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_two_kernels_are_one_until_weights_are_loaded():
    conv = ResidualDepthwiseConv(4)
    x, state = torch.randn(1, 4, 5, 7), copy.deepcopy(conv.state_dict())
    truth = conv(x)
    conv.merge()
    assert torch.equal(conv(x), truth)
    conv.load_state_dict(state)
    assert torch.equal(conv(x), truth)


def test_a_fused_model_is_found_inside_another():
    detector = nn.ModuleDict(dict(backbone=trained(), neck=nn.BatchNorm2d(4)))
    assert fuse(detector) is detector
    kept = [name for name, m in detector.named_modules() if isinstance(m, _BatchNorm)]
    assert kept == ['neck']


def test_a_flop_counter_sees_the_same_with_and_without_gradients():
    model, picture, counts = mini().eval(), torch.randn(1, 3, 64, 64), []
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled), FlopCounterMode(display=False) as counter:
            model(picture)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_no_pictures_give_no_maps():
    with torch.no_grad():
        assert [tuple(out.shape) for out in mini().eval()(torch.randn(0, 3, 64, 96))][:2] == [
            (0, 16, 16, 24),
            (0, 32, 8, 12),
        ]
