"""Drawn totes: what is in them, how the subsets differ, and that masks are no boxes however small the pictures."""

import numpy as np
import pytest

from damamba.datasets.drawing import light_and_shadow, totes
from damamba.datasets.drawing.grounds import FINE
from damamba.datasets.drawing.heap import Heap, place_thing
from damamba.datasets.drawing.things import PRODUCTS, make_product
from damamba.datasets.drawing.totes import MAX_OBJECTS, VIEWS, draw_tote_scene, fill_tote, pick_products

SIDE = 160
MIX, ZOOMED, SAME = VIEWS


@pytest.fixture(scope='module')
def scenes():
    return {subset: [draw_tote_scene(subset, SIDE, (7, i)) for i in range(12)] for subset in VIEWS}


def fill(subset, seed):
    """A tote's plate and rim, and the heap in it, without its picture, which is quick."""
    return fill_tote(VIEWS[subset], SIDE, np.random.default_rng(seed))


def objects(subset, scene):
    return [it for it in scene.things if VIEWS[subset].classes[it.category] == 'Object']


@pytest.mark.parametrize(('subset', 'size'), [(MIX, (134, 160)), (ZOOMED, (134, 134)), (SAME, (98, 134))])
def test_a_scene_has_the_aspect_the_shapes_and_the_classes_that_are_promised(scenes, subset, size):
    for scene in scenes[subset]:
        assert scene.picture.shape == (*size, 3) and scene.picture.dtype == np.uint8
        names = [VIEWS[subset].classes[it.category] for it in scene.things]
        total = 0 if subset == SAME else 1
        assert names == ['Tote'] * total + ['Object'] * (len(names) - total)
        assert all(it.mask.shape == size and not it.crowd for it in scene.things)
        assert [it.holder for it in scene.things] == [name == 'Tote' for name in names]
        found = objects(subset, scene)
        assert 1 <= len(found) <= MAX_OBJECTS and sum(it.fine.astype(int) for it in found).max() == 1
        assert min(it.fine.sum() for it in found) >= totes.MIN_PIXELS * FINE * FINE
        assert max(it.hidden for it in found) <= 1 - totes.MIN_VISIBLE
        if total:  # the tote is under the objects
            assert not any((it.mask & ~scene.things[0].mask).any() for it in found)


@pytest.mark.parametrize('subset', VIEWS)
def test_there_are_about_as_many_objects_as_in_the_real_pictures_and_nearly_all_find_their_place(subset, monkeypatch):
    view, rng, made = VIEWS[subset], np.random.default_rng(1), []
    monkeypatch.setattr(totes, 'pick_products', lambda *it: made.append(pick_products(*it)) or made[-1])
    placed = sum(len(fill(subset, (9, i))[-1].items) for i in range(40))
    assert 0.97 * sum(map(len, made)) <= placed <= sum(map(len, made))
    monkeypatch.setattr(totes, 'make_product', lambda kind, rng: kind)
    counts = [len(pick_products(view, rng)) for _ in range(3000)]
    assert np.mean(counts) == pytest.approx(view.mean, rel=0.05)
    assert min(counts) == 1 and 2 * view.mean < max(counts) <= MAX_OBJECTS


@pytest.mark.parametrize('subset', VIEWS)
def test_products_lie_inside_of_the_rim(subset):
    for i in range(15):
        plate, rim, heap = fill(subset, (3, i))
        inside = (plate.spread(heap.top) > 0) & (rim.spread(heap.top) == 0)
        assert not any((item.spread(heap.top) > 0)[~inside].any() for item in heap.items)
        assert 0.3 < inside.sum() / plate.mask.sum() < 0.9


@pytest.mark.parametrize('subset', VIEWS)
def test_masks_do_not_fill_their_boxes_however_few_and_small_they_are(subset):
    found = [fill(subset, (4, i))[-1].see() for i in range(60)]
    shares = [np.mean([fills_its_box(it.mask) for it in things]) for things in found if len(things) >= 4]
    assert len(shares) > 15 and max(shares) <= 0.5 and np.mean(shares) < 0.05


def fills_its_box(mask):
    (rows,), (columns,) = np.nonzero(mask.any(1)), np.nonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_one_product_is_repeated_in_one_subset_and_mixed_totes_have_look_alikes():
    for i in range(20):
        assert len({id(item.thing) for item in fill(SAME, (5, i))[-1].items}) == 1
    mixed = [[id(item.thing) for item in fill(MIX, (5, i))[-1].items] for i in range(20)]
    assert 0.2 < np.mean([len(set(things)) < len(things) for things in mixed]) < 0.95
    assert np.mean([len(set(things)) / len(things) for things in mixed]) > 0.6


def test_no_kind_of_product_comes_again_before_all_others_came(monkeypatch):
    monkeypatch.setattr(totes, 'make_product', lambda kind, rng: kind)
    monkeypatch.setattr(totes, 'COPIES', {1: 1.0})
    products = max((pick_products(VIEWS[MIX], np.random.default_rng(i)) for i in range(20)), key=len)
    assert len(products) > 16
    assert sorted(products[:8]) == sorted(products[8:16]) == list(range(len(PRODUCTS))) != products[:8]


def test_copies_lie_mostly_the_same_way_and_are_of_one_size():
    heaps = [heap for _, _, heap in (fill(SAME, (6, i)) for i in range(60)) if len(heap.items) > 1]
    turns = [item.angle - heap.items[0].angle for heap in heaps for item in heap.items[1:]]
    assert np.mean(np.cos(turns) > np.cos(0.4)) > 0.75
    sizes = [len({item.radius for item in heap.items}) == 1 for heap in heaps]
    assert np.mean(sizes) > 0.5


def test_the_camera_is_further_away_in_the_zoomed_out_subset(scenes):
    shares = {subset: [it.mask.mean() for scene in scenes[subset] for it in objects(subset, scene)] for subset in VIEWS}
    assert np.median(shares[ZOOMED]) < 0.5 * np.median(shares[MIX])
    whole = [scene.things[0].mask for scene in scenes[ZOOMED]]
    assert not any(np.concatenate([it[0], it[-1], it[:, 0], it[:, -1]]).any() for it in whole)
    assert max(it.mean() for it in whole) < 0.3 < np.median([scene.things[0].mask.mean() for scene in scenes[MIX]])


@pytest.mark.parametrize('kind', range(len(PRODUCTS)))
def test_a_product_is_painted_where_its_mask_is_and_all_copies_look_the_same(kind, monkeypatch):
    monkeypatch.setattr(light_and_shadow, 'SHADOW', 0.0)
    (product, length), heap = make_product(kind, np.random.default_rng(2)), Heap(120, 140, 16)
    _, _, aspects, lengths, *_ = PRODUCTS[kind]
    reach = np.abs(product.loops[0]).max(0)
    assert reach[0] == pytest.approx(1, abs=0.1) and 0.88 * aspects[0] <= reach[1] <= aspects[1]
    assert lengths[0] <= length <= lengths[1]
    placed = place_thing(product, 0, (70.0, 60.0), 45.0, 0.7)
    assert heap.put(placed, 0.5)
    canvases = [np.full((120, 140, 3), ground, np.float32) for ground in (0, 1)]
    for canvas in canvases:
        light_and_shadow.paint_thing(canvas, placed, *product.colours, np.float32([0.36, -0.48, 0.8]))
    difference, mask = canvases[1] - canvases[0], heap.see()[0].mask  # what is not covered shows the ground
    assert np.array_equal(difference.max(2) < 0.5, mask)
    assert np.allclose(difference.min(2), difference.max(2), atol=1e-5) and canvases[0][mask].std() > 0.02
