"""Outlines against masks: joined into one and taken apart again, cut at the edge, turned as EXIF says."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageOps
from scipy import ndimage

from damamba.datasets.conversion.geometry import cut_at_edges, draw, enclosed, take_apart, turn_mask, turn_points
from damamba.datasets.conversion.labels import Part, count_pieces, rle_of
from damamba.datasets.outlines import in_one, outlines_of

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()).filter(np.any)
NINE = np.kron(np.array([[1, 1, 1, 0, 1], [1, 0, 1, 0, 0], [1, 1, 1, 0, 1]]), np.ones((5, 5))) > 0


def joined(mask):
    return in_one([ring for outline, holes in outlines_of(mask) for ring in (outline, *holes)])


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_any_mask_as_one_outline_is_the_same_mask(mask):
    size, one = mask.shape[::-1], joined(mask)
    np.testing.assert_array_equal(draw([Part(*found) for found in outlines_of(mask)], size), mask)
    np.testing.assert_array_equal(draw([Part(one)], size), mask)  # filled by pycocotools as it stands
    np.testing.assert_array_equal(draw(take_apart(one), size), mask)


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(0, 40))
def test_parts_and_holes_are_counted_as_connected_pixels(mask, margin):
    """Of the mask by corners too, of what is around it by sides alone, where one piece is the outside."""
    mask = np.pad(mask, ((0, margin), (margin, 1)))
    _, parts = ndimage.label(mask, np.ones((3, 3)))
    _, around = ndimage.label(~np.pad(mask, 1))
    assert count_pieces(rle_of(mask)) == (parts, around - 1)
    assert count_pieces(rle_of(mask & False)) == (0, 0)


def test_parts_and_holes_are_counted_in_outlines_as_in_pixels():
    parts = take_apart(joined(NINE))
    assert (len(parts), sum(len(part.holes) for part in parts)) == count_pieces(rle_of(NINE)) == (3, 1)


def test_an_outline_that_other_tools_join_is_taken_apart():
    """The first part is closed before the line to the next one leaves it; the way back is that to the first point."""
    squares = [np.array([(0, 0), (4, 0), (4, 4), (0, 4)]) + np.array((8 * number, 0)) for number in range(3)]
    first, second, third = (np.concatenate((it, it[:1])) for it in squares)
    one = np.concatenate((first, second, third, second[:1]))
    assert [part.outline.tolist() for part in take_apart(one)] == [it.tolist() for it in squares]


@pytest.mark.parametrize('seed', range(3))
def test_what_leaves_the_picture_is_cut_as_if_it_was_drawn_on_a_larger_one(seed):
    size, margin = (30, 20), 15
    angles = np.sort(np.random.default_rng(seed).uniform(0, 2 * np.pi, 9))
    outline = np.stack((15 + 22 * np.cos(angles), 10 + 22 * np.sin(angles)), 1)
    cut = cut_at_edges(outline, size)
    whole = draw([Part(outline + margin)], (60, 50))[margin : margin + 20, margin : margin + 30]
    differ = draw([Part(cut)], size) ^ whole
    assert cut.min() >= 0 and (cut <= size).all() and differ.sum() <= 4 and whole.any() and not whole.all()
    assert len(cut_at_edges(outline + 100, size)) < 3


@pytest.mark.parametrize('orientation', range(1, 9))
def test_points_and_masks_are_turned_as_pillow_turns_the_picture(orientation):
    stored = np.zeros((12, 18), np.uint8)
    outline = np.array([(2, 3), (9, 3), (9, 5), (5, 8), (2, 8)])
    stored[draw([Part(outline)], (18, 12))] = 255
    picture = Image.fromarray(stored)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.info['exif'] = exif.tobytes()
    right = np.asarray(ImageOps.exif_transpose(picture)) > 0
    np.testing.assert_array_equal(turn_mask(stored > 0, orientation), right)
    turned = turn_points(outline.astype(float), orientation, (18, 12))
    assert (draw([Part(turned)], right.shape[::-1]) ^ right).sum() <= 3  # a slanted edge is rounded the other way
    assert enclosed(turned) == enclosed(outline)


def test_opencv_fills_a_joined_outline_with_its_holes():
    mask = np.zeros_like(NINE, np.uint8)
    cv2.fillPoly(mask, [joined(NINE).astype(np.int32)], 1)
    assert mask[7, 7] == 0 and mask[2, 2] == 1 and mask[2, 22] == 1
