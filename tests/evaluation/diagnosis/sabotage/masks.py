"""Faults of masks."""

from collections import defaultdict
from collections.abc import Callable

import cv2
import numpy as np
from pycocotools import mask as rle

from tests.evaluation.diagnosis.detectors import encode
from tests.evaluation.diagnosis.sabotage.variants import images_of, variant

NESTED = ('totes', 'gaps')  # sets whose objects lie upon one another, so that a label map loses some
OBLONG = ('totes', 'coco', 'gaps')


def _with(entries, change: Callable):
    return [{**e, 'segmentation': encode(change(rle.decode(e['segmentation'])))} for e in entries]


@variant('masks-transposed', 'columns for rows', kinds='segm')
def transpose(entries, document, rng):
    """Width and height of the mask are exchanged, with its size."""
    return _with(entries, lambda mask: mask.T)


@variant('masks-transposed', 'runs along rows', kinds='segm', sets=OBLONG)
def run_along_rows(entries, document, rng):
    """NumPy's order in place of Fortran's, in a mask of the right size."""
    return _with(entries, lambda mask: mask.reshape(-1).reshape(mask.shape, order='F'))


@variant('masks-transposed', 'width before height', kinds='segm', sets=OBLONG)
def exchange_size(entries, document, rng):
    """The runs are right, the size is (width, height)."""
    return [{**e, 'segmentation': {**e['segmentation'], 'size': e['segmentation']['size'][::-1]}} for e in entries]


@variant('masks-turned', 'mirrored', lambda mask: mask[:, ::-1], kinds='segm')
@variant('masks-turned', 'upside down', lambda mask: mask[::-1, ::-1], kinds='segm', sets=['totes', 'coco'])
@variant('masks-turned', 'clockwise', lambda mask: np.rot90(mask, -1), kinds='segm')
def turn(entries, document, rng, change):
    """Masks of a picture that was flipped to test it, or that its EXIF orientation turns."""
    return _with(entries, change)


@variant('masks-resized', '28 x 28', lambda w, h: (28, 28), kinds='segm', mend='none')
@variant('masks-resized', '256 x 256', lambda w, h: (256, 256), kinds='segm', mend='bound')
@variant('masks-resized', '1024 x 1024', lambda w, h: (1024, 1024), kinds='segm', mend='bound', sets=['totes'])
@variant('masks-resized', 'a fourth', lambda w, h: (w // 4, h // 4), kinds='segm', mend='bound')
@variant('masks-resized', '500 wide', lambda w, h: (500, round(h * 500 / w)), kinds='segm', mend='bound', sets=OBLONG)
def resize(entries, document, rng, size):
    """Masks of the model's size, not of the picture's."""
    images = images_of(document)
    made = []
    for e in entries:
        wanted = size(images[e['image_id']]['width'], images[e['image_id']]['height'])
        mask = cv2.resize(rle.decode(e['segmentation']), wanted, interpolation=cv2.INTER_NEAREST)
        made.append({**e, 'segmentation': encode(mask)})
    return made


@variant('masks-are-boxes', 'whole pixels', kinds='segm bbox', mend='bound')
def fill(entries, document, rng):
    """Boxes that pose as masks."""
    made = []
    for e in entries:
        x, y, w, h = e['bbox']
        mask = np.zeros(e['segmentation']['size'], np.uint8)
        mask[round(y) : round(y + h), round(x) : round(x + w)] = 1
        made.append({**e, 'segmentation': encode(mask)})
    return made


@variant('masks-are-boxes', 'polygons', kinds='segm bbox', mend='bound', sets=['coco', 'totes'])
def outline_boxes(entries, document, rng):
    """The same as polygons of four corners."""
    made = []
    for e in entries:
        x, y, w, h = e['bbox']
        made.append({**e, 'segmentation': [[x, y, x + w, y, x + w, y + h, x, y + h]]})
    return made


def by_score(entry) -> float:
    return entry['score']


def by_doubt(entry) -> float:
    return -entry['score']


def by_smallness(entry) -> float:
    return -int(rle.area(entry['segmentation']))


def by_size(entry) -> float:
    return int(rle.area(entry['segmentation']))


@variant('masks-flattened', 'the sure on top', by_score, kinds='segm', mend='bound', sets=['totes'])
@variant('masks-flattened', 'the unsure on top', by_doubt, kinds='segm', mend='bound', sets=[*NESTED, 'coco'])
@variant('masks-flattened', 'the small on top', by_smallness, kinds='segm', mend='bound', sets=NESTED)
@variant('masks-flattened', 'the large on top', by_size, kinds='segm', mend='bound', sets=[*NESTED, 'coco'])
def flatten(entries, document, rng, key):
    """One map of labels for each picture: each pixel belongs to the one that is painted last."""
    grouped = defaultdict(list)
    for place, e in enumerate(entries):
        grouped[e['image_id']].append(place)
    made = list(entries)
    for places in grouped.values():
        ordered = sorted(places, key=lambda place: key(entries[place]))
        labels = np.full(entries[ordered[0]]['segmentation']['size'], -1)
        for place in ordered:
            labels[rle.decode(entries[place]['segmentation']) > 0] = place
        for place in places:
            made[place] = {**entries[place], 'segmentation': encode(labels == place)}
    return made


@variant('masks-empty', 'no pixel', kinds='segm bbox', mend='none')
def empty(entries, document, rng):
    """A threshold that nothing passes."""
    return _with(entries, np.zeros_like)


@variant('masks-inverted', 'background for object', kinds='segm')
def invert(entries, document, rng):
    return _with(entries, lambda mask: 1 - mask)
