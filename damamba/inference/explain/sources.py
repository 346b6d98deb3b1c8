"""Where the adaptive scan reads from: offsets, as positions in the picture, and followed from stage to stage.

H x W map, G groups of channels, N points.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from damamba.inference.explain.geometry import Geometry, cell_grid


class Level(NamedTuple):
    """The points that one stage reads from, each with the point that it is read for."""

    stage: int  # its place in the list of stages
    origins: np.ndarray  # [N, 2], (x, y) in the picture's pixels
    points: np.ndarray  # [N, 2]


def sources_of(offsets: np.ndarray, geometry: Geometry, stride: int) -> np.ndarray:
    """Offsets [H, W, G, 2] in cells -> the positions (x, y) [H, W, G, 2] that are read, in the picture's pixels."""
    cells = cell_grid(offsets.shape[:2])
    return geometry.to_picture(cells[:, :, None] + offsets, stride)


def constellation(
    offsets: Sequence[np.ndarray], strides: Sequence[int], geometry: Geometry, position: tuple[float, float]
) -> list[Level]:
    """Where the last stage reads for a position (x, y), where the stage before reads for each of these, and so on.

    A point between cells reads where the cells around it read, in parts (the bilinear mean of their offsets).

    Args:
        offsets: [H, W, G, 2] in cells, of the stages that are followed; the last one comes first in the result.
        strides: pixels that the model sees to a cell, of each.
    """
    levels, points = [], np.array([position], float)
    for stage in reversed(range(len(offsets))):
        cells = geometry.to_cells(points, strides[stage])  # [N, 2]
        read = cells[:, None] + _between(offsets[stage], cells)  # [N, G, 2]
        origins = np.repeat(points, read.shape[1], axis=0)
        points = geometry.to_picture(read.reshape(-1, 2), strides[stage])
        levels.append(Level(stage, origins, points))
    return levels


def _between(field: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """A field [H, W, G, 2] at cells (x, y) [N, 2]: bilinear; beyond the border as at the border. [N, G, 2]."""
    height, width = field.shape[:2]
    column, row = np.clip(cells, 0, (width - 1, height - 1)).T[..., None, None]  # [N, 1, 1]
    left, top = np.minimum(column, max(width - 2, 0)).astype(int), np.minimum(row, max(height - 2, 0)).astype(int)
    left, top = left[:, 0, 0], top[:, 0, 0]
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = column - left[:, None, None], row - top[:, None, None]
    upper = field[top, left] * (1 - across) + field[top, right] * across
    lower = field[below, left] * (1 - across) + field[below, right] * across
    return upper * (1 - down) + lower * down
