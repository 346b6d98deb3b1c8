"""Drawn totes: what is in them, masks against what is painted and against pycocotools, how the subsets differ."""

import math

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.datasets.drawing import packing, prints, products, tote_scenes
from damamba.datasets.drawing.annotations import annotate
from damamba.datasets.drawing.grounds import FINE
from damamba.datasets.drawing.lighting import lay
from damamba.datasets.drawing.placing import Heap, pose_of
from damamba.datasets.drawing.scenes import DemoError, thing
from damamba.datasets.drawing.tote_scenes import MAX_OBJECTS, VIEWS, draw_tote_scene, pick_count
from damamba.datasets.drawing.totes import pick_tote

SIDE = 160
MIX, ZOOMED, SAME = VIEWS
WITH_HOLE = ('blister', 'roll')
EVERY_KIND = products.KINDS | products.REPEATED


@pytest.fixture(scope='module')
def scenes():
    return {subset: [draw_tote_scene(subset, SIDE, (7, i)) for i in range(12)] for subset in VIEWS}


def objects(subset, scene):
    return [it for it in scene.things if VIEWS[subset].classes[it.category] == 'Object']


def packed(subset, seed, side=SIDE):
    """A heap without its picture, which is quick, and the products in it."""
    rng, view = np.random.default_rng(seed), VIEWS[subset]
    height, width = view.size(side)
    tote = pick_tote(height, width, view.reach, rng)
    return tote_scenes.fill_tote(view, tote, height, width, 0, rng)


