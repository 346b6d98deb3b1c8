"""The order of picks: by hand, and against drawn heaps, of which it is known what lies on what."""

import numpy as np
import pytest
from pycocotools import mask as rle

from damamba.datasets.drawing.totes import VIEWS, fill_tote
from damamba.picking import covered_shares, patch_of, pick_points

SIZE = (100, 120)


def mask(*boxes, without=()):
    """RLE of boxes, x, y, width, height, less what lies upon them."""
    pixels = np.zeros(SIZE, np.uint8, order='F')
    for value, some in ((1, boxes), (0, without)):
        for x, y, w, h in some:
            pixels[y : y + h, x : x + w] = value
    return rle.encode(pixels)


UPPER, LOWER, ASIDE = (40, 40, 20, 20), (20, 20, 40, 40), (80, 60, 30, 30)
CORNER = 190 / (
    1200 + 190
)  # what a square takes of the hull of one whose corner it covers, with what its diagonal cuts


def shares(*masks):
    return covered_shares([patch_of(it) for it in masks])


def test_what_takes_more_of_the_others_hull_lies_above_it():
    assert shares(mask(LOWER, without=[UPPER]), mask(UPPER), mask(ASIDE)) == pytest.approx([CORNER, 0, 0])
    assert shares() == [] and shares(mask(LOWER), mask(UPPER)) == [0, 0]  # what both have tells nothing


def test_of_two_links_of_a_chain_the_one_that_gives_more_is_covered_by_the_difference():
    left = mask((50, 0, 10, 40), (60, 0, 20, 10), (60, 30, 20, 10))  # each has an arm between the arms of the other
    right = mask((90, 20, 10, 40), (65, 20, 25, 10), (65, 50, 25, 10))
    assert shares(left, right) == pytest.approx([15 * 10 / (30 * 40) - 15 * 10 / (35 * 40), 0])


@pytest.mark.parametrize('box', [(0, 0, 120, 100), (0, 30, 1, 1), (119, 0, 1, 100), (10, 90, 50, 10), (119, 99, 1, 1)])
def test_a_patch_is_the_mask_without_what_lies_around_it(box):
    patch, (x, y, w, h) = patch_of(mask(box, without=[(40, 95, 5, 2)])), box
    assert (patch.left, patch.top) == (x, y)
    assert (patch.mask == rle.decode(mask(box, without=[(40, 95, 5, 2)]))[y : y + h, x : x + w]).all()
    assert patch.has(x + 0.5, y + 0.5) and not patch.has(x - 1, y + 0.5) and not patch.has(x + w + 0.5, y)


def test_a_tote_is_neither_picked_nor_covers_anything():
    masks = [mask((5, 5, 110, 90)), mask(LOWER, without=[UPPER]), mask(UPPER), mask()]
    found = list(pick_points(masks, [1.0, 0.9, 0.8, 1.0], ['TOTE ', 'Object', 'Object', 'Object']))
    assert [(it.place, it.name, it.score) for it in found] == [(2, 'Object', 0.8), (1, 'Object', 0.9)]
    assert [it.covered for it in found] == pytest.approx([0, CORNER])
    assert next(pick_points(masks, [1.0, 0.1, 0.1, 1.0], ['tote', 'bin', 'bin', 'bin'], ['Bin'])).name == 'tote'


def test_the_first_picks_of_drawn_totes_lie_on_top():
    """Of objects within 0.01 of the least covered one nearly nine in ten are whole, of first picks more."""
    counted, first = [], []
    for place, view in enumerate(VIEWS.values()):
        for seed in range(20):
            _, _, heap = fill_tote(view, 240, np.random.default_rng((place, seed)))
            things = [
                (rle.encode(np.asfortranarray(it.mask, np.uint8)), it.hidden) for it in heap.see() if it.mask.any()
            ]
            masks, hidden = zip(*things, strict=True)
            covered = np.array(shares(*masks))
            counted += zip(covered <= covered.min() + 0.01, np.array(hidden) <= 0.05, strict=True)
            point = next(pick_points(masks, [1.0] * len(masks), ['Object'] * len(masks)))
            first.append(hidden[point.place] <= 0.05)
    on_top, whole = np.array(counted).T
    assert whole.mean() < 0.5 and whole[on_top].mean() > 0.8 and on_top[whole].mean() > 0.9 and np.mean(first) > 0.9
