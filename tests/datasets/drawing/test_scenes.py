"""The demo's scenes: masks against a painter's order, what is painted, and what can be learned from them."""

import math

import cv2
import numpy as np
import pytest

from damamba.datasets.drawing import light_and_shadow
from damamba.datasets.drawing.grounds import FINE, PALETTES
from damamba.datasets.drawing.heap import Heap, place_thing
from damamba.datasets.drawing.scenes import choose_colours, draw_scene, heap_up, place_shape
from damamba.datasets.drawing.things import CLASSES, Thing, mirrored

SIZE = 96
LIGHT = np.array([0.36, -0.48, 0.8])  # from the upper right


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene(SIZE, (7, i)) for i in range(100)]


def lone(name):
    """One thing of a class in a picture of its own: as it is placed, and what is visible of it."""
    heap = Heap(SIZE, SIZE, 64)
    placed = place_shape(CLASSES.index(name), (48.0, 48.0), 30.0, np.random.default_rng(4))
    assert heap.put(placed, 0.5)
    return placed, heap.see()[0]


def test_there_are_six_classes_and_a_ring_and_a_gear_have_a_hole():
    assert CLASSES == ('ball', 'crate', 'fish', 'gear', 'ring', 'star')
    open_inside = {name for name in CLASSES if not lone(name)[1].mask[46:50, 46:50].any()}
    assert open_inside == {'gear', 'ring'}
    ball, ring = lone('ball')[1].mask, lone('ring')[1].mask
    assert ball.sum() == pytest.approx(math.pi * 30**2, rel=0.02) and 0.6 < ring.sum() / ball.sum() < 0.78


@pytest.mark.parametrize('name', CLASSES)
def test_what_is_painted_is_what_the_mask_says_and_its_shadow_lies_away_from_the_light(name, monkeypatch):
    placed, visible = lone(name)
    canvas, white = np.ones((SIZE, SIZE, 3), np.float32), np.ones(3, np.float32)
    light_and_shadow.cast_shadow(canvas, placed, visible.mask[placed_box(placed)].astype(np.float32), LIGHT)
    ys, xs = np.nonzero(canvas[..., 0] < 0.8)
    assert xs.mean() < 47 and ys.mean() > 49
    monkeypatch.setattr(light_and_shadow, 'SHADOW', 0.0)
    canvases = [np.full((SIZE, SIZE, 3), ground, np.float32) for ground in (0, 1)]
    for canvas in canvases:
        light_and_shadow.paint_thing(canvas, placed, white, 0.5 * white, LIGHT)
    difference = canvases[1] - canvases[0]  # what is not covered shows the ground
    assert np.array_equal(difference.max(2) < 0.5, visible.mask) and not canvases[0][difference.min(2) > 0.999].any()


def test_a_coat_turns_with_its_outline():
    def coat(u, v):
        return 1.0, (u > 0) & (v > 0)

    thing = Thing([mirrored([(1.0, 0.6), (-1.0, 0.6)])], rounding=0.01, height=0.0, gloss=0.0, coat=coat)
    canvas = np.zeros((SIZE, SIZE, 3), np.float32)
    placed = place_thing(thing, 0, (48.0, 40.0), 30.0, 0.7)
    light_and_shadow.paint_thing(canvas, placed, np.float32([0, 0, 0]), np.float32([1, 1, 1]), LIGHT)
    shape = placed.spread(np.zeros((SIZE * FINE, SIZE * FINE)))
    across, down = np.array([math.cos(0.7), math.sin(0.7)]), np.array([-math.sin(0.7), math.cos(0.7)])
    for u, v in ((0.8, 0.4), (0.8, -0.4), (-0.8, 0.4), (-0.8, -0.4)):
        x, y = (np.array([48.0, 40.0]) + 30 * (u * across + v * down)).astype(int)
        assert (canvas[y, x].min() > 0.8) == (u > 0 and v > 0) and shape[y * FINE, x * FINE]


