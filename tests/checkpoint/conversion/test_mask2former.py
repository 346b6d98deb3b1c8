"""Mask2Former converted: transformers' logits from its weights, and every tensor's way from both forms."""

import itertools
import math
import pickle
from functools import partialmethod
from types import SimpleNamespace

import pytest
import torch
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmdet.structures import DetDataSample
from mmengine.config import Config
from torch import Tensor
from torch.nn import functional
from transformers import Mask2FormerImageProcessor
from transformers.models.mask2former.modeling_mask2former import Mask2FormerSinePositionEmbedding

from damamba.checkpoint import match, read
from damamba.checkpoint.conversion import convert
from damamba.checkpoint.conversion.mask2former import HUGGINGFACE, to_mmdet
from damamba.checkpoint.conversion.parts import Account
from damamba.engine.converted import settle
from tests.checkpoint.conversion import mask2formers as models
from tests.checkpoint.helpers import equal
from tests.detection import ROOT

LIMITS = {torch.float64: 1e-6, torch.float32: 1e-3}
SHALLOW = {'s': (1, 1, 3, 1), 'b': (1, 2, 1, 1), 'l': (2, 1, 1, 1)}


def pair_of(size: str, seed: int, **backbone) -> tuple:
    """transformers' model and ours, with the same weights."""
    theirs = models.theirs(size, **backbone)
    models.redraw(theirs, seed)
    ours = models.ours(size, **backbone)
    state, _, _ = to_mmdet(Account(theirs.state_dict(), 'it'), HUGGINGFACE)
    ours.load_state_dict(state)
    return theirs, ours


@pytest.fixture(scope='module')
def tiny():
    return pair_of('t', 1)


@pytest.fixture
def in_float64(monkeypatch):
    """Let both models' fixed numbers have one precision: MMDetection's are float32, transformers' the weights'."""
    forward = Mask2FormerSinePositionEmbedding.forward
    monkeypatch.setattr(
        Mask2FormerSinePositionEmbedding,
        'forward',
        lambda self, shape, device, dtype, mask=None: forward(self, shape, device, torch.float32, mask).to(dtype),
    )
    points = partialmethod(MlvlPointGenerator.single_level_grid_priors, dtype=torch.float64)
    monkeypatch.setattr(MlvlPointGenerator, 'single_level_grid_priors', points)


def errors_of(pair: tuple, pixels: Tensor) -> tuple[float, float]:
    """The largest difference of any layer's class and mask logits; and how near to 0 a logit of an attention's mask is.

    A key whose logit is below 0 is not attended to. So a difference as large as the second number can change all.
    """
    theirs, ours = (model.to(pixels.dtype) for model in pair)
    expected = models.predictions_of_theirs(theirs, pixels)
    found = models.predictions_of_ours(ours, pixels)
    assert len(expected) == len(found) == 10
    for classes, masks in expected:
        assert classes.std() > 0.5 and masks.std() > 0.5  # nothing is near to a constant
    pairs = zip(itertools.chain(*expected), itertools.chain(*found), strict=True)
    nearest = min(_of_attention(masks, layer).abs().min().item() for layer, (_, masks) in enumerate(expected[:-1]))
    return max((one - other).abs().max().item() for one, other in pairs), nearest


def _of_attention(masks: Tensor, layer: int) -> Tensor:
    """Masks [1, Q, h, w] at the size of the map that the next layer attends to: a 32nd, a 16th, an eighth, again."""
    size = [math.ceil(side / 2 ** (3 - layer % 3)) for side in masks.shape[-2:]]
    return functional.interpolate(masks, size, mode='bilinear')


@pytest.mark.parity
@pytest.mark.parametrize(('size', 'drawn'), [((149, 205), True), ((224, 163), False)], ids=['drawn', 'real'])
def test_every_layer_predicts_what_transformers_predicts(tiny, size, drawn, in_float64, request):
    shared = None if drawn else request.getfixturevalue('shared')
    error, nearest = errors_of(tiny, models.picture(shared, size))
    assert error < LIMITS[torch.float64] < nearest


@pytest.mark.parity
def test_in_float32_too(tiny):
    error, nearest = errors_of(tiny, models.picture(None, (224, 163)).float())
    assert error < LIMITS[torch.float32] and 2 * error < nearest


@pytest.fixture
def real_or_drawn(request):
    """The folder of real pictures; None where there is none, for a drawn one."""
    try:
        return request.getfixturevalue('shared')
    except pytest.skip.Exception:
        return None


@pytest.mark.parity
@pytest.mark.parametrize('size', SHALLOW)
def test_the_other_sizes_do_with_fewer_blocks(size, in_float64, real_or_drawn):
    pair = pair_of(size, 1, depths=SHALLOW[size])
    error, nearest = errors_of(pair, models.picture(real_or_drawn, (101, 141)))
    assert error < LIMITS[torch.float64] < nearest


