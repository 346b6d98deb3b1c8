"""A small data set, its pictures, and what inspection finds in it."""

import json

import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.inspection import inspect

HEIGHT, WIDTH = 60, 80
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def rle_of(left=40, top=20, right=70, bottom=50, height=HEIGHT, width=WIDTH) -> dict:
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    return dict(size=[height, width], counts=rle['counts'].decode())


def document() -> dict:
    """Three pictures, two objects in the first and one in the second, none in the third."""
    images = [dict(id=i, file_name=f'{i}.jpg', width=WIDTH, height=HEIGHT) for i in (1, 2, 3)]
    shared = dict(iscrowd=0, category_id=1)
    square = dict(image_id=1, bbox=[10, 10, 20, 20], area=400, segmentation=SQUARE, **shared)
    other = dict(image_id=1, bbox=[40, 20, 30, 30], area=900.0, segmentation=rle_of(), **shared)
    annotations = [dict(id=1, **square), dict(id=2, **other), dict(id=3, **{**square, 'image_id': 2})]
    categories = [dict(id=1, name='Object'), dict(id=2, name='Tote')]
    return dict(images=images, annotations=annotations, categories=categories)


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def write(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')


def kinds(path, **options) -> dict[str, int]:
    return dict(inspect(path, workers=1, **options).kinds)


def of_image(**fields):
    return lambda content: content['images'][0].update(fields)
