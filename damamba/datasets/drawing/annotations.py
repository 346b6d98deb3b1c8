"""The things of a scene as COCO annotates objects: in polygons, with holes in compressed RLE, crowds in run lengths."""

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.drawing.grounds import FINE
from damamba.datasets.drawing.heap import Visible
from damamba.datasets.inspection.segmentations import run_lengths

MIN_PIECE = 2.0  # square pixels; smaller pieces of a polygon, and smaller holes, are left out
TOLERANCE = 0.2  # pixels by which a polygon may leave the outline
SLIVER = 2.0  # pixels by which a polygon may leave its decoded box; inspection allows no more


def annotate(visible: Visible) -> dict:
    """COCO's annotation of a thing, without ids of it and its picture.

    The box (x, y, width, height) and the area are those of the segmentation as written, decoded by pycocotools. A
    sliver of a polygon that is too thin to cover a pixel, and leaves that box, is cut off.
    """
    mask, fine = np.asfortranarray(visible.mask, np.uint8), visible.fine.astype(np.uint8)
    while True:
        pieces = [] if visible.crowd else trace_polygons(fine)
        rle = coco_mask.merge(coco_mask.frPyObjects(pieces, *mask.shape)) if pieces else coco_mask.encode(mask)
        low, extent = np.split(coco_mask.toBbox(rle), 2)
        points = np.concatenate(pieces or [low]).reshape(-1, 2)
        beyond = max((low - points.min(0)).max(), (points.max(0) - low - extent).max())
        if beyond <= SLIVER or not extent.all():
            break
        near = ((low - 1) * FINE).astype(int), ((low + extent + 1) * FINE).astype(int) - 1
        fine &= cv2.rectangle(np.zeros_like(fine), *near, 1, cv2.FILLED)  # the box may shrink with it
    counts = rle['counts'].decode('ascii')
    return dict(
        category_id=visible.category + 1,
        bbox=[*low.tolist(), *extent.tolist()],
        area=float(coco_mask.area(rle)),
        segmentation=pieces or dict(size=list(mask.shape), counts=run_lengths(counts) if visible.crowd else counts),
        iscrowd=int(visible.crowd),
    )


def trace_polygons(fine: np.ndarray) -> list[list[float]]:
    """The pieces of a fine mask, uint8, as flat lists x, y, x, y ... in pixels, or none if there is a hole in it.

    Pixels' corners are traced, not their middles: a pixel (x, y) reaches from x to x + 1. A corner belongs to the mask
    if two of the four quarter pixels around it do: that way slanted edges lose as much area as they gain.
    """
    left, top, width, height = cv2.boundingRect(fine)
    quarters = np.pad(fine[top : top + height, left : left + width].repeat(2, 0).repeat(2, 1), 1)
    corners = quarters[1:, 1:] + quarters[1:, :-1] + quarters[:-1, 1:] + quarters[:-1, :-1] >= 2
    loops, families = cv2.findContours(corners.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    pieces, scale = [], 2 * FINE
    for number, loop in enumerate(loops):
        if cv2.contourArea(loop) < MIN_PIECE * scale * scale:
            continue
        if families[0][number][3] >= 0:  # it lies in another one
            return []
        points = cv2.approxPolyDP(loop, TOLERANCE * scale, closed=True).reshape(-1, 2) / scale
        pieces.append(np.round(points + np.array([left, top]) / FINE, 2).reshape(-1).tolist())
    return [piece for piece in pieces if len(piece) >= 6]
