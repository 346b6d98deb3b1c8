"""Counting: the published figures, parts that add up, formulas by hand, real passes, mistakes in one sentence."""

import json
import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from damamba.cli import get_flops
from damamba.engine import flops
from damamba.models import ARCHS
from tests.detection import ROOT

SHAPE = (800, 1280)
PUBLISHED = {'tiny': (45, 284), 'small': (65, 395), 'base': (105, 520)}  # M parameters, G MACs
BACKBONES = {'tiny': 24_927_302, 'small': 44_479_564, 'base': 85_073_298}
CASCADE = """
_base_ = 'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(_delete_=True, type='DAMamba', arch=dict(depths=(1, 1, 1, 1), dims=(16, 16, 16, 16))),
    neck=dict(in_channels=[16, 16, 16, 16]),
)
"""
MASK2FORMER = """
_base_ = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
model = dict(
    backbone=dict(_delete_=True, type='DAMamba', arch=dict(depths=(1, 1, 1, 1), dims=(16, 16, 16, 16))),
    panoptic_head=dict(in_channels=[16, 16, 16, 16]),
)
"""


def counted(*argv) -> flops.Cost:
    return get_flops.count(get_flops.parse([str(a) for a in argv]))


@pytest.fixture(scope='module')
def costs() -> dict[str, flops.Cost]:
    """The three published detectors at 800 x 1280."""
    return {size: counted(ROOT / f'configs/mask_rcnn_DAMamba_{size}_fpn_1x_coco.py') for size in PUBLISHED}


def flat(part: flops.Part, path: str = '') -> dict[str, flops.Part]:
    """Every part by its path, without the total."""
    found = {}
    for inner in part.parts:
        found |= {f'{path}{inner.name}': inner, **flat(inner, f'{path}{inner.name}.')}
    return found


