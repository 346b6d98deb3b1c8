"""Honest results that are weak or odd: no known fault is in them, and none may be claimed.

Each maker takes annotations and a random generator, and returns results as COCO has them.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import cv2
import numpy as np

from tests.evaluation.diagnosis.detectors import BLIND, FAIR, GOOD, GREAT, POOR, WEAK, detect, encode, limited, mask_of

Maker = Callable[[dict, np.random.Generator], list[dict]]
HONEST: dict[str, Maker] = {
    name: lambda document, rng, skill=skill: detect(document, skill, rng)
    for name, skill in dict(great=GREAT, good=GOOD, fair=FAIR, weak=WEAK, poor=POOR, blind=BLIND).items()
}


def honest(maker: Maker) -> Maker:
    """Add one to HONEST, by its name."""
    HONEST[maker.__name__.replace('_', '-')] = maker
    return maker


@honest
def a_handful(document, rng):
    """Three detections in all."""
    return detect(document, GOOD, rng)[:3]


@honest
def sure_only(document, rng):
    """Only what it is very sure of is written: in many pictures nothing is."""
    return detect(document, FAIR, rng, least=0.75)


@honest
def large_only(document, rng):
    """It misses whatever is small: the smaller half of the objects."""
    areas = [a['area'] for a in document['annotations']]
    large = [a for a in document['annotations'] if a['area'] > np.median(areas)]
    return detect({**document, 'annotations': large}, GOOD, rng)


@honest
def small_only(document, rng):
    """As a detector trained on crops: objects that fill much of a picture are missed."""
    areas = [a['area'] for a in document['annotations']]
    small = [a for a in document['annotations'] if a['area'] < np.median(areas)]
    return detect({**document, 'annotations': small}, FAIR, rng)


@honest
def one_class_well(document, rng):
    """The most frequent class is found well, the others hardly."""
    first, rest = _split(document, [_most_frequent(document)])
    return detect(first, GOOD, rng) + detect(rest, POOR, rng)


@honest
def one_class_known(document, rng):
    """It has learned the most frequent class alone, and says nothing of objects of others."""
    first, _ = _split(document, [_most_frequent(document)])
    return [e for e in detect(first, replace(FAIR, confusion=0), rng) if e['category_id'] == _most_frequent(document)]


@honest
def half_of_the_classes(document, rng):
    """The other half it does not know: those objects it takes for something that it knows, now and then."""
    ids = [category['id'] for category in document['categories']]
    known = ids[: max(2, (len(ids) + 1) // 2)]
    first, rest = _split(document, known)
    strange = [{**e, 'category_id': int(rng.choice(known))} for e in detect(rest, FAIR, rng)]
    return detect(first, FAIR, rng) + [e for e in strange if rng.random() < 0.5]


@honest
def classes_by_chance(document, rng):
    """It finds the objects and has no idea of what they are."""
    ids = [category['id'] for category in document['categories']]
    return [{**e, 'category_id': int(rng.choice(ids))} for e in detect(document, GOOD, rng)]


@honest
def classes_by_frequency(document, rng):
    """The same; it guesses frequent ones more often."""
    frequent = [a['category_id'] for a in document['annotations']]
    return [{**e, 'category_id': int(rng.choice(frequent))} for e in detect(document, GOOD, rng)]


@honest
def neighbours_confused(document, rng):
    """Half of the objects of each class are taken for the next one: like classes."""
    ids = [category['id'] for category in document['categories']]
    after = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    entries = detect(document, GOOD, rng)
    return [{**e, 'category_id': after[e['category_id']]} if rng.random() < 0.5 else e for e in entries]


@honest
def several_classes_each(document, rng):
    """Each box comes in several classes, with lower scores, as MMDetection's heads write them."""
    ids = [category['id'] for category in document['categories']]
    entries = []
    for e in detect(document, FAIR, rng):
        share = rng.dirichlet([1, 0.5, 0.3])
        others = [int(rng.choice(ids)) for _ in share[1:]]
        entries.append(e)
        entries += [
            {**e, 'category_id': c, 'score': e['score'] * float(s)} for c, s in zip(others, share[1:], strict=True)
        ]
    return entries


@honest
def three_hundred_each(document, rng):
    """A detector without a limit of scores: 300 detections a picture, most of them of nothing."""
    return limited(detect(document, replace(FAIR, false=320), rng), 300)


@honest
def hundred_each(document, rng):
    """The same, cut at 100 a picture, where there are far fewer objects."""
    return limited(detect(document, replace(WEAK, false=150), rng), 100)


@honest
def loose_suppression(document, rng):
    """Objects come twice now and then, at half the score and another place: NMS at an overlap of 0.7."""
    entries = detect(document, FAIR, rng)
    return entries + [e | _moved(e, rng) for e in entries if rng.random() < 0.3]


def _moved(entry: dict, rng: np.random.Generator) -> dict:
    x, y, w, h = entry['bbox']
    return dict(bbox=[x + 0.2 * w, y, w * 0.9, h], score=entry['score'] * float(rng.uniform(0.2, 0.6)))


@honest
def scores_by_chance(document, rng):
    """Good boxes whose scores mean nothing."""
    return [{**e, 'score': float(rng.uniform())} for e in detect(document, GOOD, rng)]


@honest
def sure_of_everything(document, rng):
    """Scores saturate: nearly all are 0.99 and more."""
    return [{**e, 'score': round(0.98 + 0.02 * e['score'], 3)} for e in detect(document, GOOD, rng)]


@honest
def sure_of_nothing(document, rng):
    """An early stage: no score passes 0.06."""
    return [{**e, 'score': 0.06 * e['score'] ** 2} for e in detect(document, WEAK, rng)]


