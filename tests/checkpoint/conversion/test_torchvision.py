"""torchvision's weights under MMDetection's names and back: each tensor, each row, and what is refused."""

import re

import pytest
import safetensors.torch
import torch
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import mobilenet_backbone, resnet_fpn_backbone

from damamba.checkpoint import CheckpointError, read
from damamba.checkpoint.conversion import convert, restore
from tests.checkpoint.helpers import equal, prefixed, save

FROZEN, SECOND, TRAINED = 'frozen', 'second', 'trained'
COCO = detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta['categories']  # a name for each of the 91 rows, or N/A
CLASSES = ('bolt', 'nut', 'washer')
SCORES, BOXES = 'roi_heads.box_predictor.cls_score.bias', 'roi_heads.box_predictor.bbox_pred.bias'
MASKS = 'roi_heads.mask_predictor.mask_fcn_logits.bias'
OF_CLASSES = (BOXES, BOXES.replace('bias', 'weight'), MASKS, MASKS.replace('bias', 'weight'))


def build(kind, rows):
    options = dict(weights=None, weights_backbone=None, num_classes=rows)
    if kind == SECOND:
        return detection.maskrcnn_resnet50_fpn_v2(**options)
    if kind == TRAINED:
        return detection.maskrcnn_resnet50_fpn(**options)
    return detection.MaskRCNN(resnet_fpn_backbone(backbone_name='resnet50', weights=None), rows)


def hollow(make, *args):
    """A model's names and shapes, without its values."""
    with torch.device('meta'):
        return make(*args).state_dict()


def state_of(kind, rows=4):
    """Its tensors, all of them drawn; counters have counted."""
    drawn = torch.Generator().manual_seed(rows)
    return {
        name: torch.randn(value.shape, generator=drawn) if value.is_floating_point() else torch.tensor(7)
        for name, value in hollow(build, kind, rows).items()
    }


@pytest.fixture(scope='module')
def frozen():
    return state_of(FROZEN)


def old(name):
    """What torchvision called it before 0.13, as in COCO's first weights."""
    name = re.sub(r'(fpn\.(inner|layer)_blocks\.\d)\.0\.', r'\1.', name)
    name = name.replace('rpn.head.conv.0.0.', 'rpn.head.conv.')
    return re.sub(r'mask_head\.(\d)\.0\.', lambda found: f'mask_head.mask_fcn{int(found[1]) + 1}.', name)


@pytest.mark.parametrize('kind', [FROZEN, TRAINED, SECOND])
def test_there_and_back_every_number_is_the_same_but_for_the_rows_of_background(kind, tmp_path):
    state = state_of(kind)
    converted = convert(state, classes=CLASSES, order=('nut', 'WASHER', 'bolt'))
    assert converted.rows == (2, 3, 1) and converted.classes == ('nut', 'WASHER', 'bolt')
    assert set(converted.used) == set(state) and len(converted.left) == 2
    back = restore(converted.state, converted.classes, CLASSES)
    for name in OF_CLASSES:
        rows = len(state[name]) // 4
        assert not back.state[name][:rows].any()
        state[name] = torch.cat([torch.zeros_like(state[name][:rows]), state[name][rows:]])
    assert equal({name: back.state[name] for name in state}, state) and len(back.state) == len(state)
    with torch.device('meta'):
        build(kind, 4).load_state_dict(back.state, strict=True, assign=True)
    lost = [name for name in converted.state if name.endswith('num_batches_tracked')] if kind == FROZEN else []
    assert list(converted.added) == list(back.left) == lost


@pytest.mark.parametrize(
    ('kind', 'epsilon'),
    [(FROZEN, 0.0), (FROZEN, 1e-5), (FROZEN, None), (TRAINED, 1e-5), (TRAINED, 0.0), (SECOND, 1e-5)],
)
def test_the_model_that_is_named_takes_the_weights_and_computes_with_their_epsilon(kind, epsilon, monkeypatch):
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', lambda *args, **kwargs: pytest.fail('fetches'))
    back = restore(convert(hollow(build, kind, 4) | counted(kind), classes=CLASSES).state, CLASSES)
    found = {}
    with torch.device('meta'):
        exec('\n'.join(back.builder(epsilon)), found)
        found['model'].load_state_dict(back.state, strict=True, assign=True)
    norms = [module for module in found['model'].modules() if hasattr(module, 'running_var')]
    assert {norm.eps for norm in norms} == {1e-5 if epsilon is None else epsilon}
    with pytest.raises(CheckpointError, match='an epsilon of 0.1 is not that of'):
        restore(convert(hollow(build, SECOND, 4), classes=CLASSES).state, CLASSES).builder(0.1)


