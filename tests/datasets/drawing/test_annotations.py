"""Drawn objects as they are annotated: by inspection's own rules none is a defect, slivers or not."""

from itertools import chain

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.datasets.drawing import annotations, placing, tote_scenes
from damamba.datasets.drawing.annotations import annotate, leaves
from damamba.datasets.drawing.grounds import FINE
from damamba.datasets.drawing.scenes import Thing, majority, thing
from damamba.datasets.drawing.things import CLASSES
from damamba.datasets.drawing.totes import pick_tote
from damamba.datasets.inspection.annotations import Checker
from damamba.datasets.inspection.defects import Findings
from damamba.datasets.inspection.records import Picture

SIDE = 160


def packed(subset, seed):
    """A tote's heap without its picture, which is quick."""
    rng, view = np.random.default_rng(seed), tote_scenes.VIEWS[subset]
    height, width = view.size(SIDE)
    tote = pick_tote(height, width, view.reach, rng)
    return tote_scenes.fill_tote(view, tote, height, width, 0, rng)[0]


def things(heap):
    return [thing(heap, number) for number in range(len(heap.items))]


@pytest.fixture(scope='module')
def pictures():
    """The things of each picture: of totes, and of shapes."""
    totes = [packed(subset, (9, i)) for subset in tote_scenes.VIEWS for i in range(50)]
    shapes = [placing.place(192, np.random.default_rng((0, 0, i))) for i in (*range(20), 33, 64, 123)]
    return [things(heap) for heap in totes + shapes]


def defects(found, shape):
    """By kind, of one picture."""
    findings = Findings('train.json')
    checker = Checker([Picture(1, 'a.jpg', *shape[::-1])], dict(enumerate(CLASSES, 1)), findings)
    checker.check(dict(annotations=[dict(id=i, image_id=1, **it) for i, it in enumerate(found)]))
    return [defect.kind for defect in findings.defects]


def decode(segmentation, shape):
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *shape))
    return coco_mask.decode(segmentation).astype(bool)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def spiked(width=1, length=30):
    """A square of 20 pixels a side with a spike to its right; lengths of the spike are in fine pixels."""
    fine = np.zeros((40 * FINE, 60 * FINE), bool)
    fine[10 * FINE : 30 * FINE, 5 * FINE : 25 * FINE] = True
    fine[20 * FINE : 20 * FINE + width, 25 * FINE : 25 * FINE + length] = True
    return Thing(0, majority(fine), fine, 0.0, False)


def untrimmed(it, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(annotations, 'leaves', lambda pieces, box: False)
        return annotate(it)


def test_no_drawn_object_is_a_defect(pictures, monkeypatch):
    found = [defects([untrimmed(it, monkeypatch) for it in picture], picture[0].mask.shape) for picture in pictures]
    assert sum(map(len, pictures)) > 1000 and {*chain(*found)} == {'box_mismatch'}  # there is something to trim
    for picture in pictures:
        assert defects([annotate(it) for it in picture], picture[0].mask.shape) == []


def test_trimming_changes_only_what_leaves_its_box_and_hardly_its_mask(pictures, monkeypatch):
    common = union = 0
    for it in (it for picture in pictures for it in picture):
        plain, trimmed = untrimmed(it, monkeypatch), annotate(it)
        if isinstance(plain['segmentation'], dict) or not leaves(plain['segmentation'], plain['bbox']):
            assert trimmed == plain
        else:
            before, after = (decode(found['segmentation'], it.mask.shape) for found in (plain, trimmed))
            assert trimmed != plain and iou(before, after) >= 0.94
            common, union = common + (after & it.mask).sum(), union + (after | it.mask).sum()
    assert common / union >= 0.98


def test_a_spike_is_cut_off_a_pixel_from_the_box(monkeypatch):
    it = spiked()
    plain, trimmed = untrimmed(it, monkeypatch), annotate(it)
    assert plain['bbox'] == trimmed['bbox'] == [5, 10, 20, 20] and trimmed['area'] == plain['area'] == 400
    assert max(plain['segmentation'][0][::2]) == pytest.approx(35, abs=0.5)
    assert max(trimmed['segmentation'][0][::2]) == pytest.approx(26, abs=0.5)
    assert np.array_equal(decode(trimmed['segmentation'], it.mask.shape), it.mask)


def test_what_covers_pixels_is_no_spike(monkeypatch):
    it = spiked(width=FINE)
    assert annotate(it) == untrimmed(it, monkeypatch) and annotate(it)['bbox'] == [5, 10, 30, 20]
