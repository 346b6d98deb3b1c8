"""COCO's mAP in about a second, so that many mends can be tried: overlaps once, then arrays alone.

The overlaps of a picture's detections and objects, whatever their classes, are kept as pairs; other categories, scores
or pictures need no new ones. Figures are those of COCO's evaluation (all areas, 100 detections of a picture and class).

Source of the protocol: https://cocodataset.org/#detection-eval. Shapes: N detections, G objects, P pairs.
"""

from dataclasses import dataclass, replace

import numpy as np
from pycocotools import mask as coco_mask

from damamba.evaluation.coco_ap import IOU_THRS
from damamba.evaluation.diagnosis.columns import Results, Truth
from damamba.evaluation.intervals import RECALLS

LEAST = 0.5  # overlap of the pairs that are kept
MOST = 100  # detections of a picture and class
NONE = -1


@dataclass(frozen=True)
class Pairs:
    """Detections and objects of one picture that overlap by LEAST or more; of a crowd, the part that lies in it."""

    found: np.ndarray  # [P], places among the detections
    object: np.ndarray  # [P], places among the objects
    overlap: np.ndarray  # [P]

    def of(self, chosen: np.ndarray) -> 'Pairs':
        """Some of them: flags or places [M]."""
        return replace(self, found=self.found[chosen], object=self.object[chosen], overlap=self.overlap[chosen])


def pair(results: Results, truth: Truth, kind: str, least: float = LEAST) -> Pairs:
    """All pairs of detections and objects that overlap, of boxes (``bbox``) or masks (``segm``)."""
    found, objects = same_picture(results.image, truth.image)
    if kind == 'bbox':
        overlap = box_overlaps(results.places[found], truth.boxes[objects], truth.crowd[objects])
    else:
        found, objects, overlap = _mask_overlaps(results, truth, found, objects)
    kept = overlap >= least
    return Pairs(found[kept], objects[kept], overlap[kept])


