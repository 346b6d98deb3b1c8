"""The backbone: its names, its features, and every argument of its constructor."""

import copy
import hashlib
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from damamba.checkpoint import CheckpointError
from damamba.models import ARCHS, DAMamba
from damamba.models.backbone import Block
from damamba.models.layers import ResidualDepthwiseConv

MINI = dict(depths=(1, 2, 1, 1), dims=(16, 32, 48, 64), ffn_ratios=(2, 2, 3, 2))
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


def mini(**options):
    return DAMamba(**{'arch': MINI, 'drop_path_rate': 0.0, **options})


def listing(module):
    """The names and shapes of the state dict, as the lists of the published weights write them."""
    return sorted(f'{n}\t{"x".join(map(str, v.shape)) or "scalar"}' for n, v in module.state_dict().items())


def norms_of(module):
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]


def statistics(module):
    return {name: value.clone() for name, value in module.named_buffers()}


# Names, shapes and features of the published model


def test_names_and_shapes_are_the_published_ones(published):
    name, model = published
    lines = listing(model)
    assert len(lines) == PUBLISHED[name][1]
    assert hashlib.sha256('\n'.join(lines).encode()).hexdigest() == PUBLISHED[name][2]


def test_names_and_shapes_are_those_of_the_published_lists(published, shared):
    name, model = published
    published_lines = (shared / f'reference/damamba_{name}_detection_keys.tsv').read_text().splitlines()
    assert listing(model) == sorted(published_lines)


def test_the_parameters_are_as_many_as_published(published):
    name, model = published
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name][0]


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


def test_convolutions_begin_normal_by_their_fan_out_with_no_bias(published):
    _, model = published
    for name, conv in model.named_modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        if conv.weight.numel() > 2000:
            wanted = math.sqrt(2 / (math.prod(conv.kernel_size) * conv.out_channels / conv.groups))
            assert conv.weight.std().item() == pytest.approx(wanted, rel=0.1), name
            assert abs(conv.weight.mean()) < 0.1 * wanted, name
        assert conv.bias is None or not conv.bias.any(), name


def test_the_offsets_linear_layer_begins_with_a_deviation_of_two_hundredths_and_no_bias(published):
    _, model = published
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert len(linears) == sum(model.arch.depths)
    assert torch.cat([m.weight.flatten() for m in linears]).std().item() == pytest.approx(0.02, rel=0.05)
    assert not any(m.bias.any() for m in linears)


def test_normalisations_begin_with_ones_and_zeros_and_the_published_epsilons(published):
    _, model = published
    for module in model.modules():
        if isinstance(module, (nn.LayerNorm, _BatchNorm)):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert not module.bias.any()
            assert module.eps == (1e-6 if isinstance(module, nn.LayerNorm) else 1e-5)
            assert getattr(module, 'momentum', 0.1) == 0.1


def test_identity_kernels_begin_and_stay_as_they_are(published):
    _, model = published
    layers = [m for m in model.modules() if isinstance(m, ResidualDepthwiseConv)]
    assert len(layers) == 2 * sum(model.arch.depths)
    for layer in layers:
        assert layer.conv_constant.flatten().tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
        assert not layer.conv_constant.requires_grad


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
    model = mini(drop_path_rate=0.2)
    sum(out.square().mean() for out in model(torch.randn(2, 3, 65, 97))).backward()
    for name, parameter in model.named_parameters():
        if name.endswith('conv_constant'):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_identity_kernels_get_no_gradient_even_when_every_parameter_is_thawed():
    model = mini().requires_grad_(True)
    sum(out.mean() for out in model(torch.randn(2, 3, 64, 64))).backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    assert all((grad is None) == name.endswith('conv_constant') for name, grad in grads.items())


def test_a_pictures_features_do_not_depend_on_its_batch(close):
    model = mini().double().eval()
    pictures = torch.randn(3, 3, 65, 97, dtype=torch.float64)
    together = model(pictures)
    for i in range(3):
        for out, alone in zip(together, model(pictures[i : i + 1]), strict=True):
            close(out[i : i + 1], alone)


