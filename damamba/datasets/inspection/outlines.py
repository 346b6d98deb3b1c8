"""An object's segmentation: is it one, and what does it enclose?"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.inspection.defects import told

CHUNK = 5  # bits of a number in each character of a compressed RLE
MAX_CHUNKS = 12  # of 5 bits: what 64 bits hold
MAX_PIXELS = 2**31  # pycocotools counts in 32 bits
MAX_LENGTH = 1e7  # pixels around polygons that are drawn
NO_AREA = 1e-6


class OutlineError(ValueError):
    """Not a segmentation; ``kind`` is that of the defect."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Outline:
    """What a segmentation encloses, in pixels: left, top, right and bottom; its area; a digest of how it is written."""

    box: tuple[float, float, float, float]
    area: float
    digest: bytes
    pieces: tuple[np.ndarray, ...] = ()  # of polygons, each [N, 2]

    def pixels(self, height: int, width: int) -> float:
        """The area of polygons as drawn: pieces may overlap, and loops may turn either way.

        Those that leave the picture, or are longer than any real one, have their area by arithmetic.
        """
        left, top, right, bottom = self.box
        leaves = min(left, top) < -1 or right > width + 1 or bottom > height + 1
        if not self.pieces or leaves or height * width >= MAX_PIXELS or self._length() > MAX_LENGTH:
            return self.area
        runs = coco_mask.frPyObjects([piece.ravel().tolist() for piece in self.pieces], height, width)
        return float(coco_mask.area(coco_mask.merge(runs)))

    def _length(self) -> float:
        return sum(float(np.abs(np.diff(piece, axis=0)).sum()) for piece in self.pieces)


def read_outline(segmentation, height: int, width: int) -> Outline:
    """Read the polygons or the RLE of an object in a picture of this size.

    Raises:
        OutlineError: it is empty or broken; the text says how.
    """
    if isinstance(segmentation, dict):
        return _read_rle(segmentation, height, width)
    if not isinstance(segmentation, list):
        raise OutlineError('wrong_type', f'segmentation is {told(segmentation)}, not polygons or an RLE')
    if not segmentation:
        raise OutlineError('no_segmentation', 'segmentation is empty')
    return _read_polygons(segmentation)


def _read_polygons(segmentation: list) -> Outline:
    pieces = tuple(_read_polygon(piece) for piece in segmentation)
    points = np.concatenate(pieces)
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    area = sum(_enclosed(piece) for piece in pieces)
    return Outline((left, top, right, bottom), area, _digest(points, [len(piece) for piece in pieces]), pieces)


def _read_polygon(piece) -> np.ndarray:
    """The points of a polygon: [N, 2]."""
    if not isinstance(piece, list):
        raise OutlineError('broken_polygon', f'a polygon is {told(piece)}, not a list of numbers')
    try:
        flat = np.asarray(piece)
    except (ValueError, OverflowError):  # lists of unlike lengths, numbers beyond any type
        flat = np.asarray(None)
    if flat.ndim != 1 or (len(flat) and flat.dtype.kind not in 'iuf'):
        raise OutlineError('broken_polygon', f'a polygon has {told(piece)} in it, not numbers alone')
    if len(flat) % 2 or len(flat) < 6:
        raise OutlineError('broken_polygon', f'a polygon has {len(flat)} numbers, not x and y of 3 points or more')
    points = flat.astype(np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise OutlineError('broken_polygon', 'a polygon has NaN or Infinity in it')
    if _enclosed(points) < NO_AREA:
        raise OutlineError('broken_polygon', f'a polygon of {len(points)} points has no area')
    return points


def _enclosed(points: np.ndarray) -> float:
    """The area inside of a polygon, by the shoelace formula."""
    x, y = (points - points[0]).T
    with np.errstate(over='ignore', invalid='ignore'):
        area = abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1] + x[-1] * y[0] - x[0] * y[-1])) / 2
    return area if np.isfinite(area) else float(np.finfo(float).max)


def _read_rle(rle: dict, height: int, width: int) -> Outline:
    size, counts = rle.get('size'), rle.get('counts')
    if size != [height, width]:
        raise OutlineError('broken_rle', f'size is {told(size)}, and the picture {height} high and {width} wide')
    if height * width >= MAX_PIXELS:
        raise OutlineError('broken_rle', f'no RLE is read for a picture of {width} x {height} pixels')
    runs = _uncompressed(counts) if isinstance(counts, str) else _run_lengths(counts)
    if (len(runs) and (runs.min() < 0 or runs.max() > height * width)) or runs.sum() != height * width:
        raise OutlineError('broken_rle', f'the runs do not add up to {height} x {width} pixels')
    made = coco_mask.frPyObjects(dict(size=size, counts=runs.tolist()), height, width)
    left, top, across, down = coco_mask.toBbox(made).tolist()
    if not across:
        raise OutlineError('broken_rle', 'the mask is empty')
    return Outline((left, top, left + across, top + down), float(coco_mask.area(made)), _digest(runs))


def _run_lengths(counts) -> np.ndarray:
    if not isinstance(counts, list) or not all(type(count) is int and 0 <= count < MAX_PIXELS for count in counts):
        raise OutlineError('broken_rle', f'counts is {told(counts)}, neither text nor a list of run lengths')
    return np.array(counts, dtype=np.int64)


def _uncompressed(text: str) -> np.ndarray:
    """The run lengths of COCO's compressed form: 5 bits a character from 48 on, the sixth says that more follow.

    From the fourth on, a number is the difference to the one before the last. pycocotools reads any text without
    looking whether it is of this form.
    """
    characters = np.frombuffer(text.encode('ascii', 'replace'), np.uint8).astype(np.int64) - 48
    if not len(characters):
        return characters
    is_last = characters & 32 == 0
    starts = np.flatnonzero(np.concatenate([[True], is_last[:-1]]))
    lengths = np.diff(np.append(starts, len(characters)))
    if (characters >> 6).any() or not is_last[-1] or lengths.max() > MAX_CHUNKS:
        raise OutlineError('broken_rle', 'counts is no compressed RLE')
    place = np.arange(len(characters)) - starts.repeat(lengths)
    numbers = np.add.reduceat((characters & 31) << CHUNK * place, starts)
    negative = characters[starts + lengths - 1] & 16 > 0
    numbers -= negative * (np.int64(1) << CHUNK * lengths)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def _digest(values: np.ndarray, lengths: list[int] | None = None) -> bytes:
    """Equal for equal segmentations; polygons are the points of all pieces and how many each has."""
    return blake2b(values.tobytes() + repr(lengths).encode(), digest_size=16).digest()
