"""Faults of what is there at all: too few detections, too few pictures, objects that should not count, copies."""

from collections import defaultdict

import cv2
import numpy as np
from pycocotools import mask as rle

from tests.evaluation.diagnosis.detectors import encode, limited, mask_of
from tests.evaluation.diagnosis.sabotage.variants import images_of, variant


@variant('max-dets', 'no limit but that of the evaluation', 10_000, sets=['crowded'])
@variant('max-dets', '100 each', 100, mend='none', sets=['crowded'])
@variant('max-dets', '20 each', 20, mend='none', sets=['crowded'])
def limit(entries, document, rng, most):
    """The surest of each picture."""
    return limited(entries, most)


@variant('part-of-pictures', 'the first half', lambda i, count, rng: i < count / 2)
@variant('part-of-pictures', 'every second', lambda i, count, rng: i % 2 == 0)
@variant('part-of-pictures', 'by chance', lambda i, count, rng: rng.random() < 0.4, sets=['coco', 'shapes'])
def leave_out(entries, document, rng, tested):
    """A run that was stopped, one process of several, a try on a few pictures."""
    count = len(document['images'])
    kept = {image['id'] for i, image in enumerate(document['images']) if tested(i, count, rng)}
    return [e for e in entries if e['image_id'] in kept]


@variant('ignored-objects', 'marked to be ignored', mend='bound')
def ignore(entries, document, rng):
    """A third of the objects, the smaller ones, are marked as too hard, and not found; pycocotools counts them."""
    limit = float(np.quantile([a['area'] for a in document['annotations']], 0.4))
    hard = [a for a in document['annotations'] if a['area'] < limit and not a.get('iscrowd')]
    numbers = {a['id'] for a in hard}
    annotations = [{**a, 'ignore': int(a['id'] in numbers)} for a in document['annotations']]
    boxes = defaultdict(list)
    for a in hard:
        boxes[a['image_id']].append(a['bbox'])
    kept = [e for e in entries if not boxes[e['image_id']] or _overlap(e['bbox'], boxes[e['image_id']]) < 0.5]
    return kept, {**document, 'annotations': annotations}


def _overlap(box: list, others: list) -> float:
    return float(rle.iou([box], others, [0] * len(others)).max())


@variant('ignored-objects', 'crowds as objects', mend='bound', sets=['shapes', 'totes', 'coco'])  # others have runs too
def count_crowds(entries, document, rng):
    """Groups of objects are annotated as one region of run lengths each, whose iscrowd was lost."""
    images, annotations = images_of(document), list(document['annotations'])
    for number, image in images.items():
        own = [a for a in document['annotations'] if a['image_id'] == number and not a.get('iscrowd')]
        for category in sorted({a['category_id'] for a in own}):
            first = next(a for a in own if a['category_id'] == category)
            crowd = _crowd(image, mask_of(first, image), rng)
            own_ids = dict(id=len(annotations) + 10_000, image_id=number, category_id=category, iscrowd=0)
            annotations.append({**own_ids, **crowd})
    return entries, {**document, 'annotations': annotations}


def _crowd(image: dict, mask: np.ndarray, rng) -> dict:
    """A region of blobs somewhere."""
    height, width = mask.shape
    region = np.zeros(mask.shape, np.uint8)
    x, y = rng.uniform(0.2, 0.8, 2) * [width, height]
    for dx, dy in rng.uniform(-0.15, 0.15, (8, 2)) * [width, height]:
        cv2.circle(region, (int(x + dx), int(y + dy)), max(int(min(mask.shape) * 0.05), 3), 1, -1)
    region = np.asfortranarray(region)
    flat = region.flatten(order='F')
    ends = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    counts = [0] * int(flat[0]) + np.diff(ends).tolist()
    coded = rle.encode(region)
    return dict(
        segmentation=dict(size=[height, width], counts=counts),
        bbox=rle.toBbox(coded).tolist(),
        area=float(rle.area(coded)),
    )


@variant('duplicates', 'no suppression', 2, 5, 0.03, mend='bound')
@variant('duplicates', 'the same twice', 2, 2, 0.0, mend='bound', sets=['shapes', 'coco'])
def repeat(entries, document, rng, least, most, jitter):
    """Each comes several times, at nearly the same place and somewhat less sure."""
    made = []
    for e in entries:
        made.append(e)
        for _ in range(int(rng.integers(least, most + 1)) - 1):
            x, y, w, h = e['bbox']
            dx, dy, dw, dh = rng.normal(0, jitter, 4)
            score = e['score'] * float(rng.uniform(0.85, 0.999)) if jitter else e['score']
            made.append({**e, 'bbox': [x + dx * w, y + dy * h, w * (1 + dw), h * (1 + dh)], 'score': score})
    return made


@variant('other-set', 'other ids', True, mend='none')
@variant('other-set', 'the same ids', False, mend='none', sets=['shapes', 'gaps'])
def take_others(entries, document, rng, other_ids):
    """Good results of other pictures: of their mirror images, mixed up."""
    images = images_of(document)
    ids = list(images)
    order = rng.permutation(len(ids))
    targets = {ids[a]: ids[b] for a, b in zip(order, np.roll(order, 1), strict=True)}
    fresh = dict(zip(ids, (7_000_000 + rng.choice(10**6, len(ids), replace=False)).tolist(), strict=True))
    made = []
    for e in entries:
        source, target = images[e['image_id']], images[targets[e['image_id']]]
        moved = _mirrored(e, source, target)
        made.append({**moved, 'image_id': fresh[target['id']] if other_ids else target['id']})
    return made


def _mirrored(entry: dict, source: dict, target: dict) -> dict:
    fx, fy = target['width'] / source['width'], target['height'] / source['height']
    x, y, w, h = entry['bbox']
    box = [(source['width'] - x - w) * fx, (source['height'] - y - h) * fy, w * fx, h * fy]
    mask = cv2.resize(rle.decode(entry['segmentation'])[::-1, ::-1], (target['width'], target['height']))
    return {**entry, 'bbox': box, 'segmentation': encode(mask)}
