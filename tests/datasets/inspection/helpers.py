"""A small data set, its pictures, and what inspection finds in it."""

import json

import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.inspection import inspect_dataset

HEIGHT, WIDTH = 60, 80
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]
EMPTY = 'train.json: 1 of 3 pictures are not trained on: 1 have no objects'  # the note on all of `document`


def rle_of(left=40, top=20, right=70, bottom=50) -> dict:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    return dict(size=[HEIGHT, WIDTH], counts=coco_mask.encode(np.asfortranarray(mask))['counts'].decode())


def document(*numbers: int) -> dict:
    """Those of three pictures, or all: two objects in the first, one in the second, none in the third."""
    numbers = numbers or (1, 2, 3)
    images = [dict(id=i, file_name=f'{i}.jpg', width=WIDTH, height=HEIGHT) for i in numbers]
    square = dict(iscrowd=0, category_id=1, bbox=[10, 10, 20, 20], area=400, segmentation=SQUARE)
    other = square | dict(bbox=[40, 20, 30, 30], area=900.0, segmentation=rle_of())
    annotations = [dict(id=1, image_id=1, **square), dict(id=2, image_id=1, **other), dict(id=3, image_id=2, **square)]
    annotations = [it for it in annotations if it['image_id'] in numbers]
    categories = [dict(id=1, name='Object'), dict(id=2, name='Tote')]
    return dict(images=images, annotations=annotations, categories=categories)


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def write_json(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')


def kinds(path, **options) -> dict[str, int]:
    return inspect_dataset(path, workers=1, **options).kinds
