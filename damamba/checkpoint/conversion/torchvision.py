"""torchvision's Mask R-CNN with ResNet-50 and FPN, first and second version.

torchvision counts background as class 0, MMDetection as the last; it has boxes and masks for background too, and COCO's
detectors have rows for the 10 category ids that stand for nothing. These compete in the softmax, so they stay, behind
the background's row (``absent`` in the config).

Sources: torchvision's models/detection/mask_rcnn.py and faster_rcnn.py; amzn/armbench, segmentation/test_mask_rcnn.py.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from damamba.checkpoint.conversion.coco import ABSENT, CLASSES
from damamba.checkpoint.conversion.parts import Account, Converted, Setting, Source, places, taken_for
from damamba.checkpoint.conversion.torchvision_layout import COUNTER, DEPTHS, layout
from damamba.checkpoint.files import CheckpointError

NAME = 'torchvision'
WANTED = 'wanted Mask R-CNN with ResNet-50 and FPN, maskrcnn_resnet50_fpn or maskrcnn_resnet50_fpn_v2'
ARMBENCH = ('Tote', 'Object')  # in the order of its categories' ids
SCORES = 'roi_heads.box_predictor.cls_score'
BOXES = 'roi_heads.box_predictor.bbox_pred'
MASKS = 'roi_heads.mask_predictor.mask_fcn_logits'
OURS = {
    SCORES: 'roi_head.bbox_head.fc_cls',
    BOXES: 'roi_head.bbox_head.fc_reg',
    MASKS: 'roi_head.mask_head.conv_logits',
}
CONFIGS = {1: 'configs/torchvision/mask_rcnn_r50_fpn_coco.py', 2: 'configs/torchvision/mask_rcnn_r50_fpn_v2_coco.py'}
ARMBENCH_CONFIG = 'configs/armbench/mask_rcnn_r50_fpn_torchvision_armbench.py'
ARMBENCH_ORDER = ('Object', 'Tote')  # of that config
LICENCE = (
    "torchvision's code is under BSD-3-Clause; its README (https://github.com/pytorch/vision, 'Pre-trained Model "
    "License') says that weights may have terms of their own, from the data they were trained on"
)
ARMBENCH_LICENCE = "ARMBench's data is under CC BY 4.0 (http://armbench.com); no licence is named for its weights alone"
EPSILON = 'backbone.norm_cfg.eps'
FROZEN = Setting(
    EPSILON,
    None,
    1e-5,
    'the file does not say the epsilon of its frozen batch normalisation, and the config has {}: 0 is right if it '
    "began from torchvision's COCO weights, as ARMBench's did, 1e-5 if from ImageNet's; --cfg-options "
    f'model.{EPSILON}=1e-5 sets it',
)
TRAINED = Setting(
    EPSILON, 1e-5, 1e-5, 'its batch normalisation was trained, with an epsilon of 1e-5, and the config has {}:'
)


class Rows(NamedTuple):
    """Which rows of torchvision's, background 0, belong to our classes in their order, and which to none."""

    classes: tuple[int, ...]
    absent: tuple[int, ...]

    @property
    def scores(self) -> list[int]:
        """Those of the scores in our order."""
        return [*self.classes, 0, *self.absent]

    @property
    def count(self) -> int:
        """How many torchvision has."""
        return len(self.classes) + len(self.absent) + 1


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of one of torchvision's detectors, of whatever kind."""
    return any(name.startswith(('backbone.body.', 'backbone.fpn.', 'head.classification_head.')) for name in state)


def convert(state: Mapping[str, Tensor], classes: Sequence[str] | None, order: Sequence[str] | None) -> Converted:
    """Weights of torchvision's under MMDetection's names (:func:`damamba.checkpoint.conversion.convert`)."""
    names = {_modern(name): name for name in state}
    state = {modern: state[name] for modern, name in names.items()}
    _refuse_others(state)
    version = 2 if 'backbone.fpn.inner_blocks.0.1.weight' in state else 1
    account = Account(state, f"torchvision's Mask R-CNN (v{version})")
    scores = account.take(f'{SCORES}.weight', (None, 1024))
    account.used.pop()  # it is taken again, with the other rows
    guessed = () if classes else (taken_for('ARMBench' if len(scores) == 3 else 'COCO', len(scores) - 1),)
    config, order, rows = _settled(len(scores) - 1, version, classes, order)
    result, added = {}, {}
    for entry in layout(version):
        if entry.theirs.endswith(COUNTER) and entry.theirs not in state:
            result[entry.ours] = torch.zeros((), dtype=torch.int64)
            added[entry.ours] = '0: the batch normalisation of the source is frozen, and counts nothing'
        else:
            result[entry.ours] = account.take(entry.theirs, entry.shape, entry.kinds)
    result |= _classes(account, rows)
    account.close()
    trained = any(name.endswith(COUNTER) for name in account.used)
    return Converted(
        source=NAME,
        owner=NAME,
        variant=described(version),
        state=result,
        used=[names[name] for name in account.used],
        left={names.get(name, name): reason for name, reason in account.left.items()},
        added=added,
        classes=order,
        rows=rows.classes,
        config=config,
        licence=ARMBENCH_LICENCE if config == ARMBENCH_CONFIG else LICENCE,
        notes=guessed,
        settings=_settings(version, trained, len(rows.absent)),
    )


