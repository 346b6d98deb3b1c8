"""The backbone: its names, its initial values, its features."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from damamba.models import ARCHS, DAMamba
from damamba.models.damamba import Block
from damamba.models.layers import ResidualDepthwiseConv
from tests.models.helpers import MINI, listing, mini

PUBLISHED = {  # parameters; SHA-256 of the sorted "name<TAB>shape" lines of the published state dict
    'tiny': (24_927_302, 873, 'da3ca27942492ac38dc8d283dd3b165bb492907d0298421821382d32da74c7ad'),
    'small': (44_479_564, 1401, 'a1a70ef54403f3ec18174850189ea244d96592d25ef849f20ba5308b76435ff3'),
    'base': (85_073_298, 1653, 'b60f97a049da96b62d69d3eb4c787147d559d670c754aa6dc769222d5b6e15df'),
}


@pytest.fixture(scope='module', params=PUBLISHED)
def published(request):
    """A published variant, built once: its name and the module."""
    torch.manual_seed(0)
    return request.param, DAMamba(request.param)


# Names, shapes and features of the published model


def test_names_shapes_and_the_number_of_parameters_are_the_published_ones(published):
    name, model = published
    lines = listing(model)
    digest = hashlib.sha256('\n'.join(lines).encode()).hexdigest()
    assert (sum(p.numel() for p in model.parameters()), len(lines), digest) == PUBLISHED[name]


def test_features_and_gradients_are_those_of_the_published_implementation(shared):
    env = {**os.environ, 'PYTHONPATH': str(Path(__file__).resolve().parents[2]), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-B', str(shared / 'reference/check_features.py')]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '732 of 732 gradient norms' in done.stdout


def test_drop_path_rises_linearly_from_nothing_to_the_variants_rate(published):
    name, model = published
    rates = [m.drop_path.drop_prob for m in model.modules() if isinstance(m, Block)]
    last = {'tiny': 0.3, 'small': 0.4, 'base': 0.6}[name]
    assert len(rates) == sum(ARCHS[name].depths)
    assert rates == pytest.approx([last * i / (len(rates) - 1) for i in range(len(rates))])


def test_layer_scales_lie_where_published_and_begin_at_a_millionth(published):
    name, model = published
    for i, stage in enumerate(model.stages):
        for block in stage.blocks:
            for scale in (block.layer_scale_1, block.layer_scale_2):
                if name == 'tiny' or i < 2:
                    assert scale is None
                else:
                    assert scale.tolist() == pytest.approx([1e-6] * ARCHS[name].dims[i])


# Initial values


@pytest.mark.parametrize('published', ['small'], indirect=True)
def test_every_layer_begins_as_published(published):
    """Convolutions normal by their fan-out, the offsets' layer with 0.02, without biases; norms with ones and zeros."""
    _, model = published
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.weight.numel() > 2000:
                wanted = math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels / module.groups))
                assert module.weight.std().item() == pytest.approx(wanted, rel=0.1), name
                assert abs(module.weight.mean()) < 0.1 * wanted, name
            assert module.bias is None or not module.bias.any(), name
        elif isinstance(module, (nn.LayerNorm, _BatchNorm)):
            assert (module.weight == 1).all() and not module.bias.any(), name
            assert module.eps == (1e-6 if isinstance(module, nn.LayerNorm) else 1e-5), name
            assert getattr(module, 'momentum', 0.1) == 0.1, name
        elif isinstance(module, ResidualDepthwiseConv):
            assert module.conv_constant.flatten().tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0], name
            assert not module.conv_constant.requires_grad, name
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert len(linears) == sum(model.arch.depths)
    assert torch.cat([m.weight.flatten() for m in linears]).std().item() == pytest.approx(0.02, rel=0.05)
    assert not any(m.bias.any() for m in linears)


def test_the_same_seed_draws_the_same_weights():
    torch.manual_seed(5)
    first = mini().state_dict()
    torch.manual_seed(5)
    second = mini().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


# Features


@pytest.mark.parametrize('size', [(64, 96), (65, 97), (33, 32), (31, 1)], ids=str)
def test_features_have_strides_4_to_32_for_any_size_of_picture(size):
    model = mini().eval()
    outs = model(torch.randn(2, 3, *size))
    for i, out in enumerate(outs):
        assert out.shape == (2, MINI['dims'][i], *(math.ceil(s / 2 ** (i + 2)) for s in size))
        assert out.isfinite().all()


def test_a_training_step_on_an_odd_size_gives_every_trained_parameter_a_finite_gradient():
    model = mini(drop_path_rate=0.2).requires_grad_(True)  # thawed: identity kernels get no gradient even so
    sum(out.square().mean() for out in model(torch.randn(2, 3, 65, 97))).backward()
    for name, parameter in model.named_parameters():
        if name.endswith('conv_constant'):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_a_pictures_features_do_not_depend_on_its_batch(close):
    model = mini().double().eval()
    pictures = torch.randn(3, 3, 65, 97, dtype=torch.float64)
    together = model(pictures)
    for i in range(3):
        for out, alone in zip(together, model(pictures[i : i + 1]), strict=True):
            close(out[i : i + 1], alone)


def test_features_lie_plainly_in_memory_for_mmcvs_operators_however_the_picture_came(close):
    model = mini().eval()
    picture = torch.randn(2, 3, 64, 96)
    outs = model(picture)
    assert all(out.is_contiguous() for out in outs)
    for out, same in zip(outs, model(picture.contiguous(memory_format=torch.channels_last)), strict=True):
        close(out, same)


def test_a_picture_may_have_another_number_of_channels():
    assert mini(in_channels=1).eval()(torch.randn(1, 1, 32, 32))[0].shape == (1, 16, 8, 8)


def test_autocast_changes_features_by_rounding_only():
    model = mini().eval()
    for name, parameter in model.named_parameters():
        if '.offset.' in name:  # the same samples in both precisions
            nn.init.zeros_(parameter)
    picture = torch.randn(1, 3, 64, 96)
    truth = model(picture)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        outs = model(picture)
    for out, true in zip(outs, truth, strict=True):
        assert (out.float() - true).abs().max() < 0.1 * true.abs().max()


def test_a_stages_normalised_output_is_its_feature_and_the_next_stages_input(close):
    model = mini().double().eval()
    picture = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    outs = model(picture)
    close(outs[0], model.norm1(model.stages[0].blocks[0](model.stem(picture))))
    second = model.stages[1].downsample(outs[0])
    for block in model.stages[1].blocks:
        second = block(second)
    close(outs[1], model.norm2(second))


@pytest.mark.parametrize('layer_scale', [False, True])
def test_a_block_is_its_formula(layer_scale, close):
    block = Block(16, 2, 0.0, layer_scale, dict(type='BN'), False).double().eval()
    scales = [1.0, 1.0]
    if layer_scale:
        scales = [torch.randn(16, dtype=torch.float64) for _ in range(2)]
        block.layer_scale_1.data, block.layer_scale_2.data = scales
        scales = [s.view(1, 16, 1, 1) for s in scales]
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    y = block.pos_embed(x)
    y = y + scales[0] * block.token_mixer(block.norm1(y))
    close(block(x), y + scales[1] * block.mlp(block.norm2(y)))


# Drop path


def test_drop_path_can_be_set_and_rests_in_evaluation():
    model = mini(drop_path_rate=0.8)
    rates = [m.drop_path.drop_prob for m in model.modules() if isinstance(m, Block)]
    assert rates == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    model.eval()
    picture = torch.randn(1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(model(picture), model(picture), strict=True))
