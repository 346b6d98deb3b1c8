import pytest

from damamba.models import ArgumentError, DAMamba

MINI = dict(depths=(1, 1, 1, 1), dims=(16, 16, 32, 32))


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (dict(arch=None), 'arch must be one of tiny, small, base, or a dict; got None'),
        (dict(arch=dict(depths=3, dims=(16,))), 'arch depths must be a list with one value for each stage, got 3'),
        (dict(arch={**MINI, 'depths': (1, -2, 1, 1)}), 'arch depths must be whole numbers of at least 1'),
        (dict(arch={**MINI, 'dims': (16.0,) * 4}), 'arch dims must be multiples of 16'),
        (dict(arch={**MINI, 'drop_path_rate': 1.0}), 'drop_path_rate must be from 0 to less than 1, got 1.0'),
        (dict(drop_path_rate=-1), 'drop_path_rate must be from 0 to less than 1, got -1'),
        (dict(in_channels=0), 'in_channels must be at least 1, got 0'),
        (dict(out_indices=(3, 0)), 'out_indices must name stages 0 to 3 in rising order'),
        (dict(out_indices=(1, 1)), 'out_indices must name stages 0 to 3 in rising order'),
        (dict(frozen_stages=1.0), 'frozen_stages must be from -1 to 4, got 1.0'),
        (dict(norm_cfg=None), 'norm_cfg type must be one of BN, BN2d, SyncBN, got None'),
        (dict(init_cfg=['x.pth']), "init_cfg must be dict\\(type='Pretrained', checkpoint=...\\), got \\['x.pth'\\]"),
    ],
)
def test_an_argument_that_makes_no_sense_is_an_error_that_names_it(arguments, text):
    with pytest.raises(ArgumentError, match=f'DAMamba: {text}'):
        DAMamba(**{'arch': MINI, **arguments})


def test_lists_of_a_config_and_a_single_index_will_do():
    assert DAMamba(
        arch=dict(depths=[1, 1], dims=[16, 32], ffn_ratios=[1, 1], layer_scale=[False, True]), out_indices=[0, 1]
    ).arch.dims
    assert DAMamba(arch=MINI, out_indices=2).out_indices == (2,)
