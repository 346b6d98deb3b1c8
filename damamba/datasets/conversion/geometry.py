"""Outlines and masks: cut at the picture's edge, turned as EXIF says, taken apart at bridges, drawn.

Shapes: outline [N, 2], x and y in pixels. mask [H, W].
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.conversion.labels import LabelledObject, Part, Size, rle_of


def enclosed(outline: np.ndarray) -> float:
    """The area within an outline, by the shoelace formula, in square pixels."""
    x, y = (outline - outline[0]).T
    return abs(float(x @ np.roll(y, -1) - np.roll(x, -1) @ y)) / 2


def beyond(outline: np.ndarray, size: Size) -> float:
    """By how many pixels an outline leaves the picture; 0 or less where it does not."""
    return float(max((-outline).max(), (outline - size).max()))


def cut_at_edges(outline: np.ndarray, size: Size) -> np.ndarray:
    """The part of an outline that lies in the picture, [M, 2], M may be 0; by Sutherland and Hodgman (1974)."""
    for axis, sign, limit in ((0, -1, 0), (0, 1, size[0]), (1, -1, 0), (1, 1, size[1])):
        if not len(outline):
            break
        ahead, over = np.roll(outline, -1, 0), sign * (outline[:, axis] - limit)  # over > 0: outside
        over_ahead = np.roll(over, -1)
        points = []
        for here, there, a, b in zip(outline, ahead, over, over_ahead, strict=True):
            points += [here] if a <= 0 else []
            if (a <= 0) != (b <= 0):
                crossing = here + (there - here) * (a / (a - b))
                crossing[axis] = limit
                points.append(crossing)
        outline = np.array(points).reshape(-1, 2)
    return outline


def turn_points(points: np.ndarray, orientation: int, size: Size) -> np.ndarray:
    """Points [N, 2] of a picture as it is stored, of this size -> of the same as EXIF's orientation turns it."""
    (x, y), (width, height) = points.T, size
    across = {2: width - x, 3: width - x, 5: y, 6: height - y, 7: height - y, 8: y}.get(orientation, x)
    down = {3: height - y, 4: height - y, 5: x, 6: x, 7: width - x, 8: width - x}.get(orientation, y)
    return np.stack((across, down), 1)


def turn_mask(mask: np.ndarray, orientation: int) -> np.ndarray:
    """A mask of a picture as it is stored -> of the same as EXIF's orientation turns it: [H, W] or [W, H]."""
    mask = np.fliplr(mask) if orientation in (2, 4, 5, 7) else mask
    return np.rot90(mask, {3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}.get(orientation, 0))


def draw(parts: Sequence[Part], size: Size) -> np.ndarray:
    """The mask [H, W] of parts, as pycocotools draws polygons, without what their holes enclose."""
    width, height = size
    mask = np.zeros((height, width), bool)
    for part in parts:
        outer, *holes = (coco_mask.decode(runs_of([outline], size)) > 0 for outline in (part.outline, *part.holes))
        mask |= outer & ~np.any(holes, 0) if holes else outer
    return mask


def runs_of(outlines: Sequence[np.ndarray], size: Size) -> dict:
    """What outlines enclose together, as pycocotools draws polygons: its RLE."""
    width, height = size
    return coco_mask.merge(coco_mask.frPyObjects([outline.ravel().tolist() for outline in outlines], height, width))


def area_of(part: Part, size: Size) -> int:
    """The pixels of a part, whose holes lie in it."""
    outer, *holes = (int(coco_mask.area(runs_of([outline], size))) for outline in (part.outline, *part.holes))
    return outer - sum(holes)


def overlap(parts: Sequence[Part], size: Size) -> bool:
    """Whether some parts have a pixel in common."""
    if len(parts) < 2:
        return False
    outer = [part.outline for part in parts]
    if sum(int(coco_mask.area(runs_of([it], size))) for it in outer) == coco_mask.area(runs_of(outer, size)):
        return False
    masks = [draw([part], size) for part in parts]  # one may lie in a hole of another
    return sum(int(mask.sum()) for mask in masks) > int(np.any(masks, 0).sum())


def unite(group: Sequence[LabelledObject], size: Size) -> LabelledObject:
    """Objects with masks as one: all their parts, or a mask where one of them is a mask. It stands for the first."""
    if len(group) == 1 or all(it.mask is None for it in group):
        return replace(group[0], parts=tuple(part for it in group for part in it.parts))
    masks = [draw(it.parts, size) if it.mask is None else coco_mask.decode(dict(it.mask)) for it in group]
    return replace(group[0], parts=(), mask=rle_of(np.any(masks, 0)))


def take_apart(outline: np.ndarray) -> tuple[Part, ...]:
    """The parts of an outline that walks from one to the next along lines, and back: formats of one outline need that.

    What lies within a part is a hole of it, by the even-odd rule.
    """
    rings: dict[frozenset, np.ndarray] = {}
    for ring in _rings(outline):
        points = frozenset(map(tuple, ring.tolist()))
        if (
            rings.pop(points, None) is None and len(ring) >= 3 and enclosed(ring) > 0
        ):  # one that is walked twice is none
            rings[points] = ring
    return nest([*rings.values()]) if len(rings) > 1 else (Part(outline),)


def _rings(outline: np.ndarray) -> Iterator[np.ndarray]:
    """Cut off a ring wherever an outline comes to a point again."""
    walk, places = [], {}
    for point in map(tuple, outline.tolist()):
        if point in places:
            yield np.array(walk[places[point] :])
            for passed in walk[places[point] + 1 :]:
                del places[passed]
            del walk[places[point] + 1 :]
        else:
            places[point] = len(walk)
            walk.append(point)
    yield np.array(walk)


def nest(rings: Sequence[np.ndarray]) -> tuple[Part, ...]:
    """Rings that do not cross -> parts, each with the rings right within it as its holes."""
    rings = sorted(rings, key=enclosed, reverse=True)
    around = [[other for other in range(place) if _is_within(ring, rings[other])] for place, ring in enumerate(rings)]
    holes = {
        place: max(others, key=lambda it: len(around[it])) for place, others in enumerate(around) if len(others) % 2
    }
    outer = [place for place in range(len(rings)) if place not in holes]
    return tuple(Part(rings[it], tuple(rings[hole] for hole, own in holes.items() if own == it)) for it in outer)


def _is_within(ring: np.ndarray, other: np.ndarray) -> bool:
    """Whether a ring lies in another one that it does not cross: by its points and those between them, off the edge."""
    contour, points = other.astype(np.float32)[:, None], np.concatenate((ring, (ring + np.roll(ring, 1, 0)) / 2))
    return sum(cv2.pointPolygonTest(contour, (float(x), float(y)), False) for x, y in points) > 0