def decode(segmentation, shape):
    """The mask of polygons or of compressed RLE."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *shape))
    return coco_mask.decode(segmentation).astype(bool)


@pytest.mark.parametrize(('subset', 'size'), [(MIX, (268, 320)), (ZOOMED, (267, 267)), (SAME, (196, 268))])
def test_pictures_have_the_aspects_of_the_real_ones(subset, size):
    assert VIEWS[subset].size(320) == size
    assert VIEWS[subset].size(2448) == (VIEWS[subset].height, VIEWS[subset].width)


def test_a_scene_has_the_shapes_and_classes_that_are_promised(scenes):
    for subset, drawn in scenes.items():
        shape = VIEWS[subset].size(SIDE)
        for scene in drawn:
            assert scene.picture.shape == (*shape, 3) and scene.picture.dtype == np.uint8
            names = [VIEWS[subset].classes[it.category] for it in scene.things]
            totes = 0 if subset == SAME else 1
            assert names == ['Tote'] * totes + ['Object'] * (len(names) - totes)
            assert all(it.mask.shape == shape and not it.crowd for it in scene.things)
            assert all(it.fine.shape == (shape[0] * FINE, shape[1] * FINE) for it in scene.things)


def test_the_same_seed_draws_the_same_and_another_one_another():
    one, same, other = (draw_tote_scene(MIX, SIDE, seed) for seed in ((0, 5), (0, 5), (1, 5)))
    assert np.array_equal(one.picture, same.picture)
    assert all(np.array_equal(a.fine, b.fine) for a, b in zip(one.things, same.things, strict=True))
    assert not np.array_equal(one.picture, other.picture)


def test_objects_do_not_overlap_and_can_be_seen(scenes):
    for subset, drawn in scenes.items():
        for scene in drawn:
            found = objects(subset, scene)
            assert 1 <= len(found) <= MAX_OBJECTS
            assert sum(it.fine.astype(int) for it in found).max() == 1
            assert min(it.fine.sum() for it in found) >= packing.MIN_PIXELS * FINE * FINE
            assert max(it.hidden for it in found) <= 1 - packing.MIN_VISIBLE


def test_the_tote_is_under_the_objects_and_overlaps_with_them(scenes):
    for subset in (MIX, ZOOMED):
        for scene in scenes[subset]:
            tote, *rest = scene.things
            for it in rest:
                assert (it.mask & tote.mask).sum() > 0.8 * it.mask.sum()


def test_a_mask_is_what_is_visible_of_a_product():
    heap, _ = packed(MIX, 3)
    left = np.ones(heap.top.shape, bool)
    for number in reversed(range(len(heap.items))):
        region = heap.items[number].region
        ys, xs = np.nonzero(region.mask)
        ys, xs = ys + region.corner[1] * FINE, xs + region.corner[0] * FINE
        inside = (ys >= 0) & (xs >= 0) & (ys < left.shape[0]) & (xs < left.shape[1])
        shape = np.zeros_like(left)
        shape[ys[inside], xs[inside]] = True
        assert np.array_equal(thing(heap, number).fine, shape & left)
        left &= ~shape


@pytest.mark.parametrize('kind', EVERY_KIND, ids=lambda kind: kind.__name__)
def test_what_is_painted_of_a_product_is_what_the_mask_says(kind, monkeypatch):
    monkeypatch.setattr('damamba.datasets.drawing.lighting.SHADOW', 0.0)
    product, heap = kind(np.random.default_rng(2)), Heap(120, 140)
    pose = pose_of(0, (70.0, 60.0), 45.0, 0.7, product.outline)
    assert heap.put([pose], pose)
    canvas = np.zeros((120, 140, 3), np.float32)
    colours, bumps = products.dress(product, pose)
    lay(canvas, pose, np.maximum(colours, 0.2), product.finish, np.float32([0.36, -0.48, 0.8]), bumps)
    painted, it = canvas.max(2) > 0, thing(heap, 0)
    assert np.all(painted[it.mask])
    assert not np.any(painted & (cv2.dilate(it.mask.astype(np.uint8), np.ones((3, 3))) == 0))
    assert isinstance(annotate(it)['segmentation'], dict) == (product.kind in WITH_HOLE)


def test_a_product_lies_within_its_print():
    for kind in EVERY_KIND:
        for seed in range(5):
            product = kind(np.random.default_rng(seed))
            assert product.kind == kind.__name__ and product.face.dtype == np.float32
            reach = np.abs(product.outline[0]).max(0)
            assert np.all(reach <= np.array([1, product.aspect]) * 1.001) and np.all(reach > 0.9 * product.aspect)


def test_annotations_rasterise_to_the_masks(scenes):
    common = union = 0
    for drawn in scenes.values():
        for it in (it for scene in drawn for it in scene.things):
            found = decode(annotate(it)['segmentation'], it.mask.shape)
            both, either = (found & it.mask).sum(), (found | it.mask).sum()
            assert both / either >= (0.96 if it.mask.sum() >= 400 else 0.85)
            common, union = common + both, union + either
    assert common / union >= 0.99


@pytest.mark.parametrize('subset', VIEWS)
def test_there_are_about_as_many_objects_as_in_the_real_pictures(subset):
    rng, mean = np.random.default_rng(1), VIEWS[subset].mean
    counts = [pick_count(VIEWS[subset], rng) for _ in range(4000)]
    assert np.mean(counts) == pytest.approx(mean, rel=0.04)
    assert min(counts) == 1 and 2 * mean < max(counts) <= MAX_OBJECTS


def test_nearly_all_products_find_their_place():
    for subset in VIEWS:
        heaps = [packed(subset, (9, i)) for i in range(25)]
        assert all(len(heap.items) == len(chosen) >= 1 for heap, chosen in heaps)
    rng, view = np.random.default_rng(4), VIEWS[MIX]
    tote = pick_tote(*view.size(SIDE), view.reach, rng)
    heap, _ = packing.pack(packing.choose(MAX_OBJECTS, rng), tote, *view.size(SIDE), 0, rng)
    assert len(heap.items) > 0.9 * MAX_OBJECTS


def test_the_camera_is_further_away_in_the_zoomed_out_subset(scenes):
    def median(subset):
        return np.median([it.mask.mean() for scene in scenes[subset] for it in objects(subset, scene)])

    assert median(ZOOMED) < 0.5 * median(MIX)
    whole = [scene.things[0].mask for scene in scenes[ZOOMED]]
    assert not any(np.concatenate([it[0], it[-1], it[:, 0], it[:, -1]]).any() for it in whole)
    assert max(it.mean() for it in whole) < 0.3 < np.median([scene.things[0].mask.mean() for scene in scenes[MIX]])


def test_one_product_is_repeated_in_one_subset_and_mixed_totes_have_look_alikes():
    for i in range(20):
        heap, chosen = packed(SAME, (5, i))
        assert len({id(it) for it in chosen}) == 1
        assert len({item.region.radius for item in heap.items}) == 1
    mixed = [packed(MIX, (5, i))[1] for i in range(20)]
    alike = [len({id(it) for it in chosen}) < len(chosen) for chosen in mixed]
    assert 0.2 < np.mean(alike) < 0.9
    assert np.mean([len({it.kind for it in chosen}) for chosen in mixed]) > 3
    assert len({it.kind for chosen in mixed for it in chosen}) == len(products.KINDS)


def spread(mask, pixels):
    reach = 2 * pixels * FINE + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0


def touches(heap, number):
    """Whether what is visible of an item is within 2 pixels of another one."""
    near = heap.top[spread(heap.top == number, 2)]
    return np.any((near >= 0) & (near != number))


def test_copies_lie_close_together_and_mostly_the_same_way():
    heaps = [heap for heap, _ in (packed(SAME, (6, i)) for i in range(60)) if len(heap.items) > 1]
    assert np.mean([touches(heap, number) for heap in heaps for number in range(len(heap.items))]) > 0.85
    turns = [2 * item.region.angle - 2 * heap.items[0].region.angle for heap in heaps for item in heap.items[1:]]
    assert np.mean(np.cos(turns) > math.cos(2 * 0.2)) > 0.75


def test_nearly_all_copies_find_their_place():
    view, found = VIEWS[SAME], []
    for i in range(60):
        rng = np.random.default_rng((8, i))
        tote = pick_tote(*view.size(SIDE), view.reach, rng)
        found.append(len(packing.repeat(1 + i % 14, tote, *view.size(SIDE), 0, rng)[0].items) / (1 + i % 14))
    assert np.mean(found) > 0.98 and np.mean(np.array(found) == 1) > 0.9


def area(places, aspect):
    """What upright copies cover, in areas of one of them."""
    canvas = np.zeros((2400, 2400), np.uint8)
    for x, y in (places[:, :2] - places[:, :2].min(0)) * 50 + 60:
        cv2.rectangle(canvas, *(np.round([x - 50, y - 50 * aspect, 100, 100 * aspect]).astype(int)[None]), 1, -1)
    return np.count_nonzero(canvas) / (100 * 100 * aspect)


@pytest.mark.parametrize(('order', 'low', 'high'), [('rows', 0.6, 1.02), ('shingles', 0.35, 0.8), ('pile', 0.3, 0.95)])
def test_rows_lie_edge_to_edge_and_other_copies_upon_one_another(order, low, high):
    shares = []
    for seed in range(20):
        places = getattr(packing, order)(6, 0.6, np.random.default_rng(seed))
        assert places.shape == (6, 3) and np.abs(places[:, 2]).max() < 0.6
        shares.append(area(places, 0.6) / 6)
    assert low < min(shares) and max(shares) < high
    assert order != 'rows' or np.median(shares) > 0.95


def test_copies_are_settled_within_the_floor_and_as_long_as_it_allows():
    product, floor = products.sheet(np.random.default_rng(0)), np.array([0.8, 0.5])
    for seed in range(20):
        points, radius, angle = packing.settle(np.zeros((1, 2)), product, floor, np.random.default_rng(seed))
        cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
        own = radius * np.array([cos + product.aspect * sin, sin + product.aspect * cos])
        assert np.all(np.abs(points[0]) + own <= floor * 1.1)
        assert 0.8 * min(0.8, 0.5 / product.aspect) < radius <= packing.LARGEST_ALONE * product.length


def test_like_fields_are_printed_side_by_side_and_are_darker_at_their_edges():
    for seed in range(8):
        face, widths = prints.fields(0.8, np.random.default_rng(seed)), (prints.LENGTH // 2, prints.LENGTH // 3)
        assert any(np.array_equal(face[:, :wide], face[:, wide : 2 * wide]) for wide in widths)
    tone = prints.edges(0.7)
    assert np.all(tone[[0, -1]] == tone[0, 0]) and tone[0, 0] == pytest.approx(0.7)
    assert np.array_equal(tone, tone.T) and np.all(tone[10:-10, 10:-10] == 1)


def test_goods_in_film_rise_from_dark_gaps():
    face = np.ones((96, 192, 3), np.float32)
    found, bumps = prints.side_by_side(face, 3, 4, standing=True)
    assert found.shape == (128, 192, 3) and bumps.shape == (128, 192)
    assert found[0, 0].max() == np.float32(0.2) and found[16, 32].min() == 1
    assert bumps[0, 0] == 0 and bumps[16, 32] == pytest.approx(0.25 / 3, rel=0.01)


def test_copies_keep_less_light_from_one_another_than_from_the_tote():
    product, heap = products.sheet(np.random.default_rng(3)), Heap(120, 200)
    for x in (60.0, 131.0):
        pose = pose_of(0, (x, 60.0), 36.0, 0.0, product.outline)
        assert heap.put([pose], pose)
    light = np.float32([0.48, -0.36, 0.8])  # the second one's shadow falls on the first one
    plain, close = np.ones((120, 200, 3), np.float32), np.ones((120, 200, 3), np.float32)
    tote_scenes.paint_products(plain, heap, [product] * 2, light)
    tote_scenes.paint_copies(close, heap, [product] * 2, light)
    first, second = thing(heap, 0).mask, thing(heap, 1).mask
    assert np.all(close >= plain - 1e-6) and (close - plain)[first].max() > 0.02
    assert np.allclose(close[second], plain[second])
    ground = ~spread(heap.top >= 0, 1)[::FINE, ::FINE]
    assert np.allclose(close[ground], plain[ground])


@pytest.mark.parametrize('side', [159, 2449, 320.0])
def test_a_size_that_makes_no_sense_is_named(side):
    with pytest.raises(DemoError, match=f'longest side of the pictures.* is an integer from 160 to 2448, not {side}'):
        draw_tote_scene(MIX, side, 0)
