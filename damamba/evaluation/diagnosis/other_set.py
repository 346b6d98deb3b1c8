"""Results that are of other pictures than the annotations."""

import numpy as np

from damamba.evaluation.diagnosis.columns import Results, Truth
from damamba.evaluation.diagnosis.quick_ap import box_overlaps, same_picture

UNKNOWN = 0.5  # share of the detections whose picture is not there
LEAVE = 0.2  # share of the boxes, or masks, that do not fit into their pictures
SURE = 0.5  # score of detections that their model would stand by
FEW, FEW_SURE = 10, 60  # pictures, and sure detections, or nothing is said of chance
MOSTLY = 0.15  # share of the detections that are sure, of a model that is good on its own pictures
TIMES, SPREAD = 1.5, 1.5  # of what others' pictures give: how often their mean, how many standard deviations above it
LIKE = 4.0  # how many times larger or smaller sure detections may be than objects
EDGE = 5.0  # pixels by which a box may leave its picture
ALIKE = 0.4  # overlap of what was found in different pictures, from which on it is always the same


def other_set(results: Results, truth: Truth, seed: int = 0) -> str | None:
    """A sentence that says why the results are of other pictures, or None where they may be of these."""
    unknown = results.image < 0
    if unknown.mean() > UNKNOWN:
        written = next(it for it, lost in zip(results.image_ids, unknown, strict=True) if lost)
        if written is None:
            return None
        return (
            f'{unknown.sum():,} of {len(results):,} detections have an image_id that the annotations do not have, such '
            f'as {written!r}: these results are of other pictures, or of another split.'
        )
    known = results.take(~unknown)
    outside = _outside(known, truth)
    if outside > LEAVE:
        return (
            f'{outside:.0%} of the detections do not fit into their pictures: results of other pictures, or '
            'annotations with wrong sizes?'
        )
    if _by_chance(known, truth, np.random.default_rng(seed)):
        return (
            'Sure detections lie no better on the objects of their own pictures than on those of others: results of '
            'other pictures, pictures in an order that is not known here, or boxes in such a form?'
        )
    return None


def _outside(results: Results, truth: Truth) -> float:
    """The share of the detections whose box leaves its picture, or whose mask is as large as another one."""
    sizes = truth.sizes[results.image]
    if results.masks is not None:
        shapes = np.array([mask['size'] if isinstance(mask, dict) else (0, 0) for mask in results.masks]).reshape(-1, 2)
        others = {tuple(size) for size in truth.sizes.tolist()}
        is_known = np.array([tuple(shape) in others for shape in shapes.tolist()], bool)
        return float(((shapes != sizes).any(axis=1) & is_known).mean()) if len(shapes) else 0.0
    ends = results.boxes[:, :2] + results.boxes[:, 2:]
    known = (sizes > 0).all(axis=1)
    return float(((ends > sizes[:, ::-1] + EDGE).any(axis=1) & known).mean()) if len(ends) else 0.0


def _by_chance(results: Results, truth: Truth, rng: np.random.Generator) -> bool:
    """Whether sure detections, which differ from picture to picture, cover objects of other pictures as well."""
    sure = results.take(np.nan_to_num(results.scores) >= SURE)
    pictures = np.intersect1d(sure.image, truth.image[~truth.crowd])
    if len(pictures) < FEW or len(sure) < max(FEW_SURE, MOSTLY * len(results)):
        return False
    solid = ~truth.crowd
    sides = [np.median(np.sqrt(it[:, 2:].clip(min=0).prod(axis=1))) for it in (sure.places, truth.boxes[solid])]
    if not sides[1] / LIKE < sides[0] < sides[1] * LIKE:
        return False
    own = _closely(_overlaps(sure.image, sure.places, truth.image[solid], truth.boxes[solid]))
    others, alike = [], []
    for _ in range(20):
        turned = np.arange(len(truth.image_ids))
        turned[pictures] = np.roll(rng.permutation(pictures), 1)
        others.append(_closely(_overlaps(turned[sure.image], sure.places, truth.image[solid], truth.boxes[solid])))
        alike.append(_overlaps(turned[sure.image], sure.places, sure.image, sure.places).mean())
    likely = min(TIMES * np.mean(others), np.mean(others) + SPREAD * np.std(others))
    return own <= likely and float(np.mean(alike)) < ALIKE


def _overlaps(image: np.ndarray, boxes: np.ndarray, others: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """The largest overlap of each object with a detection of its picture."""
    found, beside = same_picture(image, others)
    best = np.zeros(len(objects))
    np.maximum.at(best, beside, box_overlaps(boxes[found], objects[beside]))
    return best


def _closely(overlaps: np.ndarray) -> float:
    """Their mean, large ones first: many detections overlap with anything a little, and hardly by chance with most."""
    return float((overlaps**4).mean())