def same_picture(image: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of all pairs [P] of equal pictures in two lists; pictures below 0 are equal to none."""
    order = np.argsort(others, kind='stable')
    starts = np.searchsorted(others[order], image, side='left')
    counts = np.searchsorted(others[order], image, side='right') - starts
    counts[image < 0] = 0
    first = np.repeat(np.arange(len(image)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return first, order[np.repeat(starts, counts) + within]


def box_overlaps(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Intersection over union of boxes pair by pair [P], over the first one's area where the other is a crowd."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:])
    shared = (high - low).clip(min=0).prod(axis=1)
    areas = boxes[:, 2:].clip(min=0).prod(axis=1)
    union = areas + others[:, 2:].prod(axis=1) - shared
    below = union if crowd is None else np.where(crowd, areas, union)
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.nan_to_num(shared / below, nan=0.0, posinf=0.0)


def _mask_overlaps(
    results: Results, truth: Truth, found: np.ndarray, objects: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs with the overlaps of their masks, picture by picture; masks of another size overlap nothing."""
    parts = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    if not len(found):
        return parts[0]
    order = np.argsort(results.image[found], kind='stable')
    found, objects = found[order], objects[order]
    bounds = np.flatnonzero(np.diff(results.image[found])) + 1
    for rows, columns in zip(np.split(found, bounds), np.split(objects, bounds), strict=True):
        size = list(truth.size(results.image[rows[0]]))
        rows = [n for n in np.unique(rows) if _is_of(results.masks[n], size)]
        columns = [g for g in np.unique(columns) if _is_of(truth.masks[g], size)]
        if rows and columns:
            crowds = truth.crowd[columns].astype(np.uint8).tolist()
            matrix = coco_mask.iou([results.masks[n] for n in rows], [truth.masks[g] for g in columns], crowds)
            near = np.nonzero(np.nan_to_num(matrix) > 0)
            parts.append((np.array(rows)[near[0]], np.array(columns)[near[1]], matrix[near]))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _is_of(mask: dict | None, size: list[int]) -> bool:
    return isinstance(mask, dict) and list(mask['size']) == size


def rank(results: Results, most: int = MOST) -> np.ndarray:
    """Places of the detections that count, as COCO orders them: by score, then by picture, then as they are listed."""
    scores = np.nan_to_num(results.scores, nan=0.0)
    order = np.lexsort((np.arange(len(scores)), results.image, -scores))
    order = order[(results.image[order] >= 0) & (results.label[order] >= 0)]
    group = results.image[order] * (results.label.max(initial=0) + 1) + results.label[order]
    by_group = np.argsort(group, kind='stable')
    starts = np.flatnonzero(np.diff(group[by_group], prepend=-1))
    within = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    kept = np.empty(len(order), bool)
    kept[by_group] = within < most
    return order[kept]


def mean_ap(
    results: Results, truth: Truth, pairs: Pairs, iou_thrs: np.ndarray = IOU_THRS, most: int = MOST,
    pictures: np.ndarray | None = None,
) -> float:  # fmt: skip
    """The mean over classes and overlaps of average precision; 0 where there is nothing to find.

    ``pictures`` are those that count alone: flags [I].
    """
    objects = ~truth.crowd if pictures is None else ~truth.crowd & pictures[truth.image]
    counts = np.bincount(truth.label[objects], minlength=len(truth.categories))
    if not counts.any():
        return 0.0
    order = rank(results, most)
    if pictures is not None:
        order = order[pictures[results.image[order]]]
    order = order[np.argsort(results.label[order], kind='stable')]
    place = np.full(len(results), NONE)
    place[order] = np.arange(len(order))  # by class, then by score
    pairs = pairs.of((results.label[pairs.found] == truth.label[pairs.object]) & (place[pairs.found] >= 0))
    labels = results.label[order]
    values = [_precision_sum(labels, *judge(pairs, truth, place, least), counts) for least in iou_thrs]
    return float(np.mean([value[counts > 0] for value in values]))


def judge(pairs: Pairs, truth: Truth, place: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether each detection, by its place in order, finds an object of its own, and whether it lies in a crowd.

    In COCO's evaluation the surest detection chooses first, the object that it overlaps most. Detections that all ask
    for the one they like best, objects that keep the surest who asks, and the others asking for their next one, until
    nobody is left, come to the same: all objects agree on who is surest (Gale and Shapley 1962).
    """
    count = int(place.max(initial=NONE)) + 1
    pairs = pairs.of(pairs.overlap >= min(least, 1 - 1e-10))
    in_crowd = np.zeros(count, bool)
    crowd = truth.crowd[pairs.object]
    in_crowd[place[pairs.found[crowd]]] = True
    pairs = pairs.of(~crowd)
    asks, objects = place[pairs.found], pairs.object
    liked = np.lexsort((-objects, -pairs.overlap, asks))  # of equal overlaps the last object, as COCO has it
    asks, objects = asks[liked], objects[liked]
    keeper = np.full(len(truth.image), count)  # who has the object
    hit = np.zeros(count, bool)
    while True:
        still = asks < keeper[objects]  # nobody surer has it
        asks, objects = asks[still], objects[still]
        free = ~hit[asks]
        if not free.any():
            return hit, in_crowd & ~hit
        first = np.append(True, np.diff(asks[free]) != 0)
        surest = keeper.copy()
        np.minimum.at(surest, objects[free][first], asks[free][first])
        changed = surest < keeper
        hit[keeper[changed & (keeper < count)]] = False
        hit[surest[changed]] = True
        keeper = surest


def _precision_sum(labels: np.ndarray, hit: np.ndarray, ignored: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average precision by class [K], from detections sorted by class and then by score."""
    classes = len(counts)
    if not hit.any():
        return np.zeros(classes)
    shown, found = np.cumsum(~ignored), np.cumsum(hit)
    start = np.searchsorted(labels, labels, side='left')  # of each one's class
    shown = shown - np.append(0, shown)[start]
    found = found - np.append(0, found)[start]
    own, precision = labels[hit], (found / np.maximum(shown, 1))[hit]
    recall = found[hit] / np.maximum(counts[own], 1)
    above = 2.0 * (classes - own)  # so that the running maximum begins anew with each class
    best = np.maximum.accumulate((precision + above)[::-1])[::-1] - above
    reached = np.searchsorted(RECALLS, recall, side='right')
    before = np.append(0, reached[:-1])
    before[np.append(True, own[1:] != own[:-1])] = 0
    return np.bincount(own, weights=best * (reached - before), minlength=classes) / len(RECALLS)
