"""Drawn totes: what is in them, masks against what is painted and against pycocotools, how the subsets differ."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.datasets import packing, products
from damamba.datasets.annotations import annotate
from damamba.datasets.grounds import FINE
from damamba.datasets.lighting import lay
from damamba.datasets.placing import Heap, pose_of
from damamba.datasets.scenes import DemoError, thing
from damamba.datasets.tote_scenes import MAX_OBJECTS, VIEWS, draw_tote_scene, pick_count
from damamba.datasets.totes import pick_tote

SIDE = 160
MIX, ZOOMED, SAME = VIEWS
WITH_HOLE = ('blister', 'roll')


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
    chosen = packing.choose(pick_count(view, rng), view.mixed, rng)
    return packing.pack(chosen, tote, height, width, 0, rng)


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


@pytest.mark.parametrize('kind', products.KINDS, ids=lambda kind: kind.__name__)
def test_what_is_painted_of_a_product_is_what_the_mask_says(kind, monkeypatch):
    monkeypatch.setattr('damamba.datasets.lighting.SHADOW', 0.0)
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
    for kind in products.KINDS:
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
    heap, _ = packing.pack(packing.choose(MAX_OBJECTS, True, rng), tote, *view.size(SIDE), 0, rng)
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


@pytest.mark.parametrize('side', [159, 2449, 320.0])
def test_a_size_that_makes_no_sense_is_named(side):
    with pytest.raises(DemoError, match=f'longest side of the pictures.* is an integer from 160 to 2448, not {side}'):
        draw_tote_scene(MIX, side, 0)