def test_features_lie_channels_last_in_memory_however_the_picture_came(close):
    model = mini().eval()
    picture = torch.randn(2, 3, 64, 96)
    outs = model(picture)
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in outs)
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
    block = Block(16, 2, 0.0, layer_scale, dict(type='BN')).double().eval()
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


def test_drop_path_drops_whole_samples_of_either_branch_and_scales_what_is_kept():
    block = Block(16, 2, 0.5, False, dict(type='BN')).double()
    block.norm2.eval()
    x = torch.randn(1, 16, 4, 4, dtype=torch.float64)
    outs = block(x.expand(64, -1, -1, -1))
    start = block.pos_embed(x)
    combinations = {}
    for first in (0, 2):  # dropped, or kept and divided by the probability of 0.5
        middle = start + first * block.token_mixer(block.norm1(start))
        for second in (0, 2):
            combinations[first, second] = middle + second * block.mlp(block.norm2(middle))
    counts = dict.fromkeys(combinations, 0)
    for out in outs:
        found = [key for key, truth in combinations.items() if torch.allclose(out, truth[0], rtol=1e-9, atol=1e-9)]
        assert len(found) == 1
        counts[found[0]] += 1
    assert min(counts.values()) >= 5  # 16 of each expected: drawn for every sample and branch by itself


def test_drop_path_can_be_set_and_rests_in_evaluation():
    model = mini(drop_path_rate=0.8)
    rates = [m.drop_path.drop_prob for m in model.modules() if isinstance(m, Block)]
    assert rates == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    model.eval()
    picture = torch.randn(1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(model(picture), model(picture), strict=True))


# The constructor's arguments


def test_a_dict_of_depths_and_dims_describes_a_variant_of_ones_own():
    model = DAMamba(dict(depths=[1, 1, 1, 1], dims=[16, 32, 16, 48]))
    assert [out.shape[1] for out in model.eval()(torch.randn(1, 3, 32, 32))] == [16, 32, 16, 48]
    assert [stage.blocks[0].mlp.fc1.out_channels for stage in model.stages] == [64, 128, 48, 144]


def test_a_variant_may_have_another_number_of_stages():
    model = DAMamba(dict(depths=[1, 1], dims=[16, 32], ffn_ratios=[2, 3], layer_scale=[False, True]), out_indices=[1])
    assert [out.shape for out in model.eval()(torch.randn(1, 3, 32, 32))] == [(1, 32, 4, 4)]
    assert model.stages[1].blocks[0].layer_scale_1 is not None


WRONG_ARCH = {
    'unknown name': ('huge', ['tiny, small, base', "'huge'"]),
    'unknown key': ({**MINI, 'heads': 4}, ['unknown keys heads', 'depths, dims, ffn_ratios']),
    'no depths': (dict(dims=(16,)), ['lacks depths']),
    'neither': ({}, ['lacks depths, dims']),
    'dims of another length': (dict(depths=(1, 1), dims=(16,)), ['dims', '2 depths']),
    'ratios of another length': ({**MINI, 'ffn_ratios': (4,)}, ['ffn_ratios', '4 depths']),
    'layer scale of another length': ({**MINI, 'layer_scale': (True,)}, ['layer_scale', '4 depths']),
    'dims that groups do not divide': ({**MINI, 'dims': (16, 40, 48, 64)}, ['multiples of 16', '[40]']),
    'no channels': ({**MINI, 'dims': (0, 32, 48, 64)}, ['multiples of 16', '[0]']),
}


@pytest.mark.parametrize('case', WRONG_ARCH)
def test_a_wrong_arch_is_an_error_that_says_what_is_wrong_with_it(case):
    arch, words = WRONG_ARCH[case]
    with pytest.raises(ValueError, match='DAMamba: arch') as error:
        DAMamba(arch)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize('options', [dict(pretrain_size=224), dict(img_size=224), dict(pretrain_size=224, img_size=1)])