@pytest.mark.parity
def test_instances_are_those_of_transformers(tiny):
    """transformers makes masks of 384 x 384 before it scores them, and so do we of such a picture."""
    theirs, ours = (model.float() for model in tiny)
    pixels, side = models.picture(None, (128, 160)).float(), (384, 384)
    classes, masks = models.predictions_of_theirs(theirs, pixels)[-1]
    output = SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks)
    (expected,) = Mask2FormerImageProcessor().post_process_instance_segmentation(output, 0.0, return_binary_maps=True)
    sample = DetDataSample(metainfo=dict(batch_input_shape=side, img_shape=side, ori_shape=side))
    with torch.no_grad():
        logits = ours.panoptic_head.predict(ours.extract_feat(pixels), [sample])
        found = ours.panoptic_fusion_head.predict(*logits, [sample], rescale=True)[0]['ins_results']
    assert len(expected['segments_info']) == found.masks.flatten(1).any(1).sum() > 90
    for segment, mask in zip(expected['segments_info'], expected['segmentation'].bool(), strict=True):
        same = (found.labels == segment['label_id']) & ((found.scores - segment['score']).abs() < 1e-5)
        assert ((found.masks[same] != mask).sum((1, 2)) <= 3).sum() == 1  # pixels


@pytest.mark.parametrize('form', ['huggingface', 'detectron2'])
@pytest.mark.parametrize('size', models.SWINS)
def test_every_tensor_of_a_full_model_fills_one_of_ours(size, form, on_meta):
    state = models.theirs(size).state_dict()
    state = models.in_detectron2(state) if form == 'detectron2' else state
    result = convert(state)
    assert result.source == form and result.config == f'configs/mask2former/mask2former_swin-{size}_coco.py'
    fit = match(models.ours(size), result.state)
    assert fit.complete and not fit.unexpected
    assert sorted([*result.used, *result.left]) == sorted(state)  # each once
    assert {name.rpartition('.')[2] for name in result.left} <= {'empty_weight', 'weight', 'bias'}
    assert len(result.added) == (sum(models.SWINS[size]['depths']) if form == 'huggingface' else 0)
    assert all(name.endswith('relative_position_index') for name in result.added)
    assert len(result.state) == len(fit.filled) and len(result.classes) == 80 and result.rows == tuple(range(80))
    assert result.notes == ("classes taken for COCO's (80 rows); name others with --classes",)
    assert settle(Config.fromfile(ROOT / result.config).model, result.settings) == ({}, [])


def test_a_file_of_transformers_is_read_as_its_model(tiny, tmp_path):
    theirs = tiny[0].float()
    theirs.save_pretrained(tmp_path)  # under the names of older versions
    content = read(tmp_path / 'model.safetensors')
    assert not set(content['state_dict']) <= set(theirs.state_dict())
    assert equal(convert(content).state, convert(theirs.state_dict()).state)


def test_a_file_of_detectron2_is_read_as_the_same_model(tiny, tmp_path):
    state = tiny[0].float().state_dict()
    arrays = {name: value.numpy() for name, value in models.in_detectron2(state).items()}
    content = {'model': arrays, '__author__': 'third_party', 'matching_heuristics': True}
    (tmp_path / 'model.pkl').write_bytes(pickle.dumps(content, protocol=4))
    result = convert(read(tmp_path / 'model.pkl'))
    assert result.source == 'detectron2' and equal(result.state, convert(state).state)
    older = [
        name.replace('query_feat', 'static_query').replace('sem_seg_head.pixel_decoder.', 'sem_seg_head.')
        for name in arrays
    ]
    renamed = dict(zip(older, map(torch.from_numpy, arrays.values()), strict=True))
    assert equal(convert(renamed).state, result.state)


@pytest.mark.parametrize('form', ['huggingface', 'detectron2'])
def test_rows_of_classes_go_where_the_config_has_them_by_name(tiny, form):
    state = dict(tiny[0].state_dict())
    state |= {
        'class_predictor.weight': torch.arange(4.0)[:, None].expand(4, 256),
        'class_predictor.bias': torch.arange(4.0),
    }
    state = models.in_detectron2(state) if form == 'detectron2' else state
    result = convert(state, classes=['Red', 'green', 'BLUE'], order=['blue', 'red', 'green'])
    assert result.classes == ('blue', 'red', 'green') and result.rows == (2, 0, 1)
    for part in ('weight', 'bias'):
        values = result.state[f'panoptic_head.cls_embed.{part}']
        assert values.reshape(4, -1)[:, 0].tolist() == [2, 0, 1, 3]  # no object stays the last


def test_armbenchs_two_classes_in_a_swin_b_have_a_config_of_their_own(on_meta):
    result = convert(models.theirs('b', classes=2).state_dict(), classes=['Tote', 'Object'])
    assert result.classes == ('Object', 'Tote') and result.rows == (1, 0)
    assert (ROOT / result.config).is_file() and '/armbench/' in result.config


def test_cocos_instances_fit_armbenchs_config_but_for_the_classes(on_meta):
    ours = models.built('configs/armbench/mask2former_swin-b-p4-w12-384_coco-instance_armbench.py')
    fit = match(ours, convert(models.theirs('b').state_dict()).state)
    assert fit.left_out == ['panoptic_head.cls_embed'] and not fit.missing and not fit.unexpected


def test_other_numbers_of_queries_are_said(on_meta):
    state = models.theirs('t').state_dict()
    few = {name: value[:7] if 'queries_' in name else value for name, value in state.items()}
    result = convert(few)
    given, notes = settle(Config.fromfile(ROOT / result.config).model, result.settings)
    assert given == {'model.panoptic_head.num_queries': 7}
    assert notes == ['it has 7 queries, and the config 100: --cfg-options model.panoptic_head.num_queries=7']
