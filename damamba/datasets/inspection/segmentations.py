"""An object's segmentation, polygons or RLE: what does it enclose, and do box and area agree with it?"""

from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.inspection.defects import Problem, short_repr
from damamba.datasets.run_lengths import run_lengths

EDGE = 1.0  # pixels by which something may leave its picture
MAX_PIXELS = 2**31  # pycocotools counts in 32 bits
MAX_LENGTH = 1e7  # pixels around polygons that are drawn; no real ones are longer
NO_AREA = 1e-6
BOX_PIXELS, BOX_SHARE = 2.0, 0.02  # a side of a box may be off by that, or by that share of it
AREA_SHARE = 0.1  # an area may be off by that, and by half of what is around it
LEAST_SIDE = 1.0  # MMDetection leaves out what is thinner

Size = tuple[int, int]  # width, height


class SegmentationError(ValueError):
    """Not a segmentation; the arguments are the kind of the defect and a sentence."""


class Outline(NamedTuple):
    """What a segmentation encloses, in pixels: left, top, right and bottom; its area; a hash of how it is written."""

    box: tuple[float, float, float, float]
    area: float
    digest: int
    pieces: tuple[np.ndarray, ...] = ()  # of polygons, each [N, 2]

    def areas(self, size: Size) -> Iterator[float]:
        """By arithmetic, then of polygons as drawn, which takes longer: pieces may overlap and turn either way."""
        yield self.area
        width, height = size
        may_be_drawn = self.pieces and not leaves_picture(self.box, size) and width * height < MAX_PIXELS
        if may_be_drawn and sum(float(np.abs(np.diff(piece, axis=0)).sum()) for piece in self.pieces) <= MAX_LENGTH:
            runs = coco_mask.frPyObjects([piece.ravel().tolist() for piece in self.pieces], height, width)
            yield float(coco_mask.area(coco_mask.merge(runs)))


def leaves_picture(box: tuple[float, ...], size: Size) -> bool:
    """Whether a box of left, top, right and bottom goes beyond a picture of this width and height."""
    left, top, right, bottom = box
    return min(left, top) < -EDGE or right > size[0] + EDGE or bottom > size[1] + EDGE


def check_shape(fields: dict, segmentation, size: Size | None, problems: list[Problem]) -> Hashable:
    """Add what is wrong with an object's shape to the problems; return what is equal for objects of the same shape."""
    box = fields['bbox']
    if box:
        left, top, width, height = box
        if width < LEAST_SIDE or height < LEAST_SIDE:
            problems.append(('empty_box', f'the box is {width:g} x {height:g} pixels'))
        elif size and leaves_picture((left, top, left + width, top + height), size):
            problems.append(('box_outside', f'the box is {_spaced(box)}, the picture {size[0]} x {size[1]}'))
    if size:
        try:
            outline = read_segmentation(segmentation, size)
        except SegmentationError as error:
            problems.append(error.args)
        else:
            problems += _disagreements(box, fields['area'], outline, size)
            return outline.digest
    return box and tuple(box)


def _disagreements(box: list[float] | None, area: float | None, outline: Outline, size: Size) -> Iterator[Problem]:
    left, top, right, bottom = outline.box
    around = left, top, right - left, bottom - top
    if leaves_picture(outline.box, size):
        yield 'polygon_outside', f'it reaches {_spaced(outline.box)}, the picture is {size[0]} x {size[1]}'
    if box:
        edges = box[0], box[1], box[0] + box[2], box[1] + box[3]
        allowed = [max(BOX_PIXELS, BOX_SHARE * side) for side in box[2:]] * 2
        if any(abs(a - b) > most for a, b, most in zip(edges, outline.box, allowed, strict=True)):
            yield 'box_mismatch', f'the box is {_spaced(box)}, the one around the segmentation {_spaced(around)}'
    half = sum(around[2:]) / 2
    if area is not None and all(abs(area - other) > AREA_SHARE * other + half for other in outline.areas(size)):
        yield 'area_mismatch', f'area is {area:g}, that of the segmentation {outline.area:g}'