def counted(kind):
    names = [name for name in hollow(build, kind, 4) if name.endswith('num_batches_tracked')]
    return {name: torch.tensor(7) for name in names}


def test_cocos_rows_go_to_its_classes_by_category_id_and_come_back():
    state = state_of(FROZEN, 91)
    state |= {SCORES: torch.arange(91.0), BOXES: torch.arange(364.0), MASKS: torch.arange(91.0)}
    converted = convert(state)
    rows = [row for row, name in enumerate(COCO) if row and name != 'N/A']
    absent = [row for row, name in enumerate(COCO) if name == 'N/A']
    assert converted.classes == tuple(COCO[row] for row in rows) and converted.rows == tuple(rows)
    assert converted.state['roi_head.bbox_head.fc_cls.bias'].tolist() == [*rows, 0, *absent]
    assert converted.state['roi_head.mask_head.conv_logits.bias'].tolist() == rows
    corners = converted.state['roi_head.bbox_head.fc_reg.bias'].view(80, 4).tolist()
    assert corners == [[4 * row, 4 * row + 1, 4 * row + 2, 4 * row + 3] for row in rows]
    back = restore(converted.state, converted.classes)
    assert torch.equal(back.state[SCORES], state[SCORES])
    assert back.state[MASKS].tolist() == [row if row in rows else 0 for row in range(91)]
    assert restore(converted.state).rows == back.rows and back.count == 91


def test_armbenchs_classes_are_known_and_go_to_the_order_of_its_config():
    state = state_of(FROZEN, 3)
    state[SCORES] = torch.tensor([0.0, 1, 2])  # background, Tote, Object
    converted = convert({'epoch': 9, 'model_state_dict': state, 'optimizer_state_dict': {}})
    assert converted.classes == ('Object', 'Tote')
    assert converted.state['roi_head.bbox_head.fc_cls.bias'].tolist() == [2, 1, 0]
    assert 'CC BY 4.0' in converted.licence and 'armbench' in converted.config
    back = restore(converted.state, converted.classes)
    assert back.classes == ('Tote', 'Object') and torch.equal(back.state[SCORES], state[SCORES])


@pytest.mark.parametrize('key', ['model_state_dict', 'model', 'state_dict', None])
@pytest.mark.parametrize('rename', [lambda name: name, old, 'module.{}'.format], ids=['new', 'old', 'parallel'])
def test_it_does_not_matter_where_the_weights_lie_and_in_which_version_of_the_names(key, rename, frozen):
    state = {rename(name): value for name, value in frozen.items()}
    converted = convert({key: state, 'epoch': 3} if key else state, classes=CLASSES)
    assert equal(converted.state, convert(frozen, classes=CLASSES).state)
    assert set(converted.used) == {name.removeprefix('module.') for name in state}


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_files_are_read(ending, frozen, tmp_path):
    path = tmp_path / f'weights.{ending}'
    safetensors.torch.save_file(frozen, path) if ending == 'safetensors' else save(frozen, path)
    assert equal(convert(read(path), classes=CLASSES).state, convert(frozen, classes=CLASSES).state)


@pytest.mark.parametrize(
    ('kind', 'rows', 'asked'),
    [
        (FROZEN, 4, {'backbone.norm_cfg.eps': None, 'roi_head.bbox_head.absent': 0}),
        (TRAINED, 91, {'backbone.norm_cfg.eps': 1e-5, 'roi_head.bbox_head.absent': 10}),
        (SECOND, 81, {'roi_head.bbox_head.absent': 0}),
    ],
)
def test_the_config_is_asked_for_the_epsilon_and_the_rows_that_the_weights_have(kind, rows, asked):
    converted = convert(hollow(build, kind, rows), classes=CLASSES if rows == 4 else None)
    assert {it.key: it.value for it in converted.settings} == asked
    guessed = f"classes taken for COCO's ({rows - 1} rows); name others with --classes"
    assert converted.notes == (() if rows == 4 else (guessed,))


# Refused

