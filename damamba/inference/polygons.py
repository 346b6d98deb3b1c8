"""Masks as polygons, for tools that know nothing else: YOLO's lines, Label Studio's tasks. Holes are filled."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from damamba.inference.detections import Detections


def polygons_of(mask: np.ndarray) -> list[np.ndarray]:
    """mask [H, W] -> the outline of each of its parts, [M, 2] in pixels, M >= 3; the largest part first.

    Points are corners of pixels, as COCO's are, so that a polygon that is filled gives the mask again.
    """
    larger = cv2.resize(mask.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(larger, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [(contour[:, 0] + 1) // 2 for contour in contours]  # odd ends lie on the next corner
    return sorted((it for it in outlines if len(it) > 2), key=lambda it: -cv2.contourArea(it.astype(np.float32)))


def in_one(parts: list[np.ndarray]) -> np.ndarray:
    """Join the parts of an object into one outline [M, 2]: a line leads from the nearest point to each, and back."""
    whole = parts[0]
    for part in parts[1:]:
        distances = ((whole[:, None] - part[None]) ** 2).sum(2)
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        loop = np.concatenate((part[there:], part[: there + 1]))
        whole = np.concatenate((whole[: here + 1], loop, whole[here:]))
    return whole


def shares(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[M, 2] in pixels -> the same in shares of the picture's width and height."""
    return outline / (size[1], size[0])


def yolo_lines(found: 'Detections') -> list[str]:
    """``class x y x y ...`` for each object, in shares of the picture; the box's corners where there are no masks."""
    lines = []
    for place, label in enumerate(found.labels):
        outline = outline_of(found, place)
        if outline is not None:
            numbers = ' '.join(f'{value:.6f}' for value in shares(outline, found.size).ravel())
            lines.append(f'{label} {numbers}\n')
    return lines


def outline_of(found: 'Detections', place: int) -> np.ndarray | None:
    """The outline [M, 2] of a detection in pixels; None of an empty mask."""
    if found.rles is None:
        left, top, right, bottom = found.boxes[place]
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    parts = polygons_of(found.mask(place))
    return in_one(parts) if parts else None
