"""Pictures whose pixels are labels: a number, or a colour that is one, for each object or for each class.

Shapes: values [H, W]. mask [H, W].
"""

import math
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from damamba.datasets.conversion.labels import Size
from damamba.datasets.inspection.picture_files import DENSEST, LARGE

LOSSLESS = ('.png', '.tif', '.tiff', '.bmp')  # a JPEG's pixels are no numbers
ADDED = re.compile(
    r'[ ._-]?(gt|ids?|instances?|instance_?ids?|labels?|labelids|masks?|seg|segmentation)$', re.IGNORECASE
)
PLAIN = ('1', 'L', 'P', 'I', 'I;16', 'I;16B')
GREEN, BLUE = 2**8, 2**16  # a colour is the number red + 256 green + 65536 blue


def colour_number(colour: tuple[int, int, int]) -> int:
    """Red, green and blue as one number."""
    return colour[0] + GREEN * colour[1] + BLUE * colour[2]


class LabelImageError(ValueError):
    """Not a picture of labels; the text says why, in a few words."""


class LabelImage(NamedTuple):
    """The labels of a picture, and the colours of its palette where it has one; they may be the values, too."""

    values: np.ndarray  # [H, W] int32, column by column in memory, as run lengths are
    palette: np.ndarray | None  # [N, 3] uint8
    coloured: bool  # the values are colours

    @property
    def size(self) -> Size:
        return self.values.shape[1], self.values.shape[0]

    def colour(self, value: int) -> tuple[int, int, int] | None:
        """Red, green and blue of a value; None of a plain number."""
        if self.coloured:
            return value % GREEN, value // GREEN % GREEN, value // BLUE
        if self.palette is None or value >= len(self.palette):
            return None
        return tuple(self.palette[value].tolist())

    def is_solid(self) -> np.ndarray:
        """Where the 3 x 3 pixels around one have its value: [H, W] of bool."""
        values, square = self.values.astype(np.float32, 'C'), np.ones((3, 3), np.uint8)  # exact up to 2^24
        return cv2.erode(values, square) == cv2.dilate(values, square)

    def masks(self, left_out: Collection[int] = (0,)) -> Iterator[tuple[int, np.ndarray]]:
        """Each value, in their order, with the pixels that have it."""
        for value in np.unique(self.values).tolist():
            if value not in left_out:
                yield value, self.values == value


def read_label_image(path: Path, may_be_grey: bool = True) -> LabelImage:
    """The labels in a file, of 8 or 16 bits; grey ones that were saved as colours are their grey, if they may be.

    Raises:
        LabelImageError: it can't be decoded, or its pixels are no numbers.
    """
    try:
        with Image.open(path) as picture:
            if math.prod(picture.size) > max(LARGE, DENSEST * os.path.getsize(path)):
                raise LabelImageError(f'{picture.width} x {picture.height} pixels are too many for its length')
            found = _labels_in(picture, may_be_grey)
            return found._replace(values=np.asfortranarray(found.values))
    except LabelImageError:
        raise
    except Exception as error:  # a broken file raises whatever its decoder stumbles upon
        raise LabelImageError('the picture of labels can not be decoded') from error


def _labels_in(picture: Image.Image, may_be_grey: bool) -> LabelImage:
    if picture.mode in PLAIN:
        palette = picture.getpalette('RGB') if picture.mode == 'P' else None
        colours = None if palette is None else np.array(palette, np.uint8).reshape(-1, 3)
        values = np.asarray(picture).astype(np.int32)
        return _by_colour(values, colours) or LabelImage(values, colours, False)
    if picture.mode == 'LA':
        return LabelImage(np.asarray(picture.getchannel('L')).astype(np.int32), None, False)
    if picture.mode not in ('RGB', 'RGBA'):
        raise LabelImageError(f'its pixels are no labels (mode {picture.mode})')
    red, green, blue = np.moveaxis(np.asarray(picture.convert('RGB')).astype(np.int32), -1, 0)
    is_grey = may_be_grey and bool((red == green).all() and (green == blue).all())
    return LabelImage(red if is_grey else red + GREEN * green + BLUE * blue, None, not is_grey)


def _by_colour(values: np.ndarray, palette: np.ndarray | None) -> LabelImage | None:
    """Numbers as their colours, where black, the background, is used and is not number 0: they were dealt out anew."""
    used = np.unique(values)
    if palette is None or used[-1] >= len(palette) or not palette[0].any() or palette[used].any(axis=1).all():
        return None
    return LabelImage((palette.astype(np.int32) @ (1, GREEN, BLUE)).astype(np.int32)[values], palette, True)


def pieces(mask: np.ndarray) -> Iterator[np.ndarray]:
    """The connected pieces of a mask, each as one; pixels that touch at a corner are connected."""
    count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    numbers = np.asfortranarray(numbers)
    for number in range(1, count):
        yield numbers == number


def key_of(shown: str, folders: Iterable[str]) -> str:
    """What a picture and its labels have in common: the path without suffix, and without these folders."""
    path = PurePosixPath(shown)
    kept = [step for step in path.parent.parts if step.lower() not in folders]
    return '/'.join([*kept, path.stem])


def without_addition(key: str) -> str:
    """A key without what labels' names often end with: ``a_mask`` is ``a``."""
    return ADDED.sub('', key) or key