def positions(strides) -> list[int]:
    """Positions of the maps at these strides."""
    return [-(-SHAPE[0] // stride) * -(-SHAPE[1] // stride) for stride in strides]


def conv(before: int, after: int, size: int) -> int:
    """Multiplications at each position."""
    return before * after * size * size


def refused(capsys, *argv) -> str:
    """The last line that the command writes before it fails."""
    with pytest.raises(SystemExit) as end:
        get_flops.main([str(a) for a in argv])
    shown = capsys.readouterr()
    assert end.value.code in (1, 2) and 'Traceback' not in shown.err
    return shown.err.splitlines()[-1]


# The published figures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', PUBLISHED)
def test_the_published_figures_are_found_by_their_rules(costs, size):
    params, macs = PUBLISHED[size]
    assert round(costs[size].published_macs / 1e9) == macs
    assert round(costs[size].total.params / 1e6) == params


@pytest.mark.parametrize('size', PUBLISHED)
def test_published_rules_differ_by_the_masks_upsampling_and_by_hundredths_of_it(costs, size):
    """A 2 x 2 kernel with stride 2 reaches each position of its output once: 4 times there is 3 too many."""
    cost = costs[size]
    too_many = 3 * 100 * 14 * 14 * conv(256, 256, 2)
    assert cost.published_macs - cost.total.macs == pytest.approx(too_many, rel=0.03)


@pytest.mark.parametrize('size', PUBLISHED)
def test_the_documents_have_the_figures(costs, size):
    text = (ROOT / 'docs/commands.md').read_text(encoding='utf-8')
    cost = costs[size]
    row = [size, f'{cost.total.macs / 1e9:.2f} G', f'{cost.published_macs / 1e9:.2f} G', f'{PUBLISHED[size][1]} G']
    assert f'| {" | ".join(row)} |' in text
    if size == 'tiny':
        assert f'```text\n{get_flops.render(cost)}\n```' in text


# Parts, by hand ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', PUBLISHED)
def test_the_parts_add_up_to_the_total(costs, size):
    parts = flat(costs[size].total)
    for whole in (costs[size].total, parts['backbone'], parts['roi_head']):
        assert sum(part.macs for part in whole.parts) == whole.macs
        assert sum(part.params for part in whole.parts) == whole.params
    assert [part.name for part in costs[size].total.parts] == ['backbone', 'neck', 'rpn_head', 'roi_head']
    assert all(part.macs >= 0 and part.params >= 0 for part in parts.values())


@pytest.mark.parametrize('size', PUBLISHED)
def test_parameters_are_those_of_the_published_backbone_and_of_the_heads(costs, size):
    parts, dims = flat(costs[size].total), ARCHS[size].dims
    assert parts['backbone'].params == BACKBONES[size]
    assert parts['neck'].params == sum(conv(dim, 256, 1) + conv(256, 256, 3) + 2 * 256 for dim in dims)
    assert parts['rpn_head'].params == conv(256, 256, 3) + 256 + 15 * (256 + 1)
    boxes = (256 * 7 * 7 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * (81 + 320)
    masks = 4 * (conv(256, 256, 3) + 256) + conv(256, 256, 2) + 256 + (256 + 1) * 80
    assert (parts['roi_head.bbox_head'].params, parts['roi_head.mask_head'].params) == (boxes, masks)


@pytest.mark.parametrize('size', PUBLISHED)
def test_neck_and_heads_cost_what_their_formulas_say(costs, size):
    parts, dims = flat(costs[size].total), ARCHS[size].dims
    maps = positions([4, 8, 16, 32])
    laterals = sum(n * conv(dim, 256, 1) for n, dim in zip(maps, dims, strict=True))
    assert parts['neck'].macs == laterals + sum(maps) * conv(256, 256, 3)
    every = sum(positions([4, 8, 16, 32, 64]))
    assert parts['rpn_head'].macs == every * (conv(256, 256, 3) + conv(256, 15, 1))
    assert parts['roi_head.bbox_head'].macs == 1000 * (256 * 7 * 7 * 1024 + 1024 * 1024 + 1024 * (81 + 320))
    small, large = 14 * 14, 28 * 28
    mask = 4 * small * conv(256, 256, 3) + small * conv(256, 256, 2) + large * conv(256, 80, 1)
    assert parts['roi_head.mask_head'].macs == 100 * mask
    assert (parts['roi_head.bbox_head'].rois, parts['roi_head.mask_head'].rois) == (1000, 100)


def test_the_stem_costs_what_its_formula_says(costs):
    half, quarter = positions([2, 4])
    by_hand = half * (conv(3, 40, 3) + conv(40, 40, 3)) + quarter * (conv(40, 80, 3) + conv(80, 80, 3))
    assert flat(costs['tiny'].total)['backbone.stem'].macs == by_hand


# Any model ---------------------------------------------------------------------------------------------------------


def test_it_is_what_a_real_pass_with_weights_counts(small_config):
    cost = counted(small_config, '--shape', 96, 128)
    model = MODELS.build(Config.fromfile(small_config).model).eval()
    with FlopCounterMode(display=False) as counter:  # with gradients, when nothing is fused behind its back
        maps = model.neck(model.backbone(torch.randn(1, 3, 96, 128)))
        model.rpn_head(maps)
    parts = flat(cost.total)
    names = ('backbone', 'neck', 'rpn_head')
    assert sum(parts[name].macs for name in names) == counter.get_total_flops() // 2
    assert cost.total.params == sum(parameter.numel() for parameter in model.parameters())


def test_neither_weights_nor_what_is_found_change_it(small_config):
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(counted(small_config, '--shape', 64))
    assert found[0] == found[1] and flat(found[0].total)['roi_head.bbox_head'].rois == 20  # test_cfg.rpn.max_per_img


def test_the_picture_is_padded_as_the_detector_pads_it(small_config):
    cost = counted(small_config, '--shape', 70, 97)
    assert (cost.shape, cost.padded) == ((70, 97), (96, 128))
    assert '70 pixels high and 97 wide, padded to 96 x 128' in get_flops.render(cost)
    assert cost.total == counted(small_config, '--shape', 96, 128).total


def test_options_change_the_config(small_config):
    half = counted(small_config, '--shape', 64, '--cfg-options', 'model.test_cfg.rpn.max_per_img=10')
    whole = counted(small_config, '--shape', 64)
    macs = [flat(cost.total)['roi_head.bbox_head'].macs for cost in (half, whole)]
    assert 2 * macs[0] == macs[1]


def test_weights_that_the_config_names_are_not_fetched(small_config):
    counted(small_config, '--shape', 64, '--cfg-options', 'model.backbone.pretrained=/nowhere/weights.pth')


def test_cascade_rcnn_draws_the_same_100_masks_at_each_stage(tmp_path, costs):
    (tmp_path / 'cascade.py').write_text(CASCADE)
    parts = flat(counted(tmp_path / 'cascade.py', '--shape', 128).total)
    for stage in range(3):
        mask = parts[f'roi_head.mask_head.{stage}']
        assert (parts[f'roi_head.bbox_head.{stage}'].rois, mask.rois) == (1000, 100)
        assert mask.macs == flat(costs['tiny'].total)['roi_head.mask_head'].macs


def test_another_kind_of_detector_has_its_own_parts(tmp_path):
    (tmp_path / 'mask2former.py').write_text(MASK2FORMER)
    cost = counted(tmp_path / 'mask2former.py', '--shape', 128)
    parts = flat(cost.total)
    assert {'backbone.stages.0', 'panoptic_head.pixel_decoder', 'panoptic_head.transformer_decoder'} <= parts.keys()
    assert [part.name for part in cost.total.parts] == ['backbone', 'panoptic_head']
    assert sum(part.macs for part in cost.total.parts) == cost.total.macs


# The command -------------------------------------------------------------------------------------------------------


def test_the_table_is_shown_and_the_figures_go_into_a_file_with_every_digit(small_config, tmp_path, capsys):
    out = tmp_path / 'cost.json'
    get_flops.main([str(small_config), '--shape', '64', '96', '--json', str(out)])
    cost = counted(small_config, '--shape', 64, 96)
    assert get_flops.render(cost) in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content == json.loads(json.dumps({'config': str(small_config), **cost.to_dict()}))
    assert content['total']['macs'] == cost.total.macs and content['shape'] == [64, 96]


@pytest.mark.parametrize('shape', [['0'], ['-800', '1280'], ['800', '1280', '3']])
def test_a_shape_that_makes_no_sense_is_one_sentence(small_config, shape, capsys):
    text = refused(capsys, small_config, '--shape', *shape)
    assert re.search(f'--shape takes a height and a width, or one number .* got {" ".join(shape)}$', text)


def test_a_shape_that_is_no_number_is_one_sentence(small_config, capsys):
    assert "argument --shape: invalid int value: 'big'" in refused(capsys, small_config, '--shape', 'big')


def test_a_place_that_cannot_be_written_is_one_sentence(small_config, capsys, tmp_path):
    text = refused(capsys, small_config, '--json', '/nowhere/cost.json')
    assert text.endswith('--json can not write /nowhere/cost.json: there is no folder /nowhere')
    text = refused(capsys, small_config, '--json', str(tmp_path))
    assert text.endswith(f'--json can not write {tmp_path}: it is a folder')


def test_a_config_that_is_missing_or_describes_no_detector_is_one_sentence(tmp_path, capsys):
    assert (
        refused(capsys, 'gone.py') == 'error: gone.py does not exist; wanted a config file, such as those in configs/'
    )
    (tmp_path / 'bare.py').write_text('model = dict(type="DetTTAModel")\n')
    assert 'bare.py describes no model with a backbone' in refused(capsys, tmp_path / 'bare.py')
