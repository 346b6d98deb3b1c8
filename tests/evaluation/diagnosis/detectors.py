"""What detectors of all skills say of pictures whose annotations are known: results as COCO has them, and honest ones.

A mask is made as Mask R-CNN makes it: the object's, of 28 x 28 pixels in its box, blurred and noisy, pasted into the
box that was found.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as rle

SIDE = 28  # of a mask before it is pasted


@dataclass(frozen=True)
class Skill:
    """How well a detector does."""

    recall: float  # the share of the objects that it finds
    jitter: float  # of a box's sides and place, in its sizes
    noise: float  # of a mask's values
    confusion: float  # the share of the found objects that it takes for another class
    false: float  # things per picture that are not there
    sharpness: float  # how much surer it is of what is right; 0: not at all


PERFECT = Skill(recall=1, jitter=0, noise=0, confusion=0, false=0, sharpness=4)
GREAT = Skill(recall=0.97, jitter=0.02, noise=0.1, confusion=0.02, false=3, sharpness=3)
GOOD = Skill(recall=0.9, jitter=0.04, noise=0.25, confusion=0.05, false=5, sharpness=2.5)
FAIR = Skill(recall=0.7, jitter=0.08, noise=0.4, confusion=0.15, false=8, sharpness=1.5)
WEAK = Skill(recall=0.4, jitter=0.14, noise=0.6, confusion=0.35, false=12, sharpness=0.8)
POOR = Skill(recall=0.2, jitter=0.25, noise=0.9, confusion=0.6, false=15, sharpness=0.4)
BLIND = Skill(recall=0.02, jitter=0.4, noise=1.2, confusion=0.8, false=20, sharpness=0)


def detect(document: dict, skill: Skill, rng: np.random.Generator, least: float = 0.0) -> list[dict]:
    """Results for all pictures, of scores of ``least`` at least; crowds are left out, as a detector knows none."""
    objects = {image['id']: [] for image in document['images']}
    for a in document['annotations']:
        if not a.get('iscrowd'):
            objects[a['image_id']].append(a)
    cat_ids = [category['id'] for category in document['categories']]
    common = [a['category_id'] for a in document['annotations']] or cat_ids
    entries = []
    for image in document['images']:
        found = [_found(a, image, skill, cat_ids, rng) for a in objects[image['id']] if rng.random() < skill.recall]
        false = [_false(image, skill, common, rng) for _ in range(rng.poisson(skill.false))]
        entries += sorted(found + false, key=lambda entry: -entry['score'])
    return [entry for entry in entries if entry['score'] >= least]


def _found(a: dict, image: dict, skill: Skill, cat_ids: Sequence[int], rng: np.random.Generator) -> dict:
    others = [cat_id for cat_id in cat_ids if cat_id != a['category_id']]
    confused = others and rng.random() < skill.confusion
    category = int(rng.choice(others)) if confused else a['category_id']
    x, y, w, h = a['bbox']
    dx, dy, dw, dh = rng.normal(0, skill.jitter, 4)
    box = [x + dx * w, y + dy * h, w * np.exp(dw), h * np.exp(dh)]
    error = abs(dx) + abs(dy) + abs(dw) + abs(dh)
    certainty = 1 - 2 * min(error, 1) - 1.5 * bool(confused)
    logit = skill.sharpness * certainty + rng.normal(0, 0.7) - (skill.sharpness == 0)
    return _entry(image, category, logit, box, cut_out(mask_of(a, image), a['bbox']), skill.noise, rng)


def _false(image: dict, skill: Skill, cat_ids: Sequence[int], rng: np.random.Generator) -> dict:
    sizes = np.exp(rng.uniform(np.log(0.08), np.log(0.7), 2)) * [image['width'], image['height']]
    place = rng.uniform(0, 1, 2) * ([image['width'], image['height']] - sizes)
    rows, columns = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE * 2 - 1
    small = (rows**2 + columns**2 < 1).astype(np.float32)
    logit = -max(skill.sharpness, 1) + rng.normal(0, 0.9)
    return _entry(image, int(rng.choice(cat_ids)), logit, [*place, *sizes], small, max(skill.noise, 0.3), rng)


def _entry(image: dict, category: int, logit: float, box, small: np.ndarray, noise: float, rng) -> dict:
    """A result: the box cut by the picture's frame, and a mask pasted into it."""
    x1, x2 = np.clip([box[0], box[0] + max(box[2], 2)], 0, image['width'])
    y1, y2 = np.clip([box[1], box[1] + max(box[3], 2)], 0, image['height'])
    rough = cv2.GaussianBlur(rng.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 2) * 7  # its spread is about 1
    small = cv2.GaussianBlur(small, (0, 0), 0.5) + noise * 0.3 * rough
    mask = paste(small, (x1, y1, x2 - x1, y2 - y1), image)
    return {
        'image_id': image['id'],
        'category_id': category,
        'score': round(float(1 / (1 + np.exp(-logit))), 4),
        'bbox': [round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
        'segmentation': encode(mask),
    }


def paste(small: np.ndarray, box: Sequence[float], image: dict) -> np.ndarray:
    """The mask [H, W], uint8, of which a box of the picture holds this much: [SIDE, SIDE] float32."""
    mask = np.zeros((image['height'], image['width']), np.uint8, order='F')
    x, y, w, h = box
    left, top = max(int(x), 0), max(int(y), 0)
    right, bottom = min(int(np.ceil(x + w)), image['width']), min(int(np.ceil(y + h)), image['height'])
    if right > left and bottom > top:
        mask[top:bottom, left:right] = cv2.resize(small, (right - left, bottom - top)) > 0.5
    return mask


def cut_out(mask: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The part of a mask in a box, of SIDE x SIDE pixels."""
    x, y, w, h = box
    left, top, right, bottom = int(x), int(y), int(np.ceil(x + w)), int(np.ceil(y + h))
    part = mask[top : max(bottom, top + 1), left : max(right, left + 1)].astype(np.float32)
    return cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA) if part.size else np.ones((SIDE, SIDE), 'f4')


def mask_of(entry: dict, image: dict) -> np.ndarray:
    """The mask [H, W], uint8, of an annotation or a result."""
    region, size = entry['segmentation'], (image['height'], image['width'])
    if isinstance(region, list):
        region = rle.merge(rle.frPyObjects(region, *size))
    elif isinstance(region['counts'], list):
        region = rle.frPyObjects(region, *size)
    return rle.decode(region)


def encode(mask: np.ndarray) -> dict:
    """A mask [H, W] as RLE whose counts are text, as JSON has it."""
    region = rle.encode(np.asfortranarray(mask, np.uint8))
    return {'size': list(region['size']), 'counts': region['counts'].decode()}


def limited(entries: list[dict], most: int) -> list[dict]:
    """The surest of each picture."""
    counts, kept = Counter(), []
    for e in sorted(entries, key=lambda entry: -entry['score']):
        counts[e['image_id']] += 1
        if counts[e['image_id']] <= most:
            kept.append(e)
    return kept
