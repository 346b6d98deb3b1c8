"""Masks as polygons, for tools that know nothing else: YOLO's lines, Label Studio's tasks. Holes are filled."""

from typing import TYPE_CHECKING

import numpy as np

from damamba.datasets.outlines import in_one, polygons_of, shares

if TYPE_CHECKING:
    from damamba.inference.detections import Detections


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
