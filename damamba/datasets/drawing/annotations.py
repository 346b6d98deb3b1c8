"""The things of a scene as COCO annotates objects.

Objects without holes are polygons, objects with holes are compressed RLE, crowds are uncompressed RLE.
"""

from dataclasses import replace
from itertools import groupby

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.drawing.grounds import FINE
from damamba.datasets.drawing.scenes import Thing

MIN_PIECE = 2.0  # square pixels; smaller pieces of a polygon, and smaller holes, are left out
TOLERANCE = 0.2  # pixels by which a polygon may leave the outline
SLIVER = 2.0  # pixels by which a polygon may leave its decoded box; inspection allows no more
Segmentation = list | dict


def annotate(thing: Thing) -> dict:
    """COCO's annotation of a thing, without ids of it and its picture.

    The box (x, y, width, height) and the area are those of the segmentation as written, decoded by pycocotools. A
    sliver of a polygon that is too thin to cover a pixel, and leaves that box, is cut off.
    """
    segmentation, rle = encode(thing)
    box = coco_mask.toBbox(rle).tolist()
    while isinstance(segmentation, list) and leaves(segmentation, box):  # without a sliver it may shrink
        thing = replace(thing, fine=within(thing.fine, box))
        segmentation, rle = encode(thing)
        box = coco_mask.toBbox(rle).tolist()
    return dict(
        category_id=thing.category + 1,
        bbox=box,
        area=float(coco_mask.area(rle)),
        segmentation=segmentation,
        iscrowd=int(thing.crowd),
    )


def encode(thing: Thing) -> tuple[Segmentation, dict]:
    """A thing's segmentation as it is written, and as pycocotools decodes it."""
    height, width = thing.mask.shape
    if thing.crowd:
        segmentation = dict(size=[height, width], counts=run_lengths(thing.mask))
        return segmentation, coco_mask.frPyObjects(segmentation, height, width)
    segmentation = polygons(thing.fine)
    if segmentation:
        return segmentation, coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    rle = coco_mask.encode(np.asfortranarray(thing.mask, np.uint8))
    return dict(size=[height, width], counts=rle['counts'].decode('ascii')), rle


def leaves(pieces: list[list[float]], box: list[float]) -> bool:
    """Whether polygons reach out of a box (x, y, width, height), as slivers do; nothing leaves an empty box."""
    points = np.concatenate([np.reshape(piece, (-1, 2)) for piece in pieces])
    low, size = np.array(box[:2]), np.array(box[2:])
    return bool(size.all() and max((low - points.min(0)).max(), (points.max(0) - low - size).max()) > SLIVER)


def within(fine: np.ndarray, box: list[float]) -> np.ndarray:
    """A fine mask without what is more than a pixel outside of a box (x, y, width, height)."""
    left, top, width, height = (round(it) for it in box)
    rows = slice(max(top - 1, 0) * FINE, (top + height + 1) * FINE)
    columns = slice(max(left - 1, 0) * FINE, (left + width + 1) * FINE)
    kept = np.zeros_like(fine)
    kept[rows, columns] = fine[rows, columns]
    return kept


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs, column by column, first of what is outside."""
    runs = [(bool(value), len(list(run))) for value, run in groupby(mask.ravel(order='F').tolist())]
    return [0] * runs[0][0] + [length for _, length in runs]


def polygons(fine: np.ndarray) -> list[list[float]]:
    """The pieces of a fine mask as flat lists x, y, x, y ... in pixels, or none if there is a hole in it.

    Pixels' corners are traced, not their middles: a pixel (x, y) reaches from x to x + 1. A corner belongs to the mask
    if two of the four quarter pixels around it do: that way slanted edges lose as much area as they gain.
    """
    left, top, width, height = cv2.boundingRect(fine.astype(np.uint8))
    patch = fine[top : top + height, left : left + width].astype(np.uint8)
    quarters = np.pad(patch.repeat(2, 0).repeat(2, 1), 1)
    corners = quarters[1:, 1:] + quarters[1:, :-1] + quarters[:-1, 1:] + quarters[:-1, :-1] >= 2
    loops, families = cv2.findContours(corners.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    pieces, scale, offset = [], 2 * FINE, np.array([left, top]) / FINE
    for loop, (_, _, _, parent) in zip(loops, families[0], strict=True):
        if cv2.contourArea(loop) < MIN_PIECE * scale * scale:
            continue
        if parent >= 0:
            return []
        points = cv2.approxPolyDP(loop, TOLERANCE * scale, closed=True).reshape(-1, 2) / scale
        pieces.append(np.round(points + offset, 2).reshape(-1).tolist())
    return [piece for piece in pieces if len(piece) >= 6]