def test_the_sizes_of_published_configs_are_accepted_with_one_warning(options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        model = mini(**options)
    assert [str(w.message) for w in caught if 'DAMamba' in str(w.message)] == [
        'DAMamba: pretrain_size and img_size have no effect: any image size will do'
    ]
    assert len(caught) == 1
    assert listing(model) == listing(mini())


def test_without_those_sizes_there_is_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        mini()


def test_any_other_unknown_key_is_an_error_that_names_it():
    with pytest.raises(TypeError, match='window_size'):
        mini(window_size=7)


@pytest.mark.parametrize('norm_cfg', [dict(type='GN', num_groups=8), dict(type='LN')])
def test_a_normalisation_that_is_no_batch_normalisation_is_an_error_that_names_it(norm_cfg):
    with pytest.raises(ValueError, match=f'norm_cfg type must be one of BN.*{norm_cfg["type"]}'):
        mini(norm_cfg=norm_cfg)


def test_synchronised_batch_normalisation_builds_and_keeps_names_and_features():
    synced, plain = mini(norm_cfg=dict(type='SyncBN')).eval(), mini().eval()
    assert listing(synced) == listing(plain)
    assert norms_of(synced)
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms_of(synced))
    synced.load_state_dict(plain.state_dict())
    picture = torch.randn(1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(synced(picture), plain(picture), strict=True))


def test_batch_normalisations_can_be_kept_from_training_by_their_configuration():
    model = mini(norm_cfg=dict(type='BN', requires_grad=False))
    assert not any(p.requires_grad for norm in norms_of(model) for p in norm.parameters())
    assert model.stages[0].blocks[0].mlp.fc1.weight.requires_grad


# Which feature maps


@pytest.mark.parametrize('out_indices', [(0,), (1, 3), [0, 1, 2], (3,), range(4)], ids=str)
def test_only_the_stages_asked_for_are_returned(out_indices):
    model = mini().eval()
    picture = torch.randn(1, 3, 64, 64)
    every = model(picture)
    model.out_indices = mini(out_indices=out_indices).out_indices
    outs = model(picture)
    assert len(outs) == len(out_indices)
    assert all(torch.equal(out, every[i]) for out, i in zip(outs, out_indices, strict=True))


def test_stages_behind_the_last_feature_map_neither_run_nor_train():
    model = mini(out_indices=(0, 1))
    for module in (*model.stages[2:], model.norm3, model.norm4):
        module.register_forward_pre_hook(lambda *args: pytest.fail('an unused stage ran'))
    sum(out.mean() for out in model(torch.randn(2, 3, 64, 64))).backward()
    for name, parameter in model.named_parameters():
        unused = name.startswith(('stages.2.', 'stages.3.', 'norm3.', 'norm4.'))
        if not name.endswith('conv_constant'):
            assert parameter.requires_grad != unused, name
            assert (parameter.grad is None) == unused, name
    assert listing(model) == listing(mini())


@pytest.mark.parametrize('out_indices', [(), (4,), (-1, 0), (0, 7)], ids=str)
def test_stages_that_do_not_exist_are_an_error_that_says_which_do(out_indices):
    with pytest.raises(ValueError, match='out_indices must name stages 0 to 3 in rising order, got') as error:
        mini(out_indices=out_indices)
    assert str(out_indices) in str(error.value)


# What is frozen


@pytest.mark.parametrize('frozen', [-1, 0, 1, 2, 4])
def test_frozen_stages_take_no_gradient_and_gather_no_statistics(frozen):
    model = mini(frozen_stages=frozen, drop_path_rate=0.2)
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


def test_what_is_frozen_gathers_no_statistics_even_before_train_is_called():
    model = mini(frozen_stages=1)
    before = statistics(model)
    model(torch.randn(2, 3, 32, 64))
    after = statistics(model)
    assert all(torch.equal(after[n], before[n]) for n in before if n.startswith(('stem.', 'stages.0.')))


@pytest.mark.parametrize('frozen', [-2, 5])
def test_stages_that_cannot_be_frozen_are_an_error_that_gives_the_range(frozen):
    with pytest.raises(ValueError, match=f'frozen_stages must be from -1 to 4, got {frozen}'):
        mini(frozen_stages=frozen)


def test_norm_eval_keeps_statistics_but_trains_everything():
    model = mini(norm_eval=True, drop_path_rate=0.5)
    model.train()
    before = statistics(model)
    sum(out.mean() for out in model(torch.randn(2, 3, 64, 64))).backward()
    assert all(torch.equal(value, before[name]) for name, value in statistics(model).items())
    assert all(p.grad is not None for n, p in model.named_parameters() if not n.endswith('conv_constant'))
    assert all(m.drop_path.training for m in model.modules() if isinstance(m, Block))


