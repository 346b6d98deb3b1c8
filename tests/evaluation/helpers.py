"""Ground truths and predictions in COCO's format, made up or real, and pycocotools as the judge."""

import contextlib
import copy
import io

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from damamba.evaluation.predictions import as_text

SIZE = (240, 320)  # height, width


def made_up(images: int = 14, seed: int = 0) -> dict:
    """Blobs of all of COCO's sizes, polygons, RLE and crowds, in three classes whose ids have gaps; one empty image."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image_id in range(11, 11 + images - 1):
        for _ in range(int(rng.integers(1, 9))):
            annotations.append(_object(rng, image_id, len(annotations) + 1))
    return {
        'images': [
            {'id': i, 'file_name': f'{i}.jpg', 'height': SIZE[0], 'width': SIZE[1]} for i in range(11, 11 + images)
        ],
        'categories': [{'id': i, 'name': name} for i, name in ((2, 'cup'), (5, 'key'), (9, 'red box'))],
        'annotations': annotations,
    }


def _object(rng: np.random.Generator, image_id: int, number: int) -> dict:
    radius = np.exp(rng.uniform(np.log(5), np.log(100)))
    center = rng.uniform((0, 0), (SIZE[1], SIZE[0]))
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    points = center + radius * rng.uniform(0.7, 1, (12, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    polygon = points.clip((0, 0), (SIZE[1], SIZE[0])).flatten().round(2).tolist()
    mask = rle.merge(rle.frPyObjects([polygon], *SIZE))
    crowd = bool(rng.random() < 0.15)
    return {
        'id': number,
        'image_id': image_id,
        'category_id': int(rng.choice([2, 5, 9])),
        'segmentation': _uncompressed(mask) if crowd or rng.random() < 0.2 else [polygon],
        'area': float(rle.area(mask)),
        'bbox': [float(v) for v in rle.toBbox(mask)],
        'iscrowd': int(crowd),
    }


def _uncompressed(mask: dict) -> dict:
    """As COCO writes crowds: lengths of runs, column by column, the first of them outside."""
    flat = rle.decode(mask).flatten(order='F')
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, len(flat)]).tolist()
    return {'size': list(SIZE), 'counts': [0, *counts] if flat[0] else counts}


def guesses(truth: dict, seed: int = 0, many: int = 0) -> list[dict]:
    """What a fair detector might say: shifted and wrongly named objects, things that are not there, equal scores.

    ``many`` more of them lie in the first image, to pass COCO's limit of 100.
    """
    rng = np.random.default_rng(seed)
    sizes = {image['id']: (image['height'], image['width']) for image in truth['images']}
    categories = [category['id'] for category in truth['categories']]
    found = []
    for annotation in truth['annotations']:
        for _ in range(int(rng.integers(0, 3))):
            wrong = rng.random() < 0.1
            category = int(rng.choice(categories)) if wrong else annotation['category_id']
            found.append(_guess(rng, annotation['image_id'], category, annotation['bbox'], sizes))
    first = truth['images'][0]['id']
    for i in range(len(truth['images']) + many):
        image_id = first if i < many else truth['images'][i - many]['id']
        box = [*rng.uniform(0, 100, 2), *rng.uniform(8, 100, 2)]
        found.append(_guess(rng, image_id, int(rng.choice(categories[: 1 if i < many else None])), box, sizes))
    return found


def _guess(rng: np.random.Generator, image_id: int, category: int, box: list, sizes: dict) -> dict:
    """An ellipse in a shaken box."""
    height, width = sizes[image_id]
    x, y, w, h = np.asarray(box) + rng.normal(0, 0.06, 4) * max(box[2:])
    w, h = max(w, 2), max(h, 2)
    rows, columns = np.mgrid[:height, :width] + 0.5
    mask = ((columns - x - w / 2) / (w / 2)) ** 2 + ((rows - y - h / 2) / (h / 2)) ** 2 <= 1.1
    encoded = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        'image_id': image_id,
        'category_id': category,
        'score': float(rng.integers(1, 30) / 30),
        'bbox': [float(v) for v in (x, y, w, h)],
        'segmentation': {'size': [height, width], 'counts': encoded['counts'].decode()},
    }


def judged(truth: dict, predictions: list[dict], kind: str) -> COCOeval:
    """pycocotools' own evaluation, with its twelve ``stats``."""
    entries = copy.deepcopy(predictions)
    if kind == 'segm':
        for entry in entries:
            entry.pop('bbox')  # or the boxes' areas would be taken for the masks'
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(entries), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def truth_as_predictions(truth: COCO) -> list[dict]:
    """The objects of a ground truth as predictions of score 1; crowds are left out.

    Scored against the same ground truth they must be perfect: whatever is below 1 is a fault of the evaluation.
    """
    return [
        {
            'image_id': a['image_id'],
            'category_id': a['category_id'],
            'bbox': a['bbox'],
            'segmentation': as_text(truth.annToRLE(a)),
            'score': 1.0,
        }
        for a in truth.dataset['annotations']
        if not a.get('iscrowd')
    ]
