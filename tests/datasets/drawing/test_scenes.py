"""Scenes and their annotations: masks against a painter's order, polygons against pycocotools."""

import math

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.datasets.drawing import placing
from damamba.datasets.drawing.annotations import annotate, polygons, run_lengths
from damamba.datasets.drawing.grounds import FINE, PALETTES
from damamba.datasets.drawing.scenes import DemoError, Thing, draw_scene, paint_thing
from damamba.datasets.drawing.things import CLASSES

SIZE = 96
WITH_HOLE = ('gear', 'ring')


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene(SIZE, (7, i)) for i in range(100)]


def decode(segmentation, size=SIZE):
    """The mask of polygons or of compressed RLE."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, size, size))
    return coco_mask.decode(segmentation).astype(bool)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def lone(name, seed=0, radius=30.0, centre=(48.0, 48.0)):
    """One thing of a class in a picture of its own, as it lies and as it is annotated."""
    heap = placing.Heap(SIZE, SIZE)
    pose = placing.make_pose(CLASSES.index(name), centre, radius, np.random.default_rng(seed))
    assert heap.put([pose], pose)
    fine = heap.top == 0
    mask = cv2.resize(fine.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA) > 0.5
    return pose, Thing(pose.category, mask, fine, 0.0, False)


def test_there_are_at_least_six_classes_and_two_of_them_have_a_hole():
    assert len(CLASSES) == len(set(CLASSES)) >= 6
    holes = {name for name in CLASSES if isinstance(annotate(lone(name)[1])['segmentation'], dict)}
    assert holes == set(WITH_HOLE)


def test_a_scene_has_the_shapes_that_are_promised(scenes):
    for scene in scenes:
        assert scene.picture.shape == (SIZE, SIZE, 3) and scene.picture.dtype == np.uint8
        for thing in scene.things:
            assert thing.mask.shape == (SIZE, SIZE) and thing.mask.dtype == bool
            assert thing.fine.shape == (SIZE * FINE, SIZE * FINE) and 0 <= thing.category < len(CLASSES)


def test_the_same_seed_draws_the_same_and_another_one_another():
    one, same, other = draw_scene(SIZE, (0, 0, 5)), draw_scene(SIZE, (0, 0, 5)), draw_scene(SIZE, (0, 1, 5))
    assert np.array_equal(one.picture, same.picture)
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(one.things, same.things, strict=True))
    assert not np.array_equal(one.picture, other.picture)


def test_a_ball_has_the_area_of_its_disc_and_a_ring_is_open_in_the_middle():
    ball, ring = lone('ball')[1].mask, lone('ring')[1].mask
    assert ball.sum() == pytest.approx(math.pi * 30**2, rel=0.02)
    assert ball[48, 48] and not ring[48, 48] and 0.6 < ring.sum() / ball.sum() < 0.78


@pytest.mark.parametrize('name', CLASSES)
def test_what_is_painted_is_what_the_mask_says(name, monkeypatch):
    monkeypatch.setattr('damamba.datasets.drawing.lighting.SHADOW', 0.0)
    pose, thing = lone(name, seed=4)
    canvas, white = np.zeros((SIZE, SIZE, 3), np.float32), np.ones(3, np.float32)
    paint_thing(canvas, pose, white, white, np.array([0.36, -0.48, 0.8]))
    painted = canvas.max(2) > 0
    assert np.all(painted[thing.mask])
    assert not np.any(painted & (cv2.dilate(thing.mask.astype(np.uint8), np.ones((3, 3))) == 0))


def test_masks_are_the_shapes_less_what_lies_above_cut_by_the_frame():
    for i in range(20):
        heap = placing.place(SIZE, np.random.default_rng((11, i)))
        left = np.ones((SIZE * FINE, SIZE * FINE), bool)
        for number in reversed(range(len(heap.items))):
            region = heap.items[number].region
            ys, xs = np.nonzero(region.mask)
            ys, xs = ys + region.corner[1] * FINE, xs + region.corner[0] * FINE
            inside = (ys >= 0) & (xs >= 0) & (ys < SIZE * FINE) & (xs < SIZE * FINE)
            shape = np.zeros_like(left)
            shape[ys[inside], xs[inside]] = True
            assert np.array_equal(heap.top == number, shape & left)
            assert heap.hidden(number) == pytest.approx((shape & ~left).sum() / region.mask.sum())
            left &= ~shape


def test_masks_do_not_overlap_and_everything_can_be_recognised(scenes):
    for scene in scenes:
        assert sum(thing.mask.astype(int) for thing in scene.things).max() <= 1
        assert min(thing.mask.sum() for thing in scene.things) >= 60
        assert max(thing.hidden for thing in scene.things) <= 0.55


def test_there_are_enough_things_and_enough_of_them_are_partly_hidden(scenes):
    counts = [sum(not thing.crowd for thing in scene.things) for scene in scenes]
    hidden = [thing.hidden >= 0.03 for scene in scenes for thing in scene.things if not thing.crowd]
    assert min(counts) >= 3 and max(counts) <= 8 and np.mean(counts) >= 4
    assert np.mean(hidden) >= 1 / 3


def test_things_are_small_and_large_and_some_are_cut_by_the_frame(scenes):
    things = [thing for scene in scenes for thing in scene.things if not thing.crowd]
    extents = [max(cv2.boundingRect(thing.mask.astype(np.uint8))[2:]) / SIZE for thing in things]
    edges = [np.concatenate([it.mask[0], it.mask[-1], it.mask[:, 0], it.mask[:, -1]]).any() for it in things]
    assert min(extents) < 0.2 and 0.5 < max(extents) < 0.76
    assert 0.05 < np.mean(edges) < 0.45
    assert len({thing.category for thing in things}) == len(CLASSES)


def test_colours_do_not_tell_the_class(scenes):
    seen = {category: set() for category in range(len(CLASSES))}
    for scene in scenes:
        hues = cv2.cvtColor(scene.picture, cv2.COLOR_BGR2HSV)[..., 0]
        for thing in scene.things:
            seen[thing.category].add(int(np.median(hues[thing.mask]) // 30))
    assert min(len(hues) for hues in seen.values()) >= 4  # of six parts of the circle


def test_every_colour_of_a_thing_stands_out_from_its_ground():
    for palette in PALETTES:
        distance = np.abs(palette.things[:, None] - palette.ground[None]).max(2)
        assert distance.min() > 0.2


def test_some_pictures_have_a_crowd_of_at_least_ten_tiny_things():
    heaps = [placing.place(SIZE, np.random.default_rng((5, i))) for i in range(200)]
    crowds = [item for heap in heaps for item in heap.items if item.crowd]
    assert 4 <= len(crowds) <= 24
    for crowd in crowds:
        assert len(crowd.parts) >= 10 and len({part.category for part in crowd.parts}) == 1
        assert max(part.radius for part in crowd.parts) < SIZE / 12


def test_polygons_rasterise_to_the_mask(scenes):
    things = [thing for scene in scenes for thing in scene.things if thing.mask.sum() > 200 and not thing.crowd]
    pairs = [(annotate(thing)['segmentation'], thing.mask) for thing in things]
    ious = [iou(decode(segmentation), mask) for segmentation, mask in pairs if isinstance(segmentation, list)]
    assert len(ious) > 100 and min(ious) >= 0.93 and np.mean(ious) >= 0.97
    assert all(np.array_equal(decode(it), mask) for it, mask in pairs if isinstance(it, dict))


def test_a_polygon_runs_along_the_edges_of_pixels():
    fine = np.zeros((10 * FINE, 10 * FINE), bool)
    fine[2 * FINE : 5 * FINE, 3 * FINE : 10 * FINE] = True
    (piece,) = polygons(fine)
    assert len(piece) == 8
    assert np.abs(np.sort(np.reshape(piece, (4, 2)), 0) - [[3, 2], [3, 2], [10, 5], [10, 5]]).max() < 0.2
    assert np.array_equal(decode([piece], 10), fine[1::FINE, 1::FINE])


def test_what_is_split_is_several_polygons_and_what_has_a_hole_is_none():
    fine = np.zeros((20 * FINE, 20 * FINE), bool)
    fine[2 * FINE : 18 * FINE, 2 * FINE : 18 * FINE] = True
    fine[:, 9 * FINE : 11 * FINE] = False
    assert len(polygons(fine)) == 2
    fine[5 * FINE : 9 * FINE, 4 * FINE : 7 * FINE] = False
    assert polygons(fine) == []


def test_run_lengths_go_down_the_columns_and_start_outside():
    assert run_lengths(np.array([[0, 1], [0, 1], [1, 0]], bool)) == [2, 3, 1]
    assert run_lengths(np.array([[1, 1], [0, 1]], bool)) == [0, 1, 1, 2]


@pytest.mark.parametrize('size', [63, 4096, 96.0])
def test_a_size_that_makes_no_sense_is_named(size):
    with pytest.raises(DemoError, match=f'is an integer from 64 to 2048, not {size}'):
        draw_scene(size, 0)
