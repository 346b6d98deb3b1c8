"""Faults of boxes."""

from collections.abc import Callable

import numpy as np

from tests.evaluation.diagnosis.sabotage.variants import images_of, variant

Box = tuple[float, float, float, float]
OBLONG = ('totes', 'coco', 'gaps')  # sets whose pictures are not square


def xyxy(x, y, w, h) -> Box:
    return x, y, x + w, y + h


def cxcywh(x, y, w, h) -> Box:
    return x + w / 2, y + h / 2, w, h


def yxhw(x, y, w, h) -> Box:
    return y, x, h, w


def yxyx(x, y, w, h) -> Box:
    return y, x, y + h, x + w


def xywh(x, y, w, h) -> Box:
    return x, y, w, h


@variant('boxes-xyxy', 'corners', xyxy, kinds='bbox')
@variant('boxes-cxcywh', 'centres', cxcywh, kinds='bbox')
@variant('boxes-transposed', 'y before x', yxhw, kinds='bbox')
@variant('boxes-transposed boxes-xyxy', 'corners, y before x', yxyx, kinds='bbox')
def write_as(entries, document, rng, convention):
    """Boxes in another convention."""
    return [{**e, 'bbox': list(convention(*e['bbox']))} for e in entries]


@variant('boxes-xyxy', 'corners, whole pixels', kinds='bbox', mend='bound', sets=['coco'])
def write_rounded_corners(entries, document, rng):
    return [{**e, 'bbox': [round(v) for v in xyxy(*e['bbox'])]} for e in entries]


@variant('boxes-normalised', 'xywh', xywh, 6, kinds='bbox')
@variant('boxes-normalised', 'xywh, four digits', xywh, 4, kinds='bbox', sets=['coco', 'totes'])
@variant('boxes-normalised boxes-xyxy', 'corners', xyxy, 6, kinds='bbox')
@variant('boxes-normalised boxes-cxcywh', 'centres', cxcywh, 6, kinds='bbox')
def normalise(entries, document, rng, convention, digits):
    """Boxes in parts of the picture's width and height."""
    images = images_of(document)
    made = []
    for e in entries:
        width, height = images[e['image_id']]['width'], images[e['image_id']]['height']
        box = np.array(convention(*e['bbox'])) / [width, height, width, height]
        made.append({**e, 'bbox': box.round(digits).tolist()})
    return made


def keep_ratio(width: int, height: int) -> tuple[float, float]:
    """As MMDetection's Resize with scale=(1333, 800)."""
    factor = min(1333 / max(width, height), 800 / min(width, height))
    return factor, factor


def square(side: int) -> Callable[[int, int], tuple[float, float]]:
    return lambda width, height: (side / width, side / height)


def constant(factor: float) -> Callable[[int, int], tuple[float, float]]:
    return lambda width, height: (factor, factor)


@variant('boxes-resized', '1333 x 800', keep_ratio, kinds='bbox')
@variant('boxes-resized', '512 x 512', square(512), kinds='bbox')
@variant(
    'boxes-normalised', 'thousandths', square(1000), kinds='bbox', sets=['coco', 'totes'], others=['boxes-resized']
)
@variant('boxes-resized', 'half', constant(0.5), kinds='bbox', sets=['shapes', 'coco'])
@variant('boxes-resized', 'a fourth', constant(0.25), kinds='bbox', sets=['totes', 'gaps'])
@variant('boxes-resized', 'a half more', constant(1.5), kinds='bbox')
def resize(entries, document, rng, factors):
    """Boxes in pixels of the picture that the model saw."""
    images = images_of(document)
    made = []
    for e in entries:
        fx, fy = factors(images[e['image_id']]['width'], images[e['image_id']]['height'])
        made.append({**e, 'bbox': (np.array(e['bbox']) * [fx, fy, fx, fy]).round(2).tolist()})
    return made


@variant('boxes-padded', 'letterbox of 640', 640, kinds='bbox', sets=OBLONG)
@variant('boxes-padded', 'letterbox of 416', 416, kinds='bbox', sets=OBLONG)
def letterbox(entries, document, rng, side):
    """Pixels of a square in whose middle the resized picture lies, as YOLO has it."""
    images = images_of(document)
    made = []
    for e in entries:
        width, height = images[e['image_id']]['width'], images[e['image_id']]['height']
        factor = side / max(width, height)
        left, top = (side - width * factor) / 2, (side - height * factor) / 2
        box = np.array(e['bbox']) * factor + [left, top, 0, 0]
        made.append({**e, 'bbox': box.round(2).tolist()})
    return made


PADDED = ('boxes-normalised boxes-padded',)


@variant('boxes-padded', 'parts of a square', kinds='bbox', sets=OBLONG, others=PADDED)
def normalise_padded(entries, document, rng):
    """Parts of a square that is filled up at the right or at the bottom."""
    images = images_of(document)
    sides = {number: max(image['width'], image['height']) for number, image in images.items()}
    return [{**e, 'bbox': (np.array(e['bbox']) / sides[e['image_id']]).round(6).tolist()} for e in entries]


@variant('boxes-offset', 'right and down', 32, 20, kinds='bbox')
@variant('boxes-offset', 'left and down', -15, 40, kinds='bbox', sets=['coco', 'shapes'])
@variant('boxes-offset', 'up', 0, -24, kinds='bbox', sets=['totes', 'gaps'])
def move(entries, document, rng, dx, dy):
    """Pixels of a crop, or of a picture with a margin."""
    return [{**e, 'bbox': np.add(e['bbox'], [dx, dy, 0, 0]).round(2).tolist()} for e in entries]


def mirrored(x, y, w, h, width, height) -> Box:
    return width - x - w, y, w, h


def upside_down(x, y, w, h, width, height) -> Box:
    return width - x - w, height - y - h, w, h


def clockwise(x, y, w, h, width, height) -> Box:
    """Of a picture that stands on what was its right side before: its width was the height."""
    return height - y - h, x, h, w


def corners_of_mirrored(*of) -> Box:
    return xyxy(*mirrored(*of))


@variant('boxes-turned', 'mirrored', mirrored, kinds='bbox')
@variant('boxes-turned', 'upside down', upside_down, kinds='bbox', sets=['totes', 'coco'])
@variant('boxes-turned', 'clockwise', clockwise, kinds='bbox')
@variant('boxes-turned boxes-xyxy', 'mirrored, corners', corners_of_mirrored, kinds='bbox')
def turn(entries, document, rng, change):
    """Boxes of a picture that was flipped to test it, or that its EXIF orientation turns."""
    images = images_of(document)
    sides = {number: (image['width'], image['height']) for number, image in images.items()}
    return [{**e, 'bbox': list(change(*e['bbox'], *sides[e['image_id']]))} for e in entries]