def _spaced(numbers: Iterable[float]) -> str:
    return ' '.join(f'{number:.6g}' for number in numbers)


def read_segmentation(segmentation, size: Size) -> Outline:
    """Read the polygons or the RLE of an object in a picture; SegmentationError where it is empty or broken."""
    if isinstance(segmentation, dict):
        return _read_rle(segmentation, size)
    if not isinstance(segmentation, (list, type(None))):
        raise SegmentationError('wrong_type', f'segmentation is {short_repr(segmentation)}, not polygons or an RLE')
    if not segmentation:
        raise SegmentationError('no_segmentation', 'segmentation is empty' if segmentation == [] else 'no segmentation')
    pieces = tuple(map(_read_polygon, segmentation))
    points = np.concatenate(pieces)
    digest = hash((points.tobytes(), *map(len, pieces)))
    return Outline((*points.min(0).tolist(), *points.max(0).tolist()), sum(map(_enclosed, pieces)), digest, pieces)


def _read_polygon(piece) -> np.ndarray:
    """The points of a polygon: [N, 2]."""
    if not isinstance(piece, list):
        raise SegmentationError('broken_polygon', f'a polygon is {short_repr(piece)}, not a list of numbers')
    try:
        flat = np.asarray(piece)
    except (ValueError, OverflowError):  # lists of unlike lengths, numbers beyond any type
        flat = np.asarray(None)
    if flat.ndim != 1 or (len(flat) and flat.dtype.kind not in 'iuf'):
        raise SegmentationError('broken_polygon', f'a polygon has {short_repr(piece)} in it, not numbers alone')
    if len(flat) % 2 or len(flat) < 6:
        raise SegmentationError('broken_polygon', f'a polygon has {len(flat)} numbers, not x and y of 3 points or more')
    points = flat.astype(np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise SegmentationError('broken_polygon', 'a polygon has NaN or Infinity in it')
    if _enclosed(points) < NO_AREA:
        raise SegmentationError('broken_polygon', f'a polygon of {len(points)} points has no area')
    return points


def _enclosed(points: np.ndarray) -> float:
    """The area inside of a polygon, by the shoelace formula."""
    with np.errstate(over='ignore', invalid='ignore'):
        x, y = (points - points[0]).T
        area = abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1] + x[-1] * y[0] - x[0] * y[-1])) / 2
    return area if np.isfinite(area) else float(np.finfo(float).max)


def _read_rle(rle: dict, size: Size) -> Outline:
    (width, height), runs = size, read_runs(rle, size)
    mask = coco_mask.frPyObjects(dict(size=[height, width], counts=runs), height, width)
    left, top, across, down = coco_mask.toBbox(mask).tolist()
    if not across:
        raise SegmentationError('broken_rle', 'the mask is empty')
    return Outline((left, top, left + across, top + down), float(coco_mask.area(mask)), hash(repr(runs)))


def read_runs(rle: dict, size: Size) -> list[int]:
    """The run lengths of an RLE, of a picture of this width and height; SegmentationError where it is broken."""
    (width, height), counts, own = size, rle.get('counts'), rle.get('size')
    if own != [height, width]:
        text = f'size is {short_repr(own)}, and the picture {height} high and {width} wide'
        raise SegmentationError('broken_rle', text)
    if height * width >= MAX_PIXELS:
        raise SegmentationError('broken_rle', f'no RLE is read for a picture of {width} x {height} pixels')
    if isinstance(counts, str):
        try:
            runs = run_lengths(counts)
        except ValueError as error:
            raise SegmentationError('broken_rle', str(error)) from error
    elif isinstance(counts, list) and all(type(run) is int and 0 <= run < MAX_PIXELS for run in counts):
        runs = counts
    else:
        raise SegmentationError('broken_rle', f'counts is {short_repr(counts)}, neither text nor a list of run lengths')
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise SegmentationError('broken_rle', f'the runs do not add up to {height} x {width} pixels')
    return runs
