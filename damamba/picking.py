"""Where a robot may grasp what was found: a point in each mask, and the order in which to pick.

The point is the one farthest from the mask's edge, the middle of the largest circle that fits in; it is on the object,
even where the centroid of a bent one is not.

What lies on top comes first. Of two neighbours, the one that takes more of the other's convex hull lies above it: so
Zhan et al. (arXiv 2004.02788) order objects without learning, here by shares of the hulls. An object is covered by what
those above it take beyond what it takes of theirs, and the order goes by score times what is free. That is a guess from
one picture: an object that is cut off straight looks whole, a dent that a neighbour fills looks covered, and neither
depth nor weight nor grip is seen. A tote, which holds the objects, is not picked and covers nothing.

Masks come as COCO's RLE.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from pycocotools import mask as rle

from damamba.datasets.run_lengths import run_lengths

CONTAINERS = ('tote',)  # classes of what holds the objects


@dataclass(frozen=True)
class PickPoint:
    """A point in a mask.

    Attributes:
        x, y: in pixels of the picture: the middle of the pixel in column 3 is 3.5.
        clearance: pixels from there to the mask's edge.
        covered: the share of the mask's convex hull that those above it take, from 0 to 1.
        score: of the detection.
        name: of its class.
        place: of the detection among those that it was taken from.
    """

    x: float
    y: float
    clearance: float
    covered: float
    score: float
    name: str
    place: int


class Patch(NamedTuple):
    """The part of a picture around a mask."""

    left: int
    top: int
    mask: np.ndarray  # [h, w] uint8, 0 or 1

    def has(self, x: float, y: float) -> bool:
        """Whether the mask has the pixel that a point of the picture lies in."""
        row, column = int(y) - self.top, int(x) - self.left
        height, width = self.mask.shape
        return 0 <= row < height and 0 <= column < width and bool(self.mask[row, column])


def is_container(name: str, containers: Collection[str] = CONTAINERS) -> bool:
    """Whether objects of a class hold others, by its name, whatever the case."""
    return name.strip().casefold() in {it.strip().casefold() for it in containers}


def pick_points(
    masks: Sequence[dict], scores: Sequence[float], names: Sequence[str], containers: Collection[str] = CONTAINERS
) -> Iterator[PickPoint]:
    """A point for each mask that is not empty, the best to pick first, and each computed when it is asked for.

    Args:
        masks: N, all of one size.
        scores: N.
        names: of their classes, N.
        containers: classes that are not picked, and cover nothing.
    """
    places = [k for k, name in enumerate(names) if not is_container(name, containers) and rle.area(masks[k])]
    patches = [patch_of(masks[k]) for k in places]
    rows = zip(places, patches, covered_shares(patches), strict=True)
    for place, patch, covered in sorted(rows, key=lambda row: -scores[row[0]] * (1 - row[2])):
        yield PickPoint(*_innermost(patch), covered, scores[place], names[place], place)


def patch_of(mask: dict) -> Patch:
    """A mask that is not empty; what lies around it is not decoded, which in a large picture is nearly all."""
    left, top, width, height = map(int, rle.toBbox(mask))
    rows, counts = mask['size'][0], mask['counts']  # runs go down the columns, the first of them outside
    ends = np.cumsum(run_lengths(counts if isinstance(counts, str) else counts.decode()))
    ends = np.clip(ends - left * rows, 0, width * rows)
    columns = np.repeat(np.arange(len(ends), dtype=np.uint8) & 1, np.diff(ends, prepend=0)).reshape(width, rows)
    return Patch(left, top, np.ascontiguousarray(columns[:, top : top + height].T))


def covered_shares(patches: Sequence[Patch]) -> list[float]:
    """Of each mask, the share of its convex hull that others take beyond what it takes of theirs, from 0 to 1."""
    hulls = [_hull(patch.mask) for patch in patches]
    dents = [Patch(it.left, it.top, hull - it.mask) for it, hull in zip(patches, hulls, strict=True)]
    taken = np.array([_shared(dent, patch) for dent in dents for patch in patches]).reshape(len(dents), len(patches))
    shares = taken / np.array([hull.sum() for hull in hulls])[:, None]
    return np.minimum(np.maximum(shares - shares.T, 0).sum(1), 1).tolist()


def _hull(mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.fillConvexPoly(np.zeros_like(mask), cv2.convexHull(np.concatenate(contours)), 1)
    return hull | mask


def _shared(one: Patch, other: Patch) -> int:
    """The number of pixels that both have."""
    left, top = max(one.left, other.left), max(one.top, other.top)
    a, b = (it.mask[top - it.top :, left - it.left :] for it in (one, other))
    height, width = np.minimum(a.shape, b.shape)
    return cv2.countNonZero(a[:height, :width] & b[:height, :width]) if height and width else 0


def _innermost(patch: Patch) -> tuple[float, float, float]:
    """x, y of the pixel farthest from the edge, and how far: the picture's own edge counts."""
    distances = cv2.distanceTransform(np.pad(patch.mask, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(distances.argmax(), distances.shape)
    return patch.left + int(column) + 0.5, patch.top + int(row) + 0.5, float(distances[row, column]) - 0.5


def draw_pick_points(picture: np.ndarray, points: Sequence[PickPoint]) -> np.ndarray:
    """The points with their numbers in the order, and circles as large as their clearance, in a copy of the picture."""
    drawn = picture.copy()
    for number, point in enumerate(points, 1):
        middle, radius = (round(point.x - 0.5), round(point.y - 0.5)), max(2, round(point.clearance))
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.circle(drawn, middle, radius, colour, thickness, cv2.LINE_AA)
            place = (middle[0] + 4, middle[1] - 4)
            cv2.putText(drawn, f'{number}', place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA)
    return drawn
