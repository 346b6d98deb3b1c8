"""Masks as outlines, for formats that know nothing else, and several outlines as one: each is [N, 2] in pixels."""

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

PAIRS = 2**20  # of points, whose distances are in memory at once
Outlines = tuple[np.ndarray, tuple[np.ndarray, ...]]  # that around a part, and those of the holes in it


def outlines_of(mask: np.ndarray) -> list[Outlines]:
    """mask [H, W] -> the outline of each of its parts, and of the holes in it; the largest part first.

    Points are corners of pixels, as COCO's are, so that what is filled, without its holes, gives the mask again.
    """
    mask = mask.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)  # a fraction of most pictures
    near = mask[top : top + height, left : left + width].repeat(2, 0).repeat(2, 1)
    contours, families = cv2.findContours(near, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE) if width else ((), None)
    outlines = [(contour[:, 0] + 1) // 2 + (left, top) for contour in contours]  # odd ends lie on the next corner
    holes, outer = defaultdict(list), []
    for place, around in enumerate(families[0][:, 3].tolist() if width else []):
        (outer if around < 0 else holes[around]).append(place)
    found = [(outlines[place], tuple(outlines[hole] for hole in holes[place])) for place in outer]
    return sorted(found, key=lambda it: -cv2.contourArea(it[0].astype(np.float32)))


def polygons_of(mask: np.ndarray) -> list[np.ndarray]:
    """mask [H, W] -> the outline of each of its parts, with its holes filled; the largest part first."""
    return [outline for outline, _ in outlines_of(mask)]


def in_one(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Join an object's parts and holes into one outline: a line leads from the nearest point to each, and back.

    What is walked twice encloses nothing; filled by the even-odd rule, as OpenCV does, holes are holes again.
    """
    whole = parts[0]
    for part in parts[1:]:
        here, there = _nearest(whole, part)
        loop = np.concatenate((part[there:], part[: there + 1]))
        whole = np.concatenate((whole[: here + 1], loop, whole[here:]))
    return whole


def _nearest(whole: np.ndarray, part: np.ndarray) -> tuple[int, int]:
    """Which points of the two are the nearest to each other."""
    least = []  # of each point of the whole, some at once, for there may be thousands of both
    for some in np.array_split(whole, len(whole) * len(part) // PAIRS + 1):
        least.append(((some[:, None] - part[None]) ** 2).sum(2).min(1))
    here = int(np.concatenate(least).argmin())
    return here, int(((part - whole[here]) ** 2).sum(1).argmin())


def shares(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[N, 2] in pixels -> the same in shares of a picture's width and height; ``size`` is its height and width."""
    return outline / (size[1], size[0])
