"""Four ways in which an evaluation was wrong and nobody saw it: how to make each, and how to tell it from predictions.

shifted    category ids, or labels, are off by one
swapped    two classes stand for each other
boxes      boxes pose as masks
flattened  masks went through one map of labels, in which a pixel belongs to one object alone

Predictions are COCO results: dictionaries with image_id, category_id, score, bbox and, for masks, segmentation (RLE).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from faster_coco_eval import COCO
from pycocotools import mask as coco_mask

from damamba.evaluation.results import Fault
from damamba.evaluation.shapes import OVERLAP, fills_its_box, pairs_that_share

FOUND = 0.5  # IoU from which on a detection and an object are the same thing, whatever their classes
CLEAR = 0.8  # share of the evidence from which on it is a fault, not a weak model
LEAST = 5  # pieces of evidence, or nothing is said
SURE = 2.0  # how often the score of a class is that of another one at the same place, if it is no guess


# How each is made.


def shift(entries: Sequence[dict], cat_ids: Sequence[int]) -> list[dict]:
    """Every category is the next."""
    return [{**entry, 'category_id': entry['category_id'] + 1} for entry in entries]


def shift_labels(entries: Sequence[dict], cat_ids: Sequence[int]) -> list[dict]:
    """Every class is the next one, and the last is none."""
    after = dict(pairwise(cat_ids))
    return [{**entry, 'category_id': after[entry['category_id']]} for entry in entries if entry['category_id'] in after]


def swap(entries: Sequence[dict], cat_ids: Sequence[int]) -> list[dict]:
    """The first two classes stand for each other."""
    first, second = cat_ids[:2]
    other = {first: second, second: first}
    return [{**entry, 'category_id': other.get(entry['category_id'], entry['category_id'])} for entry in entries]


def pose(entries: Sequence[dict], cat_ids: Sequence[int]) -> list[dict]:
    """Every mask is its box."""
    posing = []
    for entry in entries:
        height, width = entry['segmentation']['size']
        x, y, w, h = entry['bbox']
        corners = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        posing.append({**entry, 'segmentation': coco_mask.frPyObjects(corners, height, width)[0]})
    return posing


def flatten(entries: Sequence[dict], cat_ids: Sequence[int]) -> list[dict]:
    """In each picture, a pixel belongs to the smallest object that covers it, so that none is lost as a whole."""
    flat = []
    for found in _by_image(entries).values():
        found = sorted(found, key=lambda entry: coco_mask.area(entry['segmentation']), reverse=True)
        height, width = found[0]['segmentation']['size']
        labels = np.zeros((height, width), np.int32)
        for number, entry in enumerate(found, 1):
            labels[coco_mask.decode(entry['segmentation']).astype(bool)] = number
        for number, entry in enumerate(found, 1):
            rle = coco_mask.encode(np.asfortranarray(labels == number, np.uint8))
            flat.append({**entry, 'segmentation': rle})
    return flat


Sabotage = Callable[[Sequence[dict], Sequence[int]], list[dict]]
SABOTAGE: dict[str, tuple[str, Sabotage]] = {  # by what is done, which fault that is
    'ids shifted by one': ('shifted', shift),
    'labels shifted by one': ('shifted', shift_labels),
    'classes swapped': ('swapped', swap),
    'boxes as masks': ('boxes', pose),
    'masks flattened': ('flattened', flatten),
}


# How each is told.


def name_faults(
    truth: COCO, predictions: Mapping[str, Sequence[dict]], cat_ids: Sequence[int], images: int = 200
) -> list[Fault]:
    """Name the faults that predictions show, by what they do to a detector that finds anything at all.

    Classes are judged on detections that lie on an object whatever its class; masks on their shapes, and on whether any
    two of one picture share a pixel.

    Args:
        truth: the ground truth.
        predictions: COCO results of ``bbox``, and of ``segm`` where there are masks. Ids of categories that the ground
            truth does not have are evidence too.
        cat_ids: the categories that count.
        images: of how many pictures, the first ones.
    """
    chosen = set(sorted(truth.imgs)[:images])
    found = {kind: [e for e in entries if e['image_id'] in chosen] for kind, entries in predictions.items()}
    masks = [entry for entry in found.get('segm', ()) if entry.get('segmentation')]
    pairs = Counter(_classes(truth, found.get('bbox') or masks, chosen))
    classes = _swapped(pairs, cat_ids, truth) or _shifted(pairs, cat_ids)
    shapes = _posing(masks, truth, chosen, cat_ids) or _flattened(masks, truth, cat_ids)
    return [fault for fault in (classes, shapes) if fault]


def _by_image(entries: Sequence[dict]) -> dict[int, list[dict]]:
    grouped = defaultdict(list)
    for entry in entries:
        grouped[entry['image_id']].append(entry)
    return grouped


def _objects(truth: COCO, image_id: int) -> list[dict]:
    return [a for a in truth.imgToAnns[image_id] if not a.get('iscrowd')]


def _pairs(truth: COCO, entries: Sequence[dict], chosen: set[int]) -> Iterator[tuple[dict, dict]]:
    """(a detection, the object that it lies on), one detection for each object, whatever their classes."""
    grouped = _by_image(entries)
    for image_id in sorted(chosen):
        found, objects = grouped.get(image_id, []), _objects(truth, image_id)
        if found and objects:
            yield from _matched(found, objects)


def _classes(truth: COCO, entries: Sequence[dict], chosen: set[int]) -> Iterator[tuple[int, int]]:
    """(found, true) category of each object that a detection lies on.

    A detector that guesses gives one place several classes of like scores, and the wrong one may often come first: then
    it is the right one that counts.
    """
    grouped = _by_image(entries)
    for entry, a in _pairs(truth, entries, chosen):
        true = a['category_id']
        rivals = [e for e in grouped[a['image_id']] if e['category_id'] == true and SURE * e['score'] > entry['score']]
        guessed = rivals and coco_mask.iou([_box(e) for e in rivals], [a['bbox']], [0]).max() >= FOUND
        yield (true if guessed else entry['category_id']), true


def _matched(found: list[dict], objects: list[dict]) -> Iterator[tuple[dict, dict]]:
    found = sorted(found, key=lambda entry: -entry['score'])
    ious = coco_mask.iou([_box(e) for e in found], [a['bbox'] for a in objects], [0] * len(objects))  # [found, objects]
    free = np.ones(len(objects), bool)
    for entry, row in zip(found, ious, strict=True):
        best = int(np.argmax(np.where(free, row, -1)))
        if free[best] and row[best] >= FOUND:
            free[best] = False
            yield entry, objects[best]


def _box(entry: dict) -> list[float]:
    return entry['bbox'] if 'bbox' in entry else coco_mask.toBbox(entry['segmentation']).tolist()


def _shifted(pairs: Counter, cat_ids: Sequence[int]) -> Fault | None:
    total = pairs.total()
    for step in (1, -1):
        for what, is_off in (('category id', _id_is_off), ('place among the classes', _place_is_off)):
            off = sum(count for pair, count in pairs.items() if is_off(*pair, step, cat_ids))
            if total >= LEAST and off >= CLEAR * total:
                return Fault('shifted', f'{off} of {total} detections that lie on an object have its {what} {step:+d}')
    return None


def _id_is_off(found: int, true: int, step: int, cat_ids: Sequence[int]) -> bool:
    return found == true + step


def _place_is_off(found: int, true: int, step: int, cat_ids: Sequence[int]) -> bool:
    """Along the classes; behind the last of three or more is the first."""
    if found not in cat_ids or true not in cat_ids:
        return False
    places = [list(cat_ids).index(cat_id) for cat_id in (found, true)]
    return (places[0] - places[1] - step) % max(len(cat_ids), 3) == 0


def _swapped(pairs: Counter, cat_ids: Sequence[int], truth: COCO) -> Fault | None:
    for i, first in enumerate(cat_ids):
        for second in cat_ids[i + 1 :]:
            crossed = [pairs[first, second], pairs[second, first]]
            straight = pairs[first, first] + pairs[second, second]
            if min(crossed) and sum(crossed) >= max(LEAST, CLEAR * (sum(crossed) + straight)):
                names = ' and '.join(truth.cats[cat_id]['name'] for cat_id in (first, second))
                total = sum(crossed) + straight
                return Fault('swapped', f'{sum(crossed)} of {total} detections on {names} have the class of the other')
    return None


def _posing(masks: list[dict], truth: COCO, chosen: set[int], cat_ids: Sequence[int]) -> Fault | None:
    """Of a detector that finds half of the objects: one that finds none may well have masks that fill their boxes."""
    placed = [entry for entry, _ in _pairs(truth, masks, chosen)]
    true = [fills_its_box(rle) for image_id in sorted(chosen) for rle in _true_masks(truth, image_id, cat_ids)]
    full = sum(fills_its_box(entry['segmentation']) for entry in placed)
    if len(placed) < max(LEAST, FOUND * len(true)) or full < CLEAR * len(placed):
        return None
    if sum(true) >= CLEAR * len(true):
        return None  # the objects are boxes
    return Fault('boxes', f'{full} of {len(placed)} masks fill their box, {sum(true)} of {len(true)} objects do')


def _true_masks(truth: COCO, image_id: int, cat_ids: Sequence[int]) -> list[dict]:
    objects = [a for a in _objects(truth, image_id) if a['category_id'] in cat_ids and a.get('segmentation')]
    return [truth.annToRLE(a) for a in objects]


def _flattened(masks: list[dict], truth: COCO, cat_ids: Sequence[int]) -> Fault | None:
    grouped = _by_image(masks)
    rles = [[entry['segmentation'] for entry in found] for found in grouped.values()]
    nested = sum(map(_nested, rles))
    if nested < LEAST or any(map(pairs_that_share, rles)):
        return None
    true = _overlaps(truth, grouped, cat_ids)
    if true < LEAST:
        return None  # nothing overlaps that could have been lost
    return Fault('flattened', f'no two of {len(masks)} masks share a pixel, and {true} pairs of objects overlap')


def _nested(rles: list[dict]) -> int:
    """How many pairs of masks have boxes of which one covers half of the other."""
    return pairs_that_share([coco_mask.toBbox(rle).tolist() for rle in rles], FOUND)


def _overlaps(truth: COCO, image_ids: Iterable[int], cat_ids: Sequence[int]) -> int:
    """How many pairs of objects lose something worth counting if a pixel may belong to one alone."""
    return sum(pairs_that_share(_true_masks(truth, image_id, cat_ids), OVERLAP) for image_id in image_ids)


def _why_not_classes(name: str, found: list[int], cat_ids: Sequence[int]) -> str | None:
    if len(cat_ids) < 2:
        return 'there is one class'
    if name == 'classes swapped':
        counts = [found.count(cat_id) for cat_id in cat_ids[:2]]
        if not all(counts):
            return 'there are no objects of both classes'
        return None if sum(counts) >= LEAST else f'there are {sum(counts)} objects of both classes'
    return None if sum(cat_id != cat_ids[-1] for cat_id in found) >= LEAST else 'all objects are of the last class'


def why_unseen(name: str, truth: COCO, cat_ids: Sequence[int], masks: bool) -> str | None:
    """Why a fault would not show on this ground truth, or None where it would; ``name`` is a key of SABOTAGE."""
    objects = [a for a in truth.anns.values() if not a.get('iscrowd') and a['category_id'] in cat_ids]
    fault = SABOTAGE[name][0]
    if len(objects) < LEAST:
        return f'there are {len(objects)} objects'
    if name in ('labels shifted by one', 'classes swapped'):
        return _why_not_classes(name, [a['category_id'] for a in objects], cat_ids)
    if fault in ('boxes', 'flattened') and not masks:
        return 'masks are not measured'
    if fault == 'flattened':
        return None if _overlaps(truth, truth.imgs, cat_ids) >= LEAST else 'objects hardly overlap'
    if fault == 'boxes':
        true = [fills_its_box(rle) for image_id in truth.imgs for rle in _true_masks(truth, image_id, cat_ids)]
        return 'the objects are boxes themselves' if sum(true) >= CLEAR * len(true) else None
    return None