SOURCE = Source(NAME, matches, convert)


def described(version: int) -> str:
    """The model of a version."""
    return f'Mask R-CNN with ResNet-50 and FPN (v{version})'


def _settings(version: int, trained: bool, absent: int) -> tuple[Setting, ...]:
    why = f'it scores {absent or "no"} category ids beside those of its classes, and the config {{}}:'
    others = Setting('roi_head.bbox_head.absent', absent, 0, why)
    return (others,) if version == 2 else (TRAINED if trained else FROZEN, others)


def _modern(name: str) -> str:
    """The name that torchvision since 0.13 gives what older files, COCO's first weights among them, call otherwise."""
    name = re.sub(r'^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$', r'\1.0.\2', name)
    name = re.sub(r'^rpn\.head\.conv\.(weight|bias)$', r'rpn.head.conv.0.0.\1', name)
    old = re.fullmatch(r'(roi_heads\.mask_head)\.mask_fcn([1-4])\.(weight|bias)', name)
    return f'{old[1]}.{int(old[2]) - 1}.0.{old[3]}' if old else name


def _refuse_others(state: Mapping[str, Tensor]) -> None:
    """Name the architecture of what can't be converted.

    Raises:
        CheckpointError: it is not a Mask R-CNN with ResNet-50.
    """
    kinds = {
        'head.regression_head.bbox_ctrness.': 'FCOS',
        'head.classification_head.module_list.': 'SSD',
        'head.classification_head.': 'RetinaNet',
        'roi_heads.keypoint_head.': 'Keypoint R-CNN',
        'roi_heads.mask_head.': None,
        'roi_heads.box_head.': 'Faster R-CNN, which has no masks',
        '': 'backbone with FPN alone',
    }
    kind = next(kind for prefix, kind in kinds.items() if any(name.startswith(prefix) for name in state))
    if kind:
        raise CheckpointError(f"these are weights of torchvision's {kind}; {WANTED}")
    depths = [len({name.split('.')[3] for name in state if _in_layer(name, number)}) for number in (1, 2, 3, 4)]
    if tuple(depths) != DEPTHS or 'backbone.body.layer1.0.conv3.weight' not in state:
        found = f'a ResNet of {", ".join(map(str, depths))} blocks' if any(depths) else 'a backbone that is no ResNet'
        raise CheckpointError(f"these are weights of torchvision's Mask R-CNN with {found}; {WANTED}")


def _in_layer(name: str, number: int) -> bool:
    return name.startswith(f'backbone.body.layer{number}.')


def _settled(
    count: int, version: int, classes: Sequence[str] | None, order: Sequence[str] | None
) -> tuple[str, tuple[str, ...], Rows]:
    """The config, its classes in their order, and their rows, of weights for so many classes."""
    config, ours, ids, absent = CONFIGS[version], None, range(1, count + 1), ()
    if count == len(CLASSES) + len(ABSENT) and len(classes or CLASSES) == len(CLASSES):
        ids, absent, classes = tuple(CLASSES), ABSENT, classes or tuple(CLASSES.values())
    elif count == len(CLASSES):
        classes = classes or tuple(CLASSES.values())
    elif count == len(ARMBENCH):
        classes = classes or ARMBENCH
    if not count:
        raise CheckpointError('these weights have a row for background, and none for a class')
    if not classes:
        raise CheckpointError(f'these weights are for {count} classes: name them in their order, by --classes')
    if len(classes) != len(ids):
        named = f'{len(classes)} are named: {", ".join(classes)}'
        raise CheckpointError(f'these weights are for {count} classes beside background, and {named}')
    if version == 1 and sorted(map(str.casefold, classes)) == sorted(map(str.casefold, ARMBENCH)):
        config, ours = ARMBENCH_CONFIG, ARMBENCH_ORDER
    order = tuple(order or ours or classes)
    return config, order, Rows(tuple(ids[place] for place in places(classes, order)), absent)


def _classes(account: Account, rows: Rows) -> dict[str, Tensor]:
    """The layers that have a row for each class."""
    result = {}
    for part, last in (('weight', (1024,)), ('bias', ())):
        scores = account.take(f'{SCORES}.{part}', (rows.count, *last))
        boxes = account.take(f'{BOXES}.{part}', (4 * rows.count, *last)).unflatten(0, (-1, 4))
        masks = account.take(f'{MASKS}.{part}', (rows.count, *((256, 1, 1) if last else ())))
        result[f'{OURS[SCORES]}.{part}'] = scores[rows.scores]
        result[f'{OURS[BOXES]}.{part}'] = boxes[list(rows.classes)].flatten(0, 1)
        result[f'{OURS[MASKS]}.{part}'] = masks[list(rows.classes)]
    unread = 'of background' + (f' and of {len(rows.absent)} category ids without a class' if rows.absent else '')
    for name in (BOXES, MASKS):
        account.leave(f'{name}, {named_rows((0, *rows.absent))}', unread)
    return result


def named_rows(numbers: Sequence[int]) -> str:
    """Some rows of a layer, as one writes them."""
    return f'row{"s" if len(numbers) > 1 else ""} {", ".join(map(str, numbers))}'
