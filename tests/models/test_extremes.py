"""Mixer and backbone where numbers end, above all those of half precision: features and gradients stay finite."""

import math
from contextlib import nullcontext

import pytest
import torch

from damamba.models.mixer import Mixer
from tests.models.helpers import mini
from tests.ops.helpers import pairwise, parametrize

LIMIT = 65504.0  # of float16
MODES = {  # the type of the weights, and that of autocast
    'float32': (torch.float32, None),
    'bfloat16': (torch.bfloat16, None),
    'float16': (torch.float16, None),
    'bfloat16 autocast': (torch.float32, torch.bfloat16),
    'float16 autocast': (torch.float32, torch.float16),
}
PARAMETERS = {  # the end of a parameter's name, and its values
    'as drawn': {},
    'large steps': {'dt_projs_bias': 1000.0},
    'tiny steps': {'dt_projs_bias': -1000.0},
    'a huge decay': {'A_logs': math.log(1e6)},
    'hardly a decay': {'A_logs': math.log(1e-8)},
    # The state gathers all that is read, and has its place in float16 where little is.
    'large steps and hardly a decay': {'dt_projs_bias': 1000.0, 'A_logs': math.log(1e-8), 'x_proj_weight': 1e-3},
    'offsets of hundreds of pixels': {'offset.bias': 300.0},
    'offsets of hundreds of pixels the other way': {'offset.bias': -300.0},
    'offsets of 1e30 pixels': {'offset.bias': 1e30},
    'infinite offsets': {'offset.bias': math.inf},
    'offsets that are no number': {'offset.bias': math.nan},
}


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


def fill(model, parameters):
    for end, value in parameters.items():
        chosen = [p for name, p in model.named_parameters() if name.endswith(end)]
        assert chosen
        for parameter in chosen:
            torch.nn.init.constant_(parameter, value)


def assert_finite(model, x, mode):
    dtype, autocast = MODES[mode]
    model, x = model.to(dtype), x.to(dtype).requires_grad_()
    with torch.autocast('cpu', dtype=autocast) if autocast else nullcontext():
        outs = model(x)
    outs = outs if isinstance(outs, tuple) else (outs,)
    assert all(out.dtype == (autocast or dtype) for out in outs)
    assert all(out.isfinite().all() for out in outs)
    sum((out.float() * torch.randn(out.shape)).mean() for out in outs).backward()
    gradients = {'x': x.grad, **{name: p.grad for name, p in model.named_parameters() if p.requires_grad}}
    assert [name for name, grad in gradients.items() if not grad.isfinite().all()] == []


@parametrize(pairwise({'parameters': list(PARAMETERS), 'mode': list(MODES), 'whole': [False, True]}))
def test_mixers_and_backbones_of_extreme_steps_and_offsets_are_finite(parameters, mode, whole):
    model = mini().train() if whole else Mixer(32)
    fill(model, PARAMETERS[parameters])
    assert_finite(model, torch.randn((2, 3, 64, 64) if whole else (2, 32, 5, 7)), mode)


@pytest.mark.parametrize('value', [LIMIT, 2**-24, 0.0], ids=str)
def test_a_mixer_of_activations_at_float16s_limits_is_finite(value, mode):
    mixer = Mixer(32)
    # Weights that leave the activations their size; else the truth itself has no place in float16.
    for conv in (mixer.in_proj, mixer.conv2d, mixer.da_scan.dw_conv[0]):
        torch.nn.init.dirac_(conv.weight, groups=conv.groups)
    fill(mixer, {'x_proj_weight': 1e-7, 'Ds': 0.5})  # the state is a product of three activations
    assert_finite(mixer, value * torch.randn(2, 32, 5, 7).sign(), mode)


@pytest.mark.parametrize('value', [LIMIT, 2**-14], ids=str)
def test_a_backbone_of_pictures_at_float16s_limits_is_finite(value, mode):
    model = mini().train()
    with torch.no_grad():
        model.stem[0].weight /= max(value / 2000, 1)  # or what the first convolution makes of the limit has no place
    assert_finite(model, value * torch.randn(2, 3, 64, 64).sign(), mode)
