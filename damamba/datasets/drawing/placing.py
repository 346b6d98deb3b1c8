"""Choose what lies where in a scene, so that everything can still be recognised.

Maps are [H, W]; "fine" ones are FINE times larger. Positions are (x, y) in pixels; the first pixel is 0 ... 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import FINE
from damamba.datasets.drawing.things import CLASSES, KINDS, Loops

COUNTS = {3: 0.1, 4: 0.2, 5: 0.25, 6: 0.2, 7: 0.15, 8: 0.1}  # things in a picture, and how often
DIAMETERS = (0.18, 0.7)  # of the picture's side
MIN_DIAMETER = 14.0  # pixels
MIN_VISIBLE = 0.5  # of a thing's area, what the frame cuts off included
MIN_CROWD_VISIBLE = 0.8
MIN_PIXELS = 64  # visible ones
NEIGHBOUR = 0.52  # the chance that a thing is put upon another
CROWD = 0.06  # the chance of a heap of tiny things
TRIES = 300
EMPTY = -1  # the number of no thing


@dataclass(frozen=True)
class Pose:
    """A thing's place, and its outline as a fine mask of the patch around it."""

    category: int  # index into the classes that there are
    centre: tuple[float, float]
    radius: float
    angle: float
    loops: Loops  # in radii
    corner: tuple[int, int]  # the patch's, in the picture; a patch may reach out of it
    mask: np.ndarray  # [h * FINE, w * FINE] uint8, 0 or 1


@dataclass(frozen=True)
class Item:
    """One thing, or one crowd of them."""

    parts: list[Pose]
    region: Pose  # the thing itself; of a crowd the region that they lie in
    upon: list[int]  # the numbers of the items that it covers in part

    @property
    def crowd(self) -> bool:
        return len(self.parts) > 1


def make_pose(category: int, centre: tuple[float, float], radius: float, rng: Generator) -> Pose:
    """Choose an angle and an outline."""
    angle = rng.uniform(0, 2 * math.pi)
    return pose_of(category, centre, radius, angle, KINDS[CLASSES[category]].outline(rng))


def pose_of(category: int, centre: tuple[float, float], radius: float, angle: float, loops: Loops) -> Pose:
    """Draw the mask of an outline, turned and scaled."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned = [radius * loop @ np.array([[cos, sin], [-sin, cos]]) + centre for loop in loops]
    corner = np.floor(turned[0].min(0)).astype(int) - 1
    width, height = np.ceil(turned[0].max(0)).astype(int) + 1 - corner
    mask = np.zeros((height * FINE, width * FINE), np.uint8)
    # OpenCV counts from the middle of a pixel, and with shift=4 in sixteenths.
    points = [np.round(((loop - corner) * FINE - 0.5) * 16).astype(np.int32) for loop in turned]
    cv2.fillPoly(mask, points, 1, shift=4)
    return Pose(category, centre, radius, angle, loops, (int(corner[0]), int(corner[1])), mask)


Slices = tuple[slice, slice]


def overlap(corner: tuple[int, int], shape: Sequence[int], frame: Sequence[int]) -> tuple[Slices, Slices]:
    """The part of a patch that lies in the frame, as slices of the frame and of the patch. Shapes are (h, w)."""
    inside, own = [], []
    for start, length, limit in zip(corner[::-1], shape[:2], frame[:2], strict=True):
        low = min(max(start, 0), limit)
        high = max(min(start + length, limit), low)
        inside.append(slice(low, high))
        own.append(slice(low - start, high - start))
    return (inside[0], inside[1]), (own[0], own[1])


def fine_overlap(pose: Pose, frame: Sequence[int]) -> tuple[Slices, Slices]:
    return overlap((pose.corner[0] * FINE, pose.corner[1] * FINE), pose.mask.shape, frame)


class Heap:
    """What lies above what in a picture of ``height`` x ``width`` pixels. All areas are in fine pixels.

    Of an item at least the share ``least_share`` of its area stays visible, and ``least_pixels`` pixels.
    """

    def __init__(self, height: int, width: int, least_share: float = MIN_VISIBLE, least_pixels: int = MIN_PIXELS):
        self.least_share, self.least_pixels = least_share, least_pixels
        self.top = np.full((height * FINE, width * FINE), EMPTY, np.int16)  # the uppermost item at each fine pixel
        self.items: list[Item] = []
        self.areas: list[int] = []  # with what the frame cuts off
        self.inside: list[int] = []  # in the frame
        self.least: list[float] = []  # what has to stay visible
        self.visible = np.zeros(0, np.int64)

    def put(self, parts: list[Pose], region: Pose) -> bool:
        """Put an item on top, unless that would leave too little of any."""
        frame, own = fine_overlap(region, self.top.shape)
        under = region.mask[own] > 0
        labels = self.top[frame][under]
        taken = np.bincount(labels + 1, minlength=len(self.items) + 1)[1:]  # number 0 is the ground, EMPTY
        visible = np.append(self.visible - taken, len(labels))
        area = int(np.count_nonzero(region.mask))
        share = self.least_share if len(parts) == 1 else MIN_CROWD_VISIBLE
        least = [*self.least, max(share * area, self.least_pixels * FINE * FINE)]
        if np.any(visible < least):
            return False
        self.top[frame][under] = len(self.items)
        self.items.append(Item(parts, region, np.flatnonzero(taken).tolist()))
        self.areas.append(area)
        self.inside.append(len(labels))
        self.visible, self.least = visible, least
        return True

    def whole(self) -> list[int]:
        """The items of which nothing is hidden."""
        return np.flatnonzero(self.visible == self.inside).tolist()

    def hidden(self, number: int) -> float:
        """The share of an item's area that others cover."""
        return float(self.inside[number] - self.visible[number]) / self.areas[number]


