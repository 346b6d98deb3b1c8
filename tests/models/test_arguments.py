"""Every argument of the backbone's constructor."""

import warnings

import pytest
import torch
from torch import nn

from damamba.models import ArgumentError, DAMamba
from tests.models.helpers import MINI, listing, mini, norms_of

# The constructor's arguments


def test_a_dict_of_depths_and_dims_describes_a_variant_of_ones_own():
    model = DAMamba(dict(depths=[1, 1, 1, 1], dims=[16, 32, 16, 48]))
    assert [out.shape[1] for out in model.eval()(torch.randn(1, 3, 32, 32))] == [16, 32, 16, 48]
    assert [stage.blocks[0].mlp.fc1.out_channels for stage in model.stages] == [64, 128, 48, 144]


def test_a_variant_may_have_another_number_of_stages():
    model = DAMamba(dict(depths=[1, 1], dims=[16, 32], ffn_ratios=[2, 3], layer_scale=[False, True]), out_indices=[1])
    assert [out.shape for out in model.eval()(torch.randn(1, 3, 32, 32))] == [(1, 32, 4, 4)]
    assert model.stages[1].blocks[0].layer_scale_1 is not None


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


@pytest.mark.parametrize('out_indices', [(0,), (1, 3), [0, 1, 2], 3, range(4)], ids=str)
def test_only_the_stages_asked_for_are_returned(out_indices):
    model = mini().eval()
    picture = torch.randn(1, 3, 64, 64)
    every = model(picture)
    model.out_indices = mini(out_indices=out_indices).out_indices
    outs = model(picture)
    wanted = (out_indices,) if isinstance(out_indices, int) else out_indices
    assert all(torch.equal(out, every[i]) for out, i in zip(outs, wanted, strict=True))


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


# Arguments that make no sense


KEYS = 'depths, dims, ffn_ratios, layer_scale, drop_path_rate'
STAGES = 'out_indices must name stages 0 to 3 in rising order, got '
NORMS = 'norm_cfg type must be one of BN, BN2d, SyncBN, got '
PRETRAINED = "init_cfg must be dict(type='Pretrained', checkpoint=...), got "
WRONG = [
    (dict(arch='huge'), "arch must be one of tiny, small, base, or a dict; got 'huge'"),
    (dict(arch=None), 'arch must be one of tiny, small, base, or a dict; got None'),
    (dict(arch={**MINI, 'heads': 4}), f'arch has unknown keys heads; it takes {KEYS}'),
    (dict(arch=dict(dims=(16,))), 'arch lacks depths'),
    (dict(arch={}), 'arch lacks depths, dims'),
    (dict(arch=dict(depths=3, dims=(16,))), 'arch depths must be a list with one value for each stage, got 3'),
    (dict(arch=dict(depths=(1, 1), dims=(16,))), 'arch dims must have one value for each of the 2 depths'),
    (dict(arch={**MINI, 'ffn_ratios': (4,)}), 'arch ffn_ratios must have one value for each of the 4 depths'),
    (dict(arch={**MINI, 'layer_scale': (True,)}), 'arch layer_scale must have one value for each of the 4 depths'),
    (
        dict(arch={**MINI, 'depths': (1, -2, 1, 1)}),
        'arch depths must be whole numbers of at least 1, got (1, -2, 1, 1)',
    ),
    (dict(arch={**MINI, 'dims': (16, 40, 48, 64)}), 'arch dims must be multiples of 16, got [40]'),
    (dict(arch={**MINI, 'dims': (0, 32, 48, 64)}), 'arch dims must be multiples of 16, got [0]'),
    (dict(arch={**MINI, 'dims': (16.0, 32, 48, 64)}), 'arch dims must be multiples of 16, got [16.0]'),
    (dict(arch={**MINI, 'drop_path_rate': 1.0}), 'drop_path_rate must be from 0 to less than 1, got 1.0'),
    (dict(drop_path_rate=-1), 'drop_path_rate must be from 0 to less than 1, got -1'),
    (dict(in_channels=0), 'in_channels must be at least 1, got 0'),
    *((dict(out_indices=it), f'{STAGES}{it}') for it in ((), (4,), (-1, 0), (0, 7), (3, 0), (1, 1))),
    *((dict(frozen_stages=it), f'frozen_stages must be from -1 to 4, got {it}') for it in (-2, 5, 1.0)),
    *((dict(norm_cfg=it), f'{NORMS}{it["type"]!r}') for it in (dict(type='GN', num_groups=8), dict(type='LN'))),
    *((dict(norm_cfg=it), f'{NORMS}None') for it in (None, {})),
    *(
        (dict(init_cfg=it), f'{PRETRAINED}{it}')
        for it in (['x.pth'], dict(type='Kaiming'), dict(type='Pretrained'), dict(checkpoint='a.pth'))
    ),
    (
        dict(pretrained='a.pth', init_cfg=dict(type='Pretrained', checkpoint='a.pth')),
        'pretrained and init_cfg both say where the weights come from; give one of them',
    ),
]


@pytest.mark.parametrize(('arguments', 'text'), WRONG)
def test_an_argument_that_makes_no_sense_is_an_error_that_names_it_and_says_what_it_should_be(arguments, text):
    with pytest.raises(ArgumentError) as error:
        DAMamba(**{'arch': MINI, **arguments})
    assert str(error.value) == f'DAMamba: {text}'
