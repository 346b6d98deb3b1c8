"""What the shapes of masks tell, whoever wrote them: whether one fills its box, and how many share pixels."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

FULL = 0.999  # share of its box that a mask fills if it is one
OVERLAP = 0.1  # share of the smaller of two objects from which on they overlap


def fills_its_box(mask: dict) -> bool:
    """Whether a mask (RLE) is a box; one without pixels is none."""
    _, _, width, height = coco_mask.toBbox(mask)
    return bool(coco_mask.area(mask) >= FULL * width * height > 0)


def pairs_that_share(regions: Sequence, least: float = 0.0) -> int:
    """How many pairs of masks (RLE, of one size) or boxes share more than this part of the smaller one."""
    if len(regions) < 2:
        return 0
    parts = np.asarray(coco_mask.iou(regions, regions, [1] * len(regions)))  # of the first one that the second covers
    return int(np.count_nonzero(np.triu(np.maximum(parts, parts.T) > least, 1)))
