"""Drawn objects as they are annotated: against pycocotools, and by inspection's own rules."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.datasets.drawing.grounds import FINE
from damamba.datasets.drawing.heap import Visible
from damamba.datasets.drawing.scenes import heap_up
from damamba.datasets.drawing.things import CLASSES
from damamba.datasets.drawing.totes import VIEWS, fill_tote
from damamba.datasets.inspection.records import AnnotationFile
from damamba.datasets.writing import annotate, trace_polygons


@pytest.fixture(scope='module')
def pictures():
    """What is visible in pictures of totes and of shapes; heaps are quick without their pictures."""
    heaps = [fill_tote(view, 160, np.random.default_rng((9, i)))[-1] for view in VIEWS.values() for i in range(50)]
    heaps += [heap_up(192, np.random.default_rng((0, 0, i))) for i in range(60)]
    return [heap.see() for heap in heaps]


def defects(found, height, width):
    """Of one picture."""
    images = [dict(id=1, file_name='a.jpg', width=width, height=height)]
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    annotations = [dict(id=i, image_id=1, **it) for i, it in enumerate(found)]
    file = AnnotationFile('a.json', None, Path())
    file.read(dict(images=images, categories=categories, annotations=annotations))
    return file.defects


def decode(segmentation, shape):
    """The mask of polygons or of compressed RLE."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *shape))
    return coco_mask.decode(segmentation).astype(bool)


def test_no_drawn_object_is_a_defect(pictures):
    assert sum(map(len, pictures)) > 1000
    for found in pictures:
        assert defects([annotate(it) for it in found], *found[0].mask.shape) == []


def test_segmentations_decode_to_the_masks(pictures):
    kinds, common, union = set(), 0, 0
    for it in (it for found in pictures for it in found if not it.crowd):
        segmentation = annotate(it)['segmentation']
        mask = decode(segmentation, it.mask.shape)
        both, either = (mask & it.mask).sum(), (mask | it.mask).sum()
        assert both / either >= (0.93 if it.mask.sum() >= 200 else 0.7)
        assert isinstance(segmentation, list) or both == either
        common, union, kinds = common + both, union + either, kinds | {type(segmentation)}
    assert common / union >= 0.98 and kinds == {list, dict}


def test_a_polygon_runs_along_the_edges_of_pixels_and_leaves_slivers_out():
    fine = np.zeros((10 * FINE, 14 * FINE), bool)
    fine[2 * FINE : 5 * FINE, 3 * FINE : 10 * FINE] = True
    (piece,) = trace_polygons(fine.astype(np.uint8))
    assert np.abs(np.sort(np.reshape(piece, (4, 2)), 0) - [[3, 2], [3, 2], [10, 5], [10, 5]]).max() < 0.2
    for wide, right, width in ((1, 10, 7), (FINE, 13, 10)):  # fine pixels: a sliver, and what covers pixels
        fine[3 * FINE : 3 * FINE + wide, 10 * FINE : 13 * FINE] = True
        visible = Visible(4, fine)
        found, mask = annotate(visible), visible.mask
        assert max(found['segmentation'][0][::2]) == pytest.approx(right, abs=1.1)
        assert np.array_equal(decode(found['segmentation'], mask.shape), mask)
        assert (found['category_id'], found['bbox'], found['area']) == (5, [3, 2, width, 3], mask.sum())


def test_what_is_split_is_several_polygons_and_what_has_a_hole_is_none():
    fine = np.zeros((20 * FINE, 20 * FINE), bool)
    fine[2 * FINE : 18 * FINE, 2 * FINE : 18 * FINE] = True
    fine[:, 9 * FINE : 11 * FINE] = False
    assert len(trace_polygons(fine.astype(np.uint8))) == 2
    fine[5 * FINE : 9 * FINE, 4 * FINE : 7 * FINE] = False
    assert trace_polygons(fine.astype(np.uint8)) == []
