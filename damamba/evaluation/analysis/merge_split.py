"""Masks that cover several objects, and objects with several masks: what makes a grasp fail."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from faster_coco_eval.core import mask as rle

from damamba.evaluation.analysis.overlaps import Picture, overlap
from damamba.tables import UNDEFINED, Table

MOST = 0.5  # of an object that is covered, of a mask that lies inside
DUPLICATE = 0.5  # the overlap from which on two masks are the same answer given twice
HEADINGS = ('objects', 'masks', 'under', 'over', 'under rate', 'over rate')


@dataclass(frozen=True)
class Segmentation:
    """Over- and under-segmentation, of all classes (``values``) and by class.

    ``objects`` and ``masks`` are how many there are, ``under`` the masks that cover several objects, ``over`` the
    objects with several masks; ``under rate`` is of the masks, ``over rate`` of the objects, -1 where there are none.
    """

    values: dict[str, float]
    classes: dict[str, dict[str, float]]

    def table(self, kind: str) -> str:
        """A line for each class, and one for all."""
        rows = {**self.classes, 'all': self.values} if len(self.classes) > 1 else self.classes
        title = f'{kind.capitalize()} under- and over-segmentation'
        return Table.of_numbers(title, 'class', rows, HEADINGS).text()


def count_segments(pictures: Sequence[Picture], names: Sequence[str], least_score: float) -> Segmentation:
    """Count masks that cover several objects of their class, and objects with several masks of their class.

    An object is covered by a mask if half of it or more is. A mask lies on an object if half of the mask or more is
    inside; of masks that overlap each other by more than 0.5 only the surest counts: the others are duplicates.

    Args:
        pictures: from :func:`~damamba.evaluation.analysis.overlaps.read_pictures`, of masks.
        names: of the K classes.
        least_score: masks that score less do not count.
    """
    counts = np.zeros((len(names), 4), dtype=int)  # objects, masks, under, over
    for picture in pictures:
        picture = picture.above(least_score)
        inside, covered = _shares(picture)
        solid = picture.object_labels[~picture.crowds]
        under = picture.labels[covered.sum(axis=1) > 1]
        over = [g for g in np.flatnonzero(inside.sum(axis=0) > 1) if _are_several(picture, inside[:, g])]
        for column, labels in enumerate((solid, picture.labels, under, picture.object_labels[over])):
            counts[:, column] += np.bincount(labels, minlength=len(names))
    classes = {name: _row(*row) for name, row in zip(names, counts.tolist(), strict=True)}
    return Segmentation(_row(*counts.sum(axis=0).tolist()), classes)


def _shares(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Whether a mask lies on an object, and whether it covers it: [D, G]; of one class alone, and crowds do neither."""
    counts = picture.same_class & ~picture.crowds & (picture.overlaps > 0)
    areas = _areas(picture.shapes)[:, None]
    object_areas = _areas(picture.object_shapes)[None, :]
    union_and_shared = areas + object_areas
    overlaps = picture.overlaps.clip(min=0)  # -1 of masks of different sizes
    shared = np.rint(overlaps * union_and_shared / (1 + overlaps))  # whole pixels
    return counts & (shared >= MOST * areas), counts & (shared >= MOST * object_areas)


def _areas(shapes: list) -> np.ndarray:
    return np.asarray(rle.area(shapes), dtype=float) if shapes else np.zeros(0)


def _are_several(picture: Picture, chosen: np.ndarray) -> bool:
    """Whether the masks chosen [D] are more than one and its duplicates."""
    shapes = [picture.shapes[d] for d in np.flatnonzero(chosen)]
    overlaps = overlap(shapes, shapes)
    kept = [0]
    for d in range(1, len(shapes)):
        if not (overlaps[d, kept] > DUPLICATE).any():
            kept.append(d)
    return len(kept) > 1


def _row(objects: int, masks: int, under: int, over: int) -> dict[str, float]:
    rates = (under / masks if masks else UNDEFINED, over / objects if objects else UNDEFINED)
    return dict(zip(HEADINGS, (objects, masks, under, over, *rates), strict=True))