EMPTY = dict(weights=None, weights_backbone=None)
OTHERS = {
    'Faster R-CNN, which has no masks': lambda: detection.fasterrcnn_resnet50_fpn(**EMPTY),
    'Keypoint R-CNN': lambda: detection.keypointrcnn_resnet50_fpn(**EMPTY),
    'RetinaNet': lambda: detection.retinanet_resnet50_fpn(**EMPTY),
    'FCOS': lambda: detection.fcos_resnet50_fpn(**EMPTY),
    'SSD': lambda: detection.ssd300_vgg16(**EMPTY),
    'a ResNet of 3, 4, 23, 3 blocks': lambda: mask_rcnn(resnet_fpn_backbone(backbone_name='resnet101', weights=None)),
    'a ResNet of 3, 4, 6, 3 blocks': lambda: mask_rcnn(resnet_fpn_backbone(backbone_name='resnet34', weights=None)),
    'a backbone that is no ResNet': lambda: mask_rcnn(
        mobilenet_backbone(backbone_name='mobilenet_v3_large', weights=None, fpn=True)
    ),
}


def mask_rcnn(backbone):
    return detection.MaskRCNN(backbone, 4)


@pytest.mark.parametrize('kind', OTHERS)
def test_another_architecture_is_named(kind):
    with pytest.raises(CheckpointError, match=f"torchvision's .*{kind}.*wanted Mask R-CNN with ResNet-50"):
        convert(hollow(OTHERS[kind]))


def without(name):
    return lambda state: state.pop(name)


def put(name, *shape):
    return lambda state: state.update({name: torch.zeros(shape)})


def cast(change):
    return lambda state: state.update({PATCHES: change(state[PATCHES])})


PATCHES = 'backbone.body.conv1.weight'
NO_NAMES = ('abc', [1, 2, 3], [None, 'b', 'c'], 5, ['a\x1b[2J', 'b', 'c'])


@pytest.mark.parametrize(
    ('harm', 'options', 'text'),
    [
        (without('rpn.head.bbox_pred.bias'), {}, 'lacks rpn.head.bbox_pred.bias'),
        (without(SCORES), {}, f'lacks {SCORES}'),
        (put('backbone.body.conv1.weight', 64, 4, 7, 7), {}, 'conv1.weight of 64x4x7x7; wanted 64x3x7x7'),
        (put(BOXES, 12), {}, f'{BOXES} of 12; wanted 16'),
        (put('roi_heads.extra.weight', 1), {}, 'should not have roi_heads.extra.weight'),
        (cast(torch.Tensor.to_sparse), {}, r'conv1.weight as float32 \(sparse_coo\); wanted a dense one of'),
        (cast(lambda it: it.to(torch.float8_e4m3fn)), {}, 'conv1.weight as float8_e4m3fn; '),
        (cast(lambda it: it + 0j), {}, 'conv1.weight as complex64; '),
        (cast(torch.Tensor.bool), {}, 'conv1.weight as bool; '),
        (put('backbone.body.bn1.num_batches_tracked'), {}, 'tracked as float32; wanted a dense one of int64'),
        (put(f'{SCORES[:-4]}weight', 0, 1024), {}, 'cls_score.weight of 0x1024; wanted Nx1024'),
        (put(f'{SCORES[:-4]}weight', 1, 1024), {}, 'a row for background, and none for a class'),
        *((dict, dict(classes=it), 'no list of names') for it in NO_NAMES),
        (dict, dict(classes=None), 'for 3 classes: name them in their order, by --classes'),
        (dict, dict(classes=('a', 'b')), 'for 3 classes beside background, and 2 are named: a, b'),
        (dict, dict(classes=('a', 'b', 'A')), 'named twice: a, b, A'),
        (dict, dict(order=('bolt', 'nut')), r'know 3 classes \(washer only here\), the config 2 classes'),
        (dict, dict(order=('bolt', 'nut', 'gear')), r'washer only here.*gear only here'),
        (dict.clear, {}, 'the file is empty, and no weights by themselves or under model'),
    ],
)
def test_what_does_not_fit_is_one_sentence(harm, options, text, frozen):
    state = dict(frozen)
    harm(state)
    with pytest.raises(CheckpointError, match=text) as error:
        convert(state, **{'classes': CLASSES, **options})
    assert '\n' not in str(error.value)


def test_weights_of_ours_are_not_anyones(frozen):
    with pytest.raises(CheckpointError, match='of another model .* wanted weights in the form of torchvision'):
        convert(convert(frozen, classes=CLASSES).state)
    with pytest.raises(CheckpointError, match='caffe2 is no known source of weights: .*torchvision'):
        convert(frozen, 'caffe2')
    with pytest.raises(CheckpointError, match='lacks roi_head.mask_head.conv_logits.weight'):
        restore(prefixed('x.', frozen))
