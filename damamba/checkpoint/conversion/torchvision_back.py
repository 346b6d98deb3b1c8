"""Mask R-CNN with ResNet-50 and FPN of ours under torchvision's names, and the model of torchvision's that takes it.

torchvision's own builders freeze the batch normalisation only where they fetch weights: a model without any, but
frozen, is made of its parts.

Sources: torchvision's models/detection/mask_rcnn.py, backbone_utils.py and _utils.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from damamba.checkpoint.conversion.coco import ABSENT, CLASSES
from damamba.checkpoint.conversion.parts import Account, places
from damamba.checkpoint.conversion.torchvision import ARMBENCH, BOXES, MASKS, OURS, SCORES, Rows, described, named_rows
from damamba.checkpoint.conversion.torchvision_layout import COUNTER, layout
from damamba.checkpoint.files import CheckpointError

DEFAULT = 1e-5  # torchvision's epsilon
IMPORTS = (
    'from torchvision.models.detection import MaskRCNN',
    'from torchvision.models.detection.backbone_utils import resnet_fpn_backbone',
)
OVERWRITE = 'from torchvision.models.detection._utils import overwrite_eps'
FROZEN = "model = MaskRCNN(resnet_fpn_backbone(backbone_name='resnet50', weights=None), num_classes={})"
TRAINED = 'model = {}(weights=None, weights_backbone=None, num_classes={})'


@dataclass(frozen=True)
class Restored:
    """Weights under torchvision's names."""

    version: int  # of torchvision's Mask R-CNN
    frozen: bool  # whether its batch normalisation is
    state: dict[str, Tensor]
    left: dict[str, str]  # names of ours, and why torchvision has none of them
    added: dict[str, str]  # what torchvision has beside, and what it was filled with
    classes: tuple[str, ...]  # in torchvision's order, from row 1
    rows: tuple[int, ...]  # where each of our classes stands in it
    count: int  # of its rows, with background

    @property
    def variant(self) -> str:
        """The model."""
        return described(self.version)

    def builder(self, epsilon: float | None) -> list[str]:
        """The Python that makes torchvision's model, as `model`; nothing is fetched.

        Args:
            epsilon: of the batch normalisation of ours; None where it is not known.

        Raises:
            CheckpointError: torchvision's second version has another.
        """
        other = epsilon not in (None, DEFAULT)
        if self.version == 1 and (self.frozen or other):
            return self._frozen(epsilon if other else None)
        if other:
            raise CheckpointError(f"an epsilon of {epsilon} is not that of torchvision's {self.variant}, {DEFAULT}")
        name = f'maskrcnn_resnet50_fpn{"_v2" if self.version == 2 else ""}'
        return [f'from torchvision.models.detection import {name}', TRAINED.format(name, self.count)]

    def _frozen(self, epsilon: float | None) -> list[str]:
        model = FROZEN.format(self.count)
        return (
            [*IMPORTS, model] if epsilon is None else [*IMPORTS, OVERWRITE, model, f'overwrite_eps(model, {epsilon})']
        )


def restore(
    state: Mapping[str, Tensor], classes: Sequence[str] | None = None, order: Sequence[str] | None = None
) -> Restored:
    """Bring a Mask R-CNN R50 of ours, fine-tuned or not, back to torchvision's names.

    Args:
        state: from :func:`damamba.checkpoint.state_dict_of`.
        classes: ours, in the order of the state; by default those of `order`, or COCO's where it has their rows.
        order: torchvision's from row 1; by default ours, but ARMBench's own where it is its classes, and COCO's.

    Raises:
        CheckpointError: the state is of another model, or the classes do not fit it.
    """
    version = 2 if 'neck.fpn_convs.0.bn.weight' in state else 1
    account = Account(state, f'the state of a Mask R-CNN R50 (v{version})')
    rows, order = _rows_back(account, classes, order)
    result, left, idle = {}, {}, version == 1 and _never_trained(state)
    for entry in layout(version):
        value = account.take(entry.ours, entry.shape, entry.kinds)
        if idle and entry.ours.endswith(COUNTER):
            left[entry.ours] = "0: torchvision's frozen batch normalisation counts nothing"
        else:
            result[entry.theirs] = value
    result |= _classes_back(account, rows)
    account.close()
    return Restored(
        version=version,
        frozen=idle,
        state=result,
        left=left,
        added={name: f'0 in {named_rows((0, *rows.absent))}, of no class' for name in (BOXES, MASKS)},
        classes=order,
        rows=rows.classes,
        count=rows.count,
    )


def _never_trained(state: Mapping[str, Tensor]) -> bool:
    return not any(value.any() for name, value in state.items() if name.endswith(COUNTER))


def _rows_back(
    account: Account, classes: Sequence[str] | None, order: Sequence[str] | None
) -> tuple[Rows, tuple[str, ...]]:
    """The rows that our classes go to, and the names in torchvision's order."""
    count = len(account.take(f'{OURS[MASKS]}.weight', (None, 256, 1, 1)))
    absent = len(account.take(f'{OURS[SCORES]}.weight', (None, 1024))) - count - 1
    del account.used[-2:]  # they are taken again, with the other rows
    if absent and (count, absent) != (len(CLASSES), len(ABSENT)):
        raise CheckpointError(f'{account.what} has {count} masks and {count + 1 + absent} scores: it is another model')
    if absent:
        classes = classes or tuple(CLASSES.values())
    classes = tuple(classes or order or ())
    if not classes:
        raise CheckpointError(
            f'{account.what} does not name its {count} classes: give its config by --config, or them by --classes'
        )
    if len(classes) != count:
        raise CheckpointError(
            f'{account.what} is for {count} classes, and {len(classes)} are named: {", ".join(classes)}'
        )
    if absent:
        rows = [tuple(CLASSES)[place] for place in places(tuple(CLASSES.values()), classes)]
        return Rows(tuple(rows), ABSENT), tuple(CLASSES.values())
    if not order:
        order = ARMBENCH if sorted(map(str.casefold, classes)) == sorted(map(str.casefold, ARMBENCH)) else classes
    return Rows(tuple(place + 1 for place in places(order, classes)), ()), tuple(order)


def _classes_back(account: Account, rows: Rows) -> dict[str, Tensor]:
    result, classes = {}, list(rows.classes)
    count = len(classes)
    for part, last in (('weight', (1024,)), ('bias', ())):
        scores = account.take(f'{OURS[SCORES]}.{part}', (rows.count, *last))
        boxes = account.take(f'{OURS[BOXES]}.{part}', (4 * count, *last)).unflatten(0, (-1, 4))
        masks = account.take(f'{OURS[MASKS]}.{part}', (count, *((256, 1, 1) if last else ())))
        result[f'{SCORES}.{part}'] = _placed(scores, rows.scores, rows.count)
        result[f'{BOXES}.{part}'] = _placed(boxes, classes, rows.count).flatten(0, 1)
        result[f'{MASKS}.{part}'] = _placed(masks, classes, rows.count)
    return result


def _placed(value: Tensor, rows: list[int], count: int) -> Tensor:
    """value [n, ...] at these rows of zeros [count, ...]."""
    result = value.new_zeros(count, *value.shape[1:])
    result[rows] = value
    return result
