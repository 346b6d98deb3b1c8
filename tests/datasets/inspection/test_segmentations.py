"""Polygons and RLE against pycocotools, and against areas by hand."""

import random

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.datasets.inspection.segmentations import SegmentationError, read_segmentation
from damamba.datasets.run_lengths import run_lengths


def test_masks_are_read_as_pycocotools_reads_them_compressed_or_not():
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(1, 60, 2).tolist()
        mask = np.asfortranarray(rng.random((height, width)) < rng.random(), np.uint8)
        if not mask.any():
            continue
        rle = coco_mask.encode(mask)
        flat = mask.ravel('F')
        runs = np.diff([0, *np.flatnonzero(np.diff(flat)) + 1, flat.size]).tolist()
        compressed, plain = (
            read_segmentation(dict(size=[height, width], counts=counts), (width, height))
            for counts in (rle['counts'].decode(), [0] * int(flat[0]) + runs)
        )
        left, top, across, down = coco_mask.toBbox(rle)
        assert compressed == plain and list(plain.areas((width, height))) == [mask.sum()]
        assert plain.box == (left, top, left + across, top + down)
        assert run_lengths(rle['counts'].decode()) == [0] * int(flat[0]) + runs


def test_any_text_is_a_compressed_mask_or_a_defect():
    rng = random.Random(0)
    for _ in range(2000):
        text = ''.join(chr(rng.randint(1, 200)) for _ in range(rng.randint(0, 30)))
        with pytest.raises(SegmentationError):
            read_segmentation(dict(size=[50, 50], counts=text), (50, 50))


def test_pieces_add_up_by_arithmetic_and_overlap_as_drawn():
    square, bar = [10, 10, 30, 10, 30, 30, 10, 30], [20, 15, 70, 15, 70, 20, 20, 20]
    outline = read_segmentation([square, bar], (80, 60))
    assert outline.box == (10, 10, 70, 30) and list(outline.areas((80, 60))) == [400 + 250, 400 + 250 - 50]
    assert list(outline.areas((60, 80))) == [650]  # it leaves the picture
    assert outline.digest != read_segmentation([bar, square], (80, 60)).digest
