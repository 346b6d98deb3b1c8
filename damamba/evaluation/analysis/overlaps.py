"""How much detections and objects of each picture overlap: computed once for errors, confusion and segmentation.

Shapes: D detections and G objects of a picture, whatever their classes; K classes.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from faster_coco_eval import COCO
from faster_coco_eval.core import mask as rle

FREE = -1  # no object


@dataclass(frozen=True)
class Picture:
    """What was detected in a picture, the surest first, and what is there.

    Classes go by their place in ``cat_ids``. An overlap is intersection over union; with a crowd it is the part of the
    detection that lies in the crowd, as COCO has it.
    """

    scores: np.ndarray  # [D]
    labels: np.ndarray  # [D]
    shapes: list  # D boxes (x, y, width, height) or compressed RLEs
    object_labels: np.ndarray  # [G]
    object_shapes: list  # G
    crowds: np.ndarray  # [G], bool
    overlaps: np.ndarray  # [D, G]

    @property
    def same_class(self) -> np.ndarray:
        """Whether a detection and an object are of one class: [D, G]."""
        return self.labels[:, None] == self.object_labels[None, :]

    def above(self, least: float) -> 'Picture':
        """The picture without the detections that score less."""
        count = int((self.scores >= least).sum())
        return Picture(
            self.scores[:count],
            self.labels[:count],
            self.shapes[:count],
            self.object_labels,
            self.object_shapes,
            self.crowds,
            self.overlaps[:count],
        )


def read_pictures(
    truth: COCO, predictions: Sequence[dict], kind: str, cat_ids: Sequence[int], most: int = 100
) -> list[Picture]:
    """All pictures of a ground truth, by ascending ids.

    Args:
        truth: the ground truth, in COCO's format.
        predictions: COCO results with ``bbox`` or, for ``segm``, compressed RLEs as ``segmentation``.
        kind: ``bbox`` or ``segm``.
        cat_ids: the classes that count; everything else is left out.
        most: how many detections of a picture and class count, the ones with the highest scores.
    """
    labels = {cat_id: label for label, cat_id in enumerate(cat_ids)}
    found = defaultdict(list)
    for prediction in predictions:
        if prediction['category_id'] in labels:
            found[prediction['image_id']].append(prediction)
    pictures = []
    for image_id in sorted(truth.imgs):
        objects = [a for a in truth.imgToAnns[image_id] if a['category_id'] in labels]
        pictures.append(_picture(truth, _best(found[image_id], most), objects, kind, labels))
    return pictures


def _best(entries: list[dict], most: int) -> list[dict]:
    """The ``most`` surest of each class, the surest first; of equal ones the first, as COCO's evaluation has it."""
    counts, best = Counter(), []
    for entry in sorted(entries, key=lambda entry: -entry['score']):
        counts[entry['category_id']] += 1
        if counts[entry['category_id']] <= most:
            best.append(entry)
    return best


def _picture(truth: COCO, entries: list[dict], objects: list[dict], kind: str, labels: dict[int, int]) -> Picture:
    shapes = [entry['bbox' if kind == 'bbox' else 'segmentation'] for entry in entries]
    object_shapes = [a['bbox'] if kind == 'bbox' else truth.annToRLE(a) for a in objects]
    crowds = np.array([bool(a.get('iscrowd')) for a in objects], dtype=bool)
    return Picture(
        np.array([entry['score'] for entry in entries], dtype=float),
        np.array([labels[entry['category_id']] for entry in entries], dtype=int),
        shapes,
        np.array([labels[a['category_id']] for a in objects], dtype=int),
        object_shapes,
        crowds,
        overlap(shapes, object_shapes, crowds),
    )


def overlap(shapes: list, others: list, crowds: Sequence[bool] | None = None) -> np.ndarray:
    """Intersection over union of boxes or RLEs [D, G], or over the first one's area where the other is a crowd."""
    if not shapes or not others:
        return np.zeros((len(shapes), len(others)))
    flags = np.zeros(len(others), dtype=int) if crowds is None else np.asarray(crowds, dtype=int)
    return np.asarray(rle.iou(shapes, others, flags.tolist()))


def match(picture: Picture, least: float) -> np.ndarray:
    """The object that each detection finds, as in COCO's evaluation: [D], or -1 where it finds none.

    The surest detection chooses first: the object of its own class that it overlaps most, by ``least`` or more, and
    that is not taken yet. Where there is none it may lie in a crowd, which takes any number of them.
    """
    fits = picture.same_class & (picture.overlaps >= least)
    taken = np.zeros(len(picture.object_labels), dtype=bool)
    found = np.full(len(picture.labels), FREE)
    for d in np.flatnonzero(fits.any(axis=1)):
        free = fits[d] & ~taken
        candidates = np.flatnonzero(free & ~picture.crowds)
        if not len(candidates):
            candidates = np.flatnonzero(free)
        if len(candidates):
            found[d] = candidates[len(candidates) - 1 - picture.overlaps[d, candidates][::-1].argmax()]  # COCO's: last
            taken[found[d]] = not picture.crowds[found[d]]
    return found
