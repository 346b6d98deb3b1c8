"""Weights in whatever a trainer put around them: the same conversion, and what was taken off is said."""

import pytest
import torch
from torchvision.models import detection

from damamba.checkpoint.conversion import convert
from tests.checkpoint.conversion import mask2formers as models
from tests.checkpoint.helpers import error_of, prefixed

COUNTER = torch.tensor(5)
MEAN, STD = torch.tensor([[[123.675]], [[116.28]], [[103.53]]]), torch.tensor([[[58.395]], [[57.12]], [[57.375]]])


@pytest.fixture(scope='module')
def state():
    with torch.device('meta'):
        return detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3).state_dict()


WRAPPINGS = {
    'Lightning': lambda state: {'state_dict': prefixed('model.', state), 'epoch': 1},
    'torch.compile in DDP': lambda state: {'model_state_dict': prefixed('module._orig_mod.', state)},
    'DDP in torch.compile': lambda state: prefixed('_orig_mod.module.', state),
    'AveragedModel': lambda state: {'model_ema': {'n_averaged': COUNTER, **prefixed('module.', state)}},
    'net': lambda state: {'net': state, 'epoch': 1},
    'one in the other': lambda state: {'model': {'state_dict': prefixed('net.', state), 'step': 3}},
    'a config before': lambda state: {'model': {'name': 'maskrcnn'}, 'state_dict': state},
    'two of them': lambda state: {'model_ema': prefixed('module.', state), 'model': state, 'ema_state': state},
    'more beside': lambda state: prefixed('model.', state) | {'loss.weight': COUNTER},
}


@pytest.mark.parametrize('name', WRAPPINGS)
def test_what_trainers_put_around_torchvisions_weights_is_taken_off(name, state):
    plain, found = convert(state), convert(WRAPPINGS[name](state))
    assert all(found.state[name] is value for name, value in plain.state.items() if name.startswith('neck.'))
    assert (found.state.keys(), found.used, found.rows) == (plain.state.keys(), plain.used, plain.rows)
    left = {key: reason for key, reason in found.left.items() if key not in plain.left}
    notes = [note for note in found.notes if note not in plain.notes]
    assert left == {
        'AveragedModel': {'n_averaged': 'a counter of what was averaged, which no layer reads'},
        'more beside': {'loss.weight': 'it lies outside of model., where the weights of the model are'},
    }.get(name, {})
    assert notes == {
        'two of them': ['the weights under model were taken, and not those under model_ema and ema_state']
    }.get(name, [])


@pytest.mark.parametrize('form', ['huggingface', 'detectron2'])
def test_mask2former_keeps_a_prefix_of_its_own_and_leaves_the_mean_of_pixels(form, on_meta):
    state = models.theirs('t', classes=2).state_dict()
    state = models.in_detectron2(state) if form == 'detectron2' else state
    found = convert(
        prefixed('model.', state) | {'model.pixel_mean': MEAN, 'model.pixel_std': STD / 58}, None, ['a', 'b']
    )
    assert set(found.used) | {name for name in found.left if not name.endswith(('mean', 'std'))} == set(state)
    assert found.left['model.pixel_mean'] == 'the mean of pixels, which the config has, too'
    assert 'the std of pixels, [1.007, 0.985, 0.989]: set ' in found.left['model.pixel_std']


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (
            {'optimizer': {}, 'epoch': 3},
            'the file holds optimizer, epoch, and no weights by themselves or under model, ',
        ),
        ({}, 'the file is empty, and no weights by themselves or under model, '),
        (
            {'model': {'net': {'fc.weight': COUNTER}}},
            '1 tensors of another model (fc.weight), under model.net; wanted ',
        ),
        ({'model.fc': COUNTER, 'b': COUNTER}, 'these are 2 tensors of another model (model.fc, b); wanted '),
    ],
)
def test_what_no_source_knows_is_named_with_its_place(content, text):
    assert text in error_of(convert, content)


def test_a_file_that_holds_itself_comes_to_an_end():
    content = {'epoch': 1}
    content['model'] = content
    assert error_of(convert, content).startswith('the file holds epoch, model, and no weights')