def propose(heap: Heap, size: int, rng: Generator) -> Pose:
    """A thing of any class: upon another one, or where there is room; the frame may cut it."""
    low, high = max(DIAMETERS[0] * size, MIN_DIAMETER), DIAMETERS[1] * size
    radius = math.exp(rng.uniform(math.log(low), math.log(high))) / 2
    category = int(rng.integers(len(CLASSES)))
    beside = len(heap.items) > 0 and rng.random() < NEIGHBOUR
    centre = neighbouring(heap, radius, size, rng) if beside else roomy(heap, radius, size, rng)
    return make_pose(category, (float(centre[0]), float(centre[1])), radius, rng)


def neighbouring(heap: Heap, radius: float, size: int, rng: Generator) -> np.ndarray:
    """Where a thing covers a part of another; of several places the one nearest to the picture's middle."""
    other = heap.items[rng.choice(heap.whole() or range(len(heap.items)))].region
    far, angles = rng.uniform(0.45, 0.85) * (other.radius + radius), rng.uniform(0, 2 * math.pi, 3)
    places = np.array(other.centre) + far * np.stack([np.cos(angles), np.sin(angles)], 1)
    return places[np.abs(places - size / 2).max(1).argmin()]


def roomy(heap: Heap, radius: float, size: int, rng: Generator) -> np.ndarray:
    """Of several places in the picture the one farthest from all that is there; the first is near the middle."""
    if not heap.items:
        return rng.uniform(0.2 * size, 0.8 * size, 2)
    places = rng.uniform(0.6 * radius, size - 0.6 * radius, (4, 2))
    gaps = [np.hypot(*(places - item.region.centre).T) - item.region.radius for item in heap.items]
    return places[np.min(gaps, 0).argmax()]


def propose_crowd(size: int, rng: Generator) -> tuple[list[Pose], Pose]:
    """A heap of tiny things of one class, and the region that it takes: the things and the gaps between them."""
    category, count = int(rng.integers(len(CLASSES))), int(rng.integers(14, 25))
    radius = max(size / 32, 4.0)
    middle, turn = rng.uniform(0.28 * size, 0.72 * size, 2), rng.uniform(0, 2 * math.pi)
    parts = []
    for i in range(count):  # a sunflower's order fills a disc evenly
        far, angle = radius * 1.2 * math.sqrt(i + 0.5), turn + i * math.pi * (3 - math.sqrt(5))
        x, y = middle + far * np.array([math.cos(angle), math.sin(angle)]) + rng.normal(0, 0.2 * radius, 2)
        parts.append(make_pose(category, (float(x), float(y)), radius * rng.uniform(0.85, 1.15), rng))
    region = np.zeros((size * FINE, size * FINE), np.uint8)
    for part in parts:
        frame, own = fine_overlap(part, region.shape)
        region[frame] |= part.mask[own]
    reach = 2 * round(radius * FINE / 2) + 1
    region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    far = radius * 1.2 * math.sqrt(count)
    return parts, Pose(category, tuple(middle.tolist()), far, 0.0, [], (0, 0), region)


def place(size: int, rng: Generator) -> Heap:
    """Heap up things in a square picture of ``size`` pixels a side."""
    heap = Heap(size, size)
    if rng.random() < CROWD:
        heap.put(*propose_crowd(size, rng))
    wanted = len(heap.items) + int(rng.choice(list(COUNTS), p=list(COUNTS.values())))
    for _ in range(TRIES):
        if len(heap.items) == wanted:
            break
        pose = propose(heap, size, rng)
        heap.put([pose], pose)
    return heap
