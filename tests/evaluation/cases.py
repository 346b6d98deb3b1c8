"""Small scenes of rectangles, whose overlaps can be worked out by hand: boxes and masks are the same."""

from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO
from pycocotools import mask as rle

from damamba.evaluation.analysis.overlaps import Picture, read_pictures
from damamba.evaluation.coco_ap import ground_truth

CUP, KEY = 5, 2  # ids against the order in which the tests list them
CAT_IDS = [CUP, KEY]
NAMES = ['cup', 'key']
SIDE = 100  # pixels


def thing(category: int, box: Sequence[int], image: int = 1, crowd: bool = False) -> dict:
    """An object: box is x, y, width, height."""
    return {
        'image_id': image,
        'category_id': category,
        'bbox': list(box),
        'area': box[2] * box[3],
        'iscrowd': int(crowd),
        'segmentation': box,  # until the picture's size is known
    }


def guess(category: int, box: Sequence[int], score: float = 0.9, image: int = 1, side: int = SIDE) -> dict:
    """A detection."""
    return {
        'image_id': image,
        'category_id': category,
        'bbox': list(box),
        'score': score,
        'segmentation': rectangle(box, (side, side)),
    }


def rectangle(box: Sequence[int], size: tuple[int, int]) -> dict:
    """The RLE of a box in a picture of this height and width."""
    x, y, w, h = box
    mask = np.zeros(size, dtype=np.uint8, order='F')
    mask[y : y + h, x : x + w] = 1
    return {'size': list(size), 'counts': rle.encode(mask)['counts'].decode()}


def scene(*things: dict, images: int = 1, size: tuple[int, int] = (SIDE, SIDE)) -> COCO:
    """A ground truth of pictures 1, 2, ... of this height and width."""
    return ground_truth(
        {
            'images': [{'id': i, 'height': size[0], 'width': size[1]} for i in range(1, images + 1)],
            'categories': [{'id': KEY, 'name': 'key'}, {'id': CUP, 'name': 'cup'}],
            'annotations': [
                {**a, 'id': i, 'segmentation': rectangle(a['segmentation'], size)} for i, a in enumerate(things, 1)
            ],
        }
    )


def pictures(truth: COCO, guesses: Sequence[dict], kind: str = 'segm', most: int = 100) -> list[Picture]:
    """What the parts of the evaluation take."""
    return read_pictures(truth, guesses, kind, CAT_IDS, most)
