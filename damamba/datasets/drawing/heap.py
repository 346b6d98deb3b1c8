"""What lies above what in a picture, so that everything can still be recognised.

Maps are [H, W]; "fine" ones are FINE times larger. Positions are (x, y) in pixels; the first pixel is 0 ... 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from damamba.datasets.drawing.grounds import FINE, coverage
from damamba.datasets.drawing.things import Thing

EMPTY, WALL = -1, -2  # in place of an item's number: nothing lies there; nothing may


@dataclass(frozen=True)
class Placed:
    """A thing in its place, or a crowd of things, with its outline as a fine mask of the patch around it."""

    thing: Thing
    category: int  # index into the classes that there are
    centre: Sequence[float]
    radius: float
    angle: float
    corner: Sequence[int]  # the patch's, in the picture; a patch may reach out of it
    mask: np.ndarray  # [h * FINE, w * FINE] uint8, 0 or 1
    crowd: Sequence['Placed'] = ()  # the things of a crowd; the mask is the region that they lie in

    def spread(self, frame: np.ndarray) -> np.ndarray:
        """Its fine mask in a picture whose fine maps have the frame's shape [H * FINE, W * FINE]: uint8."""
        whole = np.zeros(frame.shape, np.uint8)
        part, own = overlap(np.multiply(self.corner, FINE), self.mask, whole)
        whole[part] = self.mask[own]
        return whole


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Points [N, 2] after a turn around the middle."""
    cos, sin = math.cos(angle), math.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def place_thing(thing: Thing, category: int, centre: Sequence[float], radius: float, angle: float) -> Placed:
    """Turn and scale a thing's outline."""
    loops = [radius * turned(loop, angle) + centre for loop in thing.loops]
    corner = np.floor(loops[0].min(0)).astype(int) - 1
    width, height = np.ceil(loops[0].max(0)).astype(int) + 1 - corner
    mask = np.zeros((height * FINE, width * FINE), np.uint8)
    # OpenCV counts from the middle of a pixel, and with shift=4 in sixteenths.
    points = [np.round(((loop - corner) * FINE - 0.5) * 16).astype(np.int32) for loop in loops]
    cv2.fillPoly(mask, points, 1, shift=4)
    return Placed(thing, category, np.array(centre).tolist(), radius, angle, corner.tolist(), mask)


def overlap(corner: Sequence[int], patch: np.ndarray, frame: np.ndarray) -> tuple[tuple, tuple]:
    """The part of a patch, from its corner (x, y) on, that lies in the frame: slices of the frame and of the patch."""
    start = np.array(corner[::-1])
    low = np.clip(start, 0, frame.shape[:2])
    high = np.clip(start + patch.shape[:2], low, frame.shape[:2])
    return tuple(map(slice, low, high)), tuple(map(slice, low - start, high - start))


@dataclass(frozen=True)
class Visible:
    """What is visible of one thing of a scene, or of one crowd."""

    category: int  # index into the classes that there are
    fine: np.ndarray  # [H * FINE, W * FINE] bool
    hidden: float = 0.0  # the share of its area that others cover
    crowd: bool = False
    holder: bool = False  # it holds the things, and is none itself

    @cached_property
    def mask(self) -> np.ndarray:
        """The pixels of which it has the greater part: [H, W] bool."""
        return coverage(self.fine) > 0.5


class Heap:
    """A picture of ``height`` x ``width`` pixels, filled item by item; of each ``pixels`` at least stay visible."""

    def __init__(self, height: int, width: int, pixels: int) -> None:
        self.pixels = pixels * FINE * FINE
        self.top = np.full((height * FINE, width * FINE), EMPTY, np.int16)  # the uppermost item at each fine pixel
        self.items: list[Placed] = []
        self.upon: list[list[int]] = []  # the numbers of the items that each one covers in part
        self.inside = self.covered = self.least = np.zeros(0)  # fine pixels in the frame, under others, to stay visible

    def put(self, placed: Placed, share: float) -> bool:
        """Put an item on top, unless too little of any stayed visible, of this one a share of its whole area."""
        frame, own = overlap(np.multiply(placed.corner, FINE), placed.mask, self.top)
        under = placed.mask[own] > 0
        labels = self.top[frame][under]
        blocked, _, *taken = np.bincount(labels - WALL, minlength=len(self.items) - WALL)
        inside, covered = np.append(self.inside, len(labels)), np.append(self.covered + taken, 0)
        least = np.append(self.least, max(share * np.count_nonzero(placed.mask), self.pixels))
        if blocked or (inside - covered < least).any():
            return False
        self.top[frame][under] = len(self.items)
        self.items.append(placed)
        self.upon.append(np.flatnonzero(taken).tolist())
        self.inside, self.covered, self.least = inside, covered, least
        return True

    def roomiest(self, places: np.ndarray) -> np.ndarray:
        """Of several places [N, 2] the one farthest from all items; the first where there are none."""
        gaps = [np.hypot(*(places - item.centre).T) - item.radius for item in self.items]
        return places[np.min(gaps, 0).argmax()] if gaps else places[0]

    def see(self) -> list[Visible]:
        """What is visible of each item."""
        shares = (self.covered / [np.count_nonzero(it.mask) for it in self.items]).tolist()
        return [Visible(it.category, self.top == i, shares[i], bool(it.crowd)) for i, it in enumerate(self.items)]