def placed_box(placed):
    (left, top), (height, width) = placed.corner, placed.mask.shape
    return slice(top, top + height // FINE), slice(left, left + width // FINE)


def painters_order(heap):
    """What is visible of each item, from the uppermost to the lowest, and the share of it that is hidden."""
    left = np.ones_like(heap.top, bool)
    for number in reversed(range(len(heap.items))):
        item = heap.items[number]
        ys, xs = np.nonzero(item.mask)
        ys, xs = ys + item.corner[1] * FINE, xs + item.corner[0] * FINE
        inside = (ys >= 0) & (xs >= 0) & (ys < left.shape[0]) & (xs < left.shape[1])
        shape = np.zeros_like(left)
        shape[ys[inside], xs[inside]] = True
        yield number, shape & left, (shape & ~left).sum() / item.mask.sum()
        left &= ~shape


def test_masks_are_the_shapes_less_what_lies_above_cut_by_the_frame():
    for i in range(20):
        heap = heap_up(SIZE, np.random.default_rng((11, i)))
        for number, fine, hidden in painters_order(heap):
            visible = heap.see()[number]
            assert np.array_equal(visible.fine, fine) and visible.hidden == pytest.approx(hidden)
            share = fine.reshape(SIZE, FINE, SIZE, FINE).mean((1, 3))
            assert np.array_equal(visible.mask, share > 0.5)


def test_masks_do_not_overlap_and_everything_can_be_recognised(scenes):
    for scene in scenes:
        assert scene.picture.shape == (SIZE, SIZE, 3) and scene.picture.dtype == np.uint8
        assert sum(it.mask.astype(int) for it in scene.things).max() == 1
        assert min(it.mask.sum() for it in scene.things) >= 60 and max(it.hidden for it in scene.things) <= 0.55


def test_there_are_enough_things_small_and_large_hidden_and_cut_in_all_classes_and_colours(scenes):
    counts = [sum(not it.crowd for it in scene.things) for scene in scenes]
    things = [it for scene in scenes for it in scene.things if not it.crowd]
    assert min(counts) >= 3 and max(counts) <= 8 and np.mean(counts) >= 4
    assert np.mean([it.hidden >= 0.03 for it in things]) >= 1 / 3
    extents = [max(cv2.boundingRect(it.mask.astype(np.uint8))[2:]) / SIZE for it in things]
    edges = [np.concatenate([it.mask[0], it.mask[-1], it.mask[:, 0], it.mask[:, -1]]).any() for it in things]
    assert min(extents) < 0.2 and 0.5 < max(extents) < 0.76 and 0.05 < np.mean(edges) < 0.45
    seen = {category: set() for category in range(len(CLASSES))}
    for scene in scenes:
        hues = cv2.cvtColor(scene.picture, cv2.COLOR_BGR2HSV)[..., 0]
        for it in scene.things:
            seen[it.category].add(int(np.median(hues[it.mask]) // 30))
    assert min(len(hues) for hues in seen.values()) >= 4  # of six parts of the circle: colours don't tell the class


def test_no_thing_has_the_colour_of_what_is_right_under_it():
    for i in range(30):
        heap, rng = heap_up(SIZE, np.random.default_rng((2, i))), np.random.default_rng(i)
        colours, top = choose_colours(heap, rng), np.full_like(heap.top, -1)
        for number, item in enumerate(heap.items):
            region = item.spread(top) > 0
            under = {colours[other] for other in np.unique(top[region]) if other >= 0}
            assert colours[number] not in under or len(under) == 6
            top[region] = number


def test_every_colour_of_a_thing_stands_out_from_its_ground():
    assert min(np.abs(it[2:, None] - it[None, :2]).max(2).min() for it in PALETTES) > 0.2


def test_some_pictures_have_a_crowd_of_at_least_ten_tiny_things():
    heaps = [heap_up(SIZE, np.random.default_rng((5, i))) for i in range(200)]
    crowds = [item for heap in heaps for item in heap.items if item.crowd]
    assert 4 <= len(crowds) <= 24
    for crowd in crowds:
        assert len(crowd.crowd) >= 10 and len({part.category for part in crowd.crowd}) == 1
        assert max(part.radius for part in crowd.crowd) < SIZE / 12
        whole = sum(part.spread(crowd.mask) for part in crowd.crowd) > 0
        assert np.all(crowd.mask[whole]) and crowd.mask.sum() < 2.5 * whole.sum()
