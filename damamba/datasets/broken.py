"""Objects of an annotation file that nothing can be learned of: found once, in seconds, before a training begins.

Some of them MMDetection leaves out by itself, without a word; others would end the training when their picture's turn
comes, or make its loss NaN. (:mod:`damamba.datasets.inspection` looks closer, and takes longer.)
"""

import math
from collections.abc import Container, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from damamba.datasets.inspection.defects import short_repr
from damamba.datasets.inspection.segmentations import NO_AREA, SegmentationError, read_runs
from damamba.datasets.left_out import CROWD, why_left_out, why_picture_left_out

FARTHEST = 2.0**24  # pixels from a picture's corner; float32 holds the whole numbers up to here
LONGEST = 1e6  # pixels around a polygon: pycocotools takes 80 bytes for each
NUMBERS = (TypeError, ValueError, OverflowError)  # of what is no number, or is beyond any
BARE = {  # what left_out.py says of several objects, of one
    'lie outside of their picture': 'it lies outside of its picture',
    'have no area': 'it has no area',
    'have a box of less than a pixel': 'its box is less than a pixel wide or high',
}


class Fault(NamedTuple):
    """Why nothing is learned of an object."""

    annotation: dict
    reason: str
    stops: bool  # MMDetection would stumble over it, instead of leaving it out

    def to_dict(self) -> dict:
        """As ``left_out.json`` has it."""
        number, image = self.annotation.get('id'), self.annotation.get('image_id')
        return {'id': number, 'image': image, 'reason': self.reason}


def find_faults(
    document: Mapping, cat_ids: Container[int], masks: bool, filter_cfg: Mapping | None = None
) -> list[Fault]:
    """The objects of these categories, or of none, that can't be learned, in pictures that ``filter_cfg`` lets pass.

    Args:
        document: annotations in COCO's format, whose entries have the fields that MMDetection reads.
        cat_ids: the categories that are learned.
        masks: masks are learned too.
    """
    sizes = {it['id']: (it['width'], it['height']) for it in document['images']}
    others = {it['id'] for it in document['categories']}.difference(cat_ids)
    small = {number for number, size in sizes.items() if why_picture_left_out(True, *size, filter_cfg or {})}
    wanted = (it for it in document['annotations'] if it['category_id'] not in others)
    found = (_find(it, sizes, cat_ids, masks) for it in wanted if it['image_id'] not in small)
    return [fault for fault in found if fault]


def _find(annotation: dict, sizes: Mapping, cat_ids: Container[int], masks: bool) -> Fault | None:
    size = sizes.get(annotation['image_id'])
    if annotation.get('ignore'):
        return None
    if size is None or annotation['category_id'] not in cat_ids:
        what = 'picture' if size is None else 'category'
        number = annotation['image_id' if size is None else 'category_id']
        return Fault(annotation, f'there is no {what} of its {what} id {number}', False)
    if wrong := _why_no_box(annotation):
        return Fault(annotation, wrong, True)
    why = why_left_out(annotation, *size, {})
    if why and why != CROWD:
        return Fault(annotation, BARE[why], False)
    wrong = why_no_mask(annotation.get('segmentation'), size) if masks else None
    return Fault(annotation, wrong, True) if wrong else None


def _why_no_box(annotation: dict) -> str | None:
    """Why a box and an area are no numbers to learn from; what is no number at all MMDetection refuses the file for."""
    for key, numbers, most in (('bbox', annotation['bbox'], FARTHEST), ('area', (annotation['area'],), math.inf)):
        try:
            if math.hypot(*numbers) < most:
                continue
        except OverflowError:  # a whole number beyond any
            pass
        return f'{key} is {short_repr(annotation[key])}, not finite or far beyond any picture'
    return None


def why_no_mask(segmentation, size: tuple[int, int]) -> str | None:
    """Why polygons or an RLE make no mask of a picture of this width and height; None if they do."""
    if not segmentation:
        return 'it has no segmentation'
    if isinstance(segmentation, dict):
        return why_no_runs(segmentation, size)
    if not isinstance(segmentation, list):
        return f'segmentation is {short_repr(segmentation)}, not polygons or an RLE'
    for piece in segmentation:
        if wrong := why_undrawable(piece):
            return wrong
        if len(piece) % 2 or len(piece) < 6:
            return f'a polygon has {len(piece)} numbers, not x and y of 3 points or more'
    if all(len(piece) <= 8 and _enclosed(piece) < NO_AREA for piece in segmentation):
        return 'its polygons enclose nothing'
    return None


def why_no_runs(rle: dict, size: tuple[int, int]) -> str | None:
    """Why an RLE makes no mask of a picture of this width and height; None if it does."""
    try:
        read_runs(rle, size)
    except SegmentationError as error:
        return error.args[1]
    return None


def why_undrawable(piece) -> str | None:
    """Why pycocotools must not be given a polygon: it would take its memory, or crash; None if it may."""
    if type(piece) is not list:
        return f'a polygon is {short_repr(piece)}, not a list of numbers'
    try:
        reach = math.hypot(*piece)
    except NUMBERS:
        return f'a polygon has {short_repr(piece)} in it, not numbers alone'
    if not math.isfinite(reach):
        return 'a polygon has NaN or Infinity in it'
    if 2 * math.sqrt(len(piece)) * reach > LONGEST and sum(_sides(piece)) > LONGEST:  # the first is never less
        return f'a polygon is longer than {LONGEST:g} pixels'
    return None


def _sides(piece: list[float]) -> Iterator[float]:
    """What the sides of a polygon are long across and down, the one that closes it too."""
    for axis in (np.asarray(piece[::2], float), np.asarray(piece[1::2], float)):
        yield float(np.abs(np.diff(axis, append=axis[:1])).sum())


def _enclosed(piece: list[float]) -> float:
    """The area inside of a polygon of a few points."""
    x, y = piece[::2], piece[1::2]
    return abs(sum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(len(x)))) / 2