@honest
def few_levels_of_scores(document, rng):
    """Scores of one digit."""
    return [{**e, 'score': round(e['score'], 1)} for e in detect(document, FAIR, rng)]


@honest
def boxes_too_large(document, rng):
    """Boxes have a margin of an eighth."""
    return [{**e, 'bbox': _grown(e['bbox'], 0.125)} for e in detect(document, GOOD, rng)]


@honest
def boxes_too_small(document, rng):
    return [{**e, 'bbox': _grown(e['bbox'], -0.1)} for e in detect(document, GOOD, rng)]


def _grown(box: list[float], share: float) -> list[float]:
    x, y, w, h = box
    return [x - share * w, y - share * h, w * (1 + 2 * share), h * (1 + 2 * share)]


@honest
def half_a_pixel_off(document, rng):
    """The old convention of coordinates."""
    return [
        {**e, 'bbox': [e['bbox'][0] + 0.5, e['bbox'][1] + 0.5, *e['bbox'][2:]]} for e in detect(document, FAIR, rng)
    ]


@honest
def whole_pixels(document, rng):
    """Boxes are rounded."""
    return [{**e, 'bbox': [float(round(v)) for v in e['bbox']]} for e in detect(document, FAIR, rng)]


@honest
def squares(document, rng):
    """It has not learned the aspect of boxes: all are squares as large as they should be."""
    return [{**e, 'bbox': _squared(*e['bbox'])} for e in detect(document, GOOD, rng)]


def _squared(x, y, w, h):
    side = float(np.sqrt(w * h))
    return [x + (w - side) / 2, y + (h - side) / 2, side, side]


@honest
def the_middle_of_pictures(document, rng):
    """A collapsed model: everywhere the same boxes near the middle, of the most frequent classes."""
    frequent = [a['category_id'] for a in document['annotations']]
    entries = []
    for image in document['images']:
        for _ in range(10):
            w, h = (np.array([image['width'], image['height']]) * rng.uniform(0.4, 0.9, 2)).tolist()
            box = [(image['width'] - w) / 2, (image['height'] - h) / 2, w, h]
            entries.append(_filled(image, int(rng.choice(frequent)), float(rng.uniform(0, 0.2)), box, 0.85))
    return entries


@honest
def whole_pictures(document, rng):
    """Another collapse: the whole picture is one object."""
    frequent = [a['category_id'] for a in document['annotations']]
    entries = []
    for image in document['images']:
        box = [0.0, 0.0, float(image['width']), float(image['height'])]
        entries.append(_filled(image, int(rng.choice(frequent)), float(rng.uniform(0, 1)), box, 0.9))
    return entries


def _filled(image: dict, category: int, score: float, box: list[float], share: float) -> dict:
    """An ellipse in the middle of a box."""
    x, y, w, h = box
    mask = np.zeros((image['height'], image['width']), np.uint8)
    middle, axes = (round(x + w / 2), round(y + h / 2)), (int(w / 2 * share), int(h / 2 * share))
    cv2.ellipse(mask, middle, axes, 0, 0, 360, 1, cv2.FILLED)
    return dict(image_id=image['id'], category_id=category, score=score, bbox=box, segmentation=encode(mask))


@honest
def masks_too_small(document, rng):
    return list(_with_masks(document, detect(document, GOOD, rng), lambda mask, side: cv2.erode(mask, _disc(side / 6))))


@honest
def masks_too_large(document, rng):
    return list(
        _with_masks(document, detect(document, GOOD, rng), lambda mask, side: cv2.dilate(mask, _disc(side / 6)))
    )


@honest
def masks_without_shape(document, rng):
    """It has learned no shapes: each mask is an ellipse in its box."""
    images = {image['id']: image for image in document['images']}
    entries = detect(document, FAIR, rng)
    return [_filled(images[e['image_id']], e['category_id'], e['score'], e['bbox'], 1.0) for e in entries]


@honest
def coarse_masks(document, rng):
    """Masks of a fourth of the resolution, enlarged with visible steps."""
    return list(_with_masks(document, detect(document, GOOD, rng), lambda mask, side: _coarse(mask)))


def _with_masks(document: dict, entries: list[dict], change: Callable) -> Iterable[dict]:
    images = {image['id']: image for image in document['images']}
    for e in entries:
        mask = mask_of(e, images[e['image_id']])
        yield {**e, 'segmentation': encode(change(mask, np.sqrt(mask.sum())))}


def _disc(reach: float) -> np.ndarray:
    side = 2 * int(reach / 2) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _coarse(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    small = cv2.resize(mask, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


@honest
def boxes_alone(document, rng):
    """A detector without masks."""
    return [{k: v for k, v in e.items() if k != 'segmentation'} for e in detect(document, WEAK, rng)]


@honest
def masks_alone(document, rng):
    """Results without boxes."""
    return [{k: v for k, v in e.items() if k != 'bbox'} for e in detect(document, FAIR, rng)]


@honest
def good_boxes_poor_masks(document, rng):
    return detect(document, replace(GREAT, noise=1.2), rng)


def _most_frequent(document: dict) -> int:
    return Counter(a['category_id'] for a in document['annotations']).most_common(1)[0][0]


def _split(document: dict, known: list[int]) -> tuple[dict, dict]:
    """The annotations of these categories, and those of the others."""
    first = [a for a in document['annotations'] if a['category_id'] in known]
    rest = [a for a in document['annotations'] if a['category_id'] not in known]
    return {**document, 'annotations': first}, {**document, 'annotations': rest}
