"""Weights in the form of Hugging Face or detectron2 that can't be converted: one sentence that names what was met."""

import pytest
import torch

from damamba.checkpoint.conversion import convert, swin
from tests.checkpoint.conversion import mask2formers as models
from tests.checkpoint.helpers import error_of

NAMES = {
    'huggingface': {
        'what': "Hugging Face's Mask2Former",
        'query': 'model.transformer_module.queries_features.weight',
        'classes': 'class_predictor',
        'patches': 'model.pixel_level_module.encoder.swin.embeddings.patch_embeddings.projection.weight',
        'table': 'model.pixel_level_module.encoder.swin.encoder.layers.0.blocks.0.attention.relative_position_bias.'
        'relative_position_bias_table',
        'norm': 'model.transformer_module.decoder.layers.8.final_layer_norm.bias',
        'more': 'model.transformer_module.input_projections.0.weight',
    },
    'detectron2': {
        'what': "detectron2's Mask2Former",
        'query': 'sem_seg_head.predictor.query_feat.weight',
        'classes': 'sem_seg_head.predictor.class_embed',
        'patches': 'backbone.patch_embed.proj.weight',
        'table': 'backbone.layers.0.blocks.0.attn.relative_position_bias_table',
        'norm': 'sem_seg_head.predictor.transformer_ffn_layers.8.norm.bias',
        'more': 'sem_seg_head.predictor.input_proj.0.weight',
    },
}


@pytest.fixture(params=NAMES)
def form(request):
    return request.param


@pytest.fixture
def names(form):
    return NAMES[form]


@pytest.fixture
def state(form, on_meta):
    return state_of(form, models.theirs('t'))


def state_of(form, model):
    return models.in_detectron2(model.state_dict()) if form == 'detectron2' else dict(model.state_dict())


def test_a_tensor_that_is_missing_or_too_many_or_of_another_shape_is_named(state, names):
    what, norm, more = names['what'], names['norm'], names['more']
    assert error_of(convert, {n: v for n, v in state.items() if n != norm}).startswith(f'{what} lacks {norm}')
    assert error_of(convert, state | {norm: torch.ones(9)}) == f'{what} has {norm} of 9; wanted 256'
    assert error_of(convert, state | {more: torch.ones(9)}).startswith(f'{what} should not have {more}: ')


def test_positions_of_another_order_are_refused(on_meta):
    state = state_of('detectron2', models.theirs('t'))
    name = 'backbone.layers.0.blocks.1.attn.relative_position_index'
    text = error_of(convert, state | {name: torch.zeros(49, 49, dtype=torch.int64, device='cpu')})
    assert text == f"detectron2's Mask2Former has {name} that is not of a window of 7 x 7"


def test_another_backbone_is_no_swin(state, names):
    state = {name: value for name, value in state.items() if name != names['patches']}
    assert error_of(convert, state) == 'the backbone is no Swin of four stages; wanted Mask2Former with Swin'


@pytest.mark.parametrize(
    ('name', 'shape', 'text'),
    [
        ('table', (199**2, 3), 'windows of 100, of which no config is there'),
        ('patches', (), 'of another shape than a Swin'),
        ('classes', (0, 256), 'of 0x256; wanted NxN'),
        ('classes', (1, 256), 'none for a class'),
    ],
)
def test_sizes_are_judged_before_anything_is_made_of_them(name, shape, text, state, names, monkeypatch):
    made = swin.index_of_positions
    monkeypatch.setattr(swin, 'index_of_positions', lambda window: made(min(window, 12)))
    bias = {f'{names["classes"]}.bias': torch.zeros(shape[:1])} if name == 'classes' else {}
    weight = f'{names[name]}.weight' if bias else names[name]
    assert text in error_of(convert, state | bias | {weight: torch.zeros(shape)})


def test_a_swin_of_other_sizes_is_told_which_there_are(form, on_meta):
    text = error_of(convert, state_of(form, models.theirs('t', depths=(2, 2, 2, 2))))
    assert 'a Swin of 96 channels, depths 2, 2, 2, 2 and windows of 7, of which no config is there' in text
    assert 'Swin-L has 192 channels, depths 2, 2, 18, 2 and windows of 12' in text


def test_maskformer_is_called_by_its_name(form, state, names):
    del state[names['query']]
    assert (
        error_of(convert, state)
        == f'these are weights of MaskFormer in the form of {form}; wanted Mask2Former with Swin'
    )


@pytest.mark.parametrize(
    ('tensor', 'source', 'what'),
    [
        ('proposal_generator.rpn_head.conv.weight', 'detectron2', 'R-CNN'),
        ('backbone.res2.0.conv1.weight', 'detectron2', 'another model'),
        ('model.task_encoder.task_mlp.layers.0.0.weight', 'huggingface', 'OneFormer'),
    ],
)
def test_other_models_of_the_sources_are_refused(tensor, source, what):
    state = {tensor: torch.ones(1), 'model.pixel_level_module.encoder.x': torch.ones(1)}
    state = state if source == 'huggingface' else {tensor: torch.ones(1)}
    assert error_of(convert, state).startswith(f'these are weights of {what} in the form of {source}; ')


def test_the_form_that_is_asked_for_must_be_the_files(form, state):
    other = next(name for name in NAMES if name != form)
    assert error_of(convert, state, other).endswith(f'; wanted weights in the form of {other}')


def test_classes_that_are_not_cocos_must_be_named(form, on_meta):
    state = state_of(form, models.theirs('t', classes=3))
    assert error_of(convert, state).startswith(
        'these weights are for 3 classes: name them in their order, by --classes'
    )
    assert error_of(convert, state, None, ['a', 'b']) == 'these weights are for 3 classes, and 2 are named: a, b'
    assert 'both must name the same classes' in error_of(convert, state, None, ['a', 'b', 'c'], ['a', 'b', 'd'])


def test_a_panoptic_model_is_no_model_of_instances(form, on_meta):
    assert 'for 133 things and stuff (panoptic)' in error_of(convert, state_of(form, models.theirs('t', classes=133)))
