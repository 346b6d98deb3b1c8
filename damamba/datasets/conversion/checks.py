"""Labels that readers hand over, one by one: turned as their picture is, cut at its edge, and sound, or left out."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.broken import FARTHEST, LONGEST
from damamba.datasets.conversion.geometry import area_of, beyond, cut_at_edges, draw, enclosed, turn_mask, turn_points
from damamba.datasets.conversion.labels import LabelledObject, LabelledPicture, Part, Size, rle_of
from damamba.datasets.conversion.reading import Reader, Reading
from damamba.datasets.inspection.defects import short_repr
from damamba.datasets.inspection.segmentations import NO_AREA

LEAST = 0.05  # pixels that a side of a box has
EDGE = 0.5  # pixels by which rounding may carry an outline beyond the picture


def checked_pictures(reading: Reading, read: Reader) -> Iterator[LabelledPicture]:
    """What a reader hands over, without what encloses nothing; both are counted."""
    for picture in read(reading):
        reading.met.add(picture)
        sound = [_sound(_turned(it, picture), picture.size, reading) for it in picture.objects]
        yield replace(picture, objects=[it for it in sound if it], orientation=1)
    if reading.cut:
        one = reading.cut == 1
        who = '1 object reaches' if one else f'{reading.cut:,} objects reach'
        reading.notes.append(f'{who} beyond the edge of the picture, and {"is" if one else "are"} cut there')


def _sound(it: LabelledObject, size: Size, reading: Reading) -> LabelledObject | None:
    """The object with all that is of use, None if nothing is."""
    if reading.options.classes and it.category not in reading.options.classes:
        return reading.drop(it, f'not a class that was asked for: {short_repr(it.category)}')
    if it.mask is not None:
        return _sound_mask(it, size, reading)
    return _sound_parts(it, size, reading) if it.parts else _sound_box(it, size, reading)


def _sound_mask(it: LabelledObject, size: Size, reading: Reading) -> LabelledObject | None:
    if list(it.mask['size']) != [size[1], size[0]]:
        return reading.drop(it, 'the mask is of another size than the picture')
    return it if coco_mask.area(dict(it.mask)) else reading.drop(it, 'the mask is empty')


def _sound_parts(it: LabelledObject, size: Size, reading: Reading) -> LabelledObject | None:
    kept, left = [], []
    for part in it.parts:
        outline, why = sound_outline(part.outline, size)
        if why:
            left += [('parts', why, 1), ('holes', f'the part is left out ({why})', len(part.holes))]
            continue
        holes = [sound_outline(hole, size) for hole in part.holes]
        left += [('holes', wrong, 1) for _, wrong in holes if wrong]
        kept.append(Part(outline, tuple(hole for hole, wrong in holes if not wrong)))
    if not kept:
        return reading.drop(it, f'nothing is left ({left[0][1]})')
    if not any(area_of(part, size) > 0 for part in kept):
        return reading.drop(it, 'no pixel is covered')
    for what, why, count in left:
        reading.left_out.add(what, why, it.where, count)
    reading.cut += any(beyond(np.asarray(part.outline), size) > EDGE for part in it.parts)
    if any(enclosed(ring) < NO_AREA for part in kept for ring in (part.outline, *part.holes)):  # it crosses itself
        return replace(it, parts=(), mask=rle_of(draw(kept, size)))
    return replace(it, parts=tuple(kept))


def _sound_box(it: LabelledObject, size: Size, reading: Reading) -> LabelledObject | None:
    if it.box is None or not np.isfinite(it.box).all() or min(it.box[2:]) < LEAST:
        return reading.drop(it, 'the box encloses nothing')
    x, y, width, height = it.box
    corners = np.array([[x, y], [x + width, y + height]])
    (left, top), (right, bottom) = np.clip(corners, 0, size).tolist()
    if min(right - left, bottom - top) < LEAST:
        return reading.drop(it, 'the box is outside of the picture')
    reading.cut += beyond(corners, size) > EDGE
    if reading.options.boxes_as_masks:
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        return replace(it, box=None, parts=(Part(corners),))
    return replace(it, box=(left, top, right - left, bottom - top))


def sound_outline(outline: np.ndarray, size: Size) -> tuple[np.ndarray | None, str | None]:
    """An outline within the picture, or why there is none."""
    outline = np.asarray(outline, np.float64)
    if outline.ndim != 2 or outline.shape[1:] != (2,) or len(outline) < 3:
        return None, 'fewer than 3 points'
    if not np.isfinite(outline).all():
        return None, 'a coordinate is not finite'
    if np.abs(outline).max() > FARTHEST or np.abs(np.diff(outline, axis=0)).sum() > LONGEST:
        return None, 'far beyond any picture, or longer'
    if _encloses_nothing(outline, size):
        return None, 'no area'
    if beyond(outline, size) > 0:
        outline = cut_at_edges(outline, size)
        if len(outline) < 3 or _encloses_nothing(outline, size):
            return None, 'outside of the picture'
    return outline, None


def _encloses_nothing(outline: np.ndarray, size: Size) -> bool:
    """Whether an outline has no pixels by its form; one that crosses itself may, whatever the shoelace formula says."""
    if enclosed(outline) >= NO_AREA:
        return False
    is_line = np.linalg.svd(outline - outline.mean(0), compute_uv=False)[-1] < LEAST
    return bool(is_line or not area_of(Part(outline), size))


def _turned(it: LabelledObject, picture: LabelledPicture) -> LabelledObject:
    """The object, turned as its picture is."""
    if picture.orientation == 1:
        return it
    stored = picture.size[::-1]

    def turn(points: np.ndarray) -> np.ndarray:
        return turn_points(np.asarray(points, np.float64), picture.orientation, stored)

    if it.mask is not None:
        return replace(it, mask=rle_of(turn_mask(coco_mask.decode(dict(it.mask)), picture.orientation)))
    if it.parts:
        return replace(it, parts=tuple(Part(turn(p.outline), tuple(map(turn, p.holes))) for p in it.parts))
    if it.box:
        x, y, width, height = it.box
        corners = turn(np.array([[x, y], [x + width, y + height]]))
        low, high = corners.min(0), corners.max(0)
        return replace(it, box=(*low.tolist(), *(high - low).tolist()))
    return it
