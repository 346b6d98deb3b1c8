"""What boxes may be written as: forms, sides of other pictures, other orientations of the picture.

Source of the forms: x, y, width, height in pixels is COCO's (https://cocodataset.org/#format-data); corners are Pascal
VOC's and MMDetection's, centres YOLO's and DETR's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STRIDE = 32  # pixels, of networks that pad to the next multiple

Boxes = Callable[[np.ndarray, np.ndarray], np.ndarray]  # boxes [N, 4] and height, width of their pictures [N, 2]


def _corners(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])


def _centred(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]])


def _exchanged(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return boxes[:, [1, 0, 3, 2]]


@dataclass(frozen=True)
class Form:
    """A reading of boxes."""

    faults: tuple[str, ...]
    words: tuple[str, ...]
    steps: tuple[Boxes, ...]

    def read(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        for step in self.steps:
            boxes = step(boxes, sizes)
        return boxes

    def then(self, fault: str, words: str, step: Boxes) -> 'Form':
        return Form((*self.faults, fault), (*self.words, words), (*self.steps, step))


AS_IT_IS = Form((), (), ())
CORNERS = ('boxes-xyxy', 'boxes read as left, top, right, bottom', _corners)
CENTRED = ('boxes-cxcywh', 'boxes read as centre, width, height', _centred)
EXCHANGED = ('boxes-transposed', 'x and y exchanged', _exchanged)
FORMS = [
    AS_IT_IS, AS_IT_IS.then(*CORNERS), AS_IT_IS.then(*CENTRED), AS_IT_IS.then(*EXCHANGED),
    AS_IT_IS.then(*EXCHANGED).then(*CORNERS), AS_IT_IS.then(*EXCHANGED).then(*CENTRED),
]  # fmt: skip


def factor(factor: float) -> Boxes:
    return lambda boxes, sizes: boxes * factor


def stretched(side: float) -> Boxes:
    return lambda boxes, sizes: boxes * sizes[:, [1, 0, 1, 0]] / side


def long_side(side: float) -> Boxes:
    return lambda boxes, sizes: boxes * (sizes.max(axis=1, keepdims=True) / side)


def short_side(side: float) -> Boxes:
    return lambda boxes, sizes: boxes * (sizes.min(axis=1, keepdims=True) / side)


def two_sides(long: float, short: float) -> Boxes:
    def scaled(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        return boxes * np.maximum(sizes.max(axis=1) / long, sizes.min(axis=1) / short)[:, None]

    return scaled


def letterbox(side: float) -> Boxes:
    def unpadded(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        longest = sizes.max(axis=1, keepdims=True)
        border = (longest - sizes[:, ::-1]) / 2  # x, y
        return boxes * (longest / side) - np.hstack([border, np.zeros_like(border)])

    return unpadded


def strided(side: float) -> Boxes:
    def unpadded(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        scale = side / sizes.max(axis=1, keepdims=True)
        border = (-np.round(sizes[:, ::-1] * scale) % STRIDE) / 2  # x, y
        return (boxes - np.hstack([border, np.zeros_like(border)])) / scale

    return unpadded


def offset(x: float, y: float, from_centre: bool) -> Boxes:
    def moved(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        shift = sizes[:, ::-1] / 2 if from_centre else 0
        return np.hstack([boxes[:, :2] + np.array([x, y]) + shift, boxes[:, 2:]])

    return moved


def _turned(horizontally: bool, vertically: bool) -> Boxes:
    """As they are in the picture, from one that was mirrored."""

    def turned(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        far = sizes[:, ::-1] - boxes[:, :2] - boxes[:, 2:]
        return np.hstack([np.where([horizontally, vertically], far, boxes[:, :2]), boxes[:, 2:]])

    return turned


def _quarter(to_the_right: bool) -> Boxes:
    """As they are in the picture, from one that was turned by a right angle."""

    def turned(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        x, y, width, height = boxes.T
        rows, columns = sizes.T
        corner = (y, rows - x - width) if to_the_right else (columns - y - height, x)
        return np.stack([*corner, height, width], axis=1)

    return turned


TURNS = {  # by what was done to the picture
    'mirrored left to right': _turned(True, False),
    'mirrored top to bottom': _turned(False, True),
    'upside down': _turned(True, True),
    'turned to the right': _quarter(True),
    'turned to the left': _quarter(False),
}