# Checkpointing of activations


def training_step(model, autocast=False):
    """Outputs, gradients, statistics and the bytes kept for the backward, of one step with fixed random numbers."""
    torch.manual_seed(1)
    picture = torch.randn(2, 3, 65, 97)
    kept = 0

    def pack(tensor):
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outs = model(picture)
        loss = sum(out.float().square().mean() for out in outs)
    loss.backward()
    return outs, {n: p.grad for n, p in model.named_parameters()}, statistics(model), kept


@pytest.mark.parametrize('autocast', [False, True], ids=['float32', 'autocast'])
@pytest.mark.parametrize('options', [dict(), dict(frozen_stages=1), dict(norm_eval=True)], ids=str)
def test_with_cp_keeps_less_and_changes_no_output_gradient_or_statistic(options, autocast):
    plain = mini(drop_path_rate=0.5, **options)
    saving = mini(drop_path_rate=0.5, with_cp=True, **options)
    saving.load_state_dict(plain.state_dict())
    outs, grads, buffers, kept = training_step(plain.train(), autocast)
    cp_outs, cp_grads, cp_buffers, cp_kept = training_step(saving.train(), autocast)
    assert all(torch.equal(a, b) for a, b in zip(outs, cp_outs, strict=True))
    for name, grad in grads.items():
        assert (grad is None and cp_grads[name] is None) or torch.equal(grad, cp_grads[name]), name
    for name, value in buffers.items():
        assert torch.equal(value, cp_buffers[name]), name
    assert cp_kept < 0.5 * kept


def test_with_cp_counts_every_batch_once():
    model = mini(with_cp=True).train()
    for _ in range(2):
        training_step(model)
    assert {norm.num_batches_tracked.item() for norm in norms_of(model)} == {2}


def test_with_cp_leaves_inference_alone():
    model = mini(with_cp=True).eval()
    plain = mini().eval()
    plain.load_state_dict(model.state_dict())
    picture = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        outs = model(picture)
    assert not any(out.requires_grad for out in outs)
    assert all(torch.equal(a, b) for a, b in zip(outs, plain(picture), strict=True))


# Pretrained weights


@pytest.fixture
def weights(tmp_path):
    """A file of a mini backbone's weights, and its state dict."""
    state = mini().state_dict()
    torch.save({'model': state}, tmp_path / 'weights.pth')
    return str(tmp_path / 'weights.pth'), state


def holds(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_the_constructor_reads_no_file(weights, tmp_path):
    path, state = weights
    mini(pretrained=str(tmp_path / 'missing.pth'))
    mini(pretrained='http://127.0.0.1:1/missing.pth')
    mini(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'missing.pth')))
    assert not holds(mini(pretrained=path), state)


@pytest.mark.parametrize('how', ['pretrained', 'init_cfg'])
def test_init_weights_fills_the_backbone_from_the_file(weights, how):
    path, state = weights
    options = dict(pretrained=path) if how == 'pretrained' else dict(init_cfg=dict(type='Pretrained', checkpoint=path))
    model = mini(**options)
    model.init_weights()
    assert holds(model, state)


def test_init_weights_fills_once_and_leaves_later_training_alone(weights):
    path, _ = weights
    model = mini(pretrained=path)
    model.init_weights()
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


def test_pretrained_and_init_cfg_together_are_an_error():
    with pytest.raises(ValueError, match='pretrained and init_cfg both'):
        mini(pretrained='a.pth', init_cfg=dict(type='Pretrained', checkpoint='a.pth'))


@pytest.mark.parametrize('init_cfg', [dict(type='Kaiming'), dict(type='Pretrained'), dict(checkpoint='a.pth')], ids=str)
def test_an_init_cfg_that_is_no_pretrained_file_is_an_error_that_shows_it(init_cfg):
    with pytest.raises(ValueError, match='init_cfg must be dict') as error:
        mini(init_cfg=init_cfg)
    assert str(init_cfg) in str(error.value)
