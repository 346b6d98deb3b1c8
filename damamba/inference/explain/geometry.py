"""Where in the picture something lies: cells of a stage's map, pixels that the model sees, pixels of the picture.

A position is (x, y) of a pixel's centre: the pixel in the upper left corner has (0, 0). A stage's cell i has its centre
at pixel stride * i of what the model sees, since each 3x3 convolution of stride 2 is padded by 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Geometry:
    """A picture, resized to what the model sees, and padded at its right and its bottom."""

    size: tuple[int, int]  # height, width of the picture
    seen: tuple[int, int]  # the same of what the model sees, without padding

    @property
    def scale(self) -> np.ndarray:
        """Pixels of the picture to a pixel that the model sees, [2] across and down."""
        return np.divide(self.size, self.seen)[::-1]

    def to_picture(self, seen: ArrayLike, stride: int = 1) -> np.ndarray:
        """Positions [..., 2] in cells of a stage (or in the pixels that the model sees) -> the picture's pixels."""
        return (np.asarray(seen, float) * stride + 0.5) * self.scale - 0.5

    def to_cells(self, position: ArrayLike, stride: int = 1) -> np.ndarray:
        """The inverse: positions [..., 2] in the picture's pixels -> in cells of a stage."""
        return ((np.asarray(position, float) + 0.5) / self.scale - 0.5) / stride

    def nearest(self, position: ArrayLike, stride: int, shape: tuple[int, int]) -> tuple[int, int]:
        """Row and column of the cell nearest to a position, in a map of this height and width."""
        column, row = np.rint(self.to_cells(position, stride)).astype(int)
        return int(np.clip(row, 0, shape[0] - 1)), int(np.clip(column, 0, shape[1] - 1))

    def contains(self, position: ArrayLike) -> bool:
        """Whether a position lies in the picture."""
        across, down = position
        return -0.5 <= across <= self.size[1] - 0.5 and -0.5 <= down <= self.size[0] - 0.5


def cell_grid(shape: tuple[int, int]) -> np.ndarray:
    """The cells of a map of this height and width as (column, row): [H, W, 2]."""
    return np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), axis=-1)
