"""Where a robot may grasp what was found: a point in each mask, and the order in which to pick.

The point is the one farthest from the mask's edge, the middle of the largest circle that fits in; it is on the object,
even where the centroid of a bent one is not. What lies on top comes first: an object is covered by the share of its
mask's convex hull that other masks take, and the order goes by score times what is free. Both are guesses from one
picture: a dent that a neighbour fills looks like a covered part, and depth, weight and grip are not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from damamba.inference.detections import Detections


@dataclass(frozen=True)
class PickPoint:
    """A point in a mask.

    Attributes:
        x, y: in pixels of the picture: the middle of the pixel in column 3 is 3.5.
        clearance: pixels from there to the mask's edge.
        covered: the share of the mask's convex hull that other masks take, from 0 to 1.
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


def pick_points(found: 'Detections') -> list[PickPoint]:
    """A point for each mask that is not empty, the best to pick first.

    Raises:
        ValueError: the detector finds boxes alone.
    """
    if found.rles is None:
        raise ValueError('pick points need masks, and this detector finds boxes alone')
    masks = [found.mask(place) for place in range(len(found))]
    taken = np.zeros(found.size, np.uint16)  # by how many masks
    for mask in masks:
        taken += mask
    points = []
    for place, (mask, score, name) in enumerate(zip(masks, found.scores.tolist(), found.names, strict=True)):
        if mask.any():
            x, y, clearance = _innermost(mask)
            points.append(PickPoint(x, y, clearance, _covered(mask, taken), score, name, place))
    return sorted(points, key=lambda point: -point.score * (1 - point.covered))


def _innermost(mask: np.ndarray) -> tuple[float, float, float]:
    """mask [H, W] -> x, y of the pixel farthest from the edge, and how far: the picture's own edge counts."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    inside = np.pad(mask[top : top + height, left : left + width].astype(np.uint8), 1)
    distances = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(distances.argmax(), distances.shape)
    return left + int(column) + 0.5, top + int(row) + 0.5, float(distances[row, column]) - 0.5


def _covered(mask: np.ndarray, taken: np.ndarray) -> float:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    left, top, width, height = cv2.boundingRect(np.concatenate(contours))
    hull = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(contours)) - (left, top), 1)
    window = slice(top, top + height), slice(left, left + width)
    others = (taken[window] > mask[window]) & (hull > 0)
    return float(others.sum() / hull.sum())


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
