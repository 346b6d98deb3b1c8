"""Overlaps by hand and against pycocotools; who finds whom, against COCO's rules."""

import copy

import numpy as np
import pytest
from pycocotools import mask as rle

from damamba.evaluation.analysis.overlaps import FREE, match, overlap, read_pictures
from damamba.evaluation.coco_ap import ground_truth
from tests.evaluation.cases import CUP, KEY, guess, pictures, scene, thing
from tests.evaluation.helpers import guesses, judged, made_up

KINDS = ('bbox', 'segm')


@pytest.mark.parametrize('kind', KINDS)
def test_overlaps_of_all_classes_are_those_by_hand(kind):
    truth = scene(thing(CUP, (0, 0, 20, 20)), thing(KEY, (0, 0, 20, 10)), thing(CUP, (50, 50, 40, 40), crowd=True))
    found = [guess(KEY, (0, 0, 10, 20), 0.5), guess(CUP, (50, 50, 10, 10), 0.8), guess(CUP, (40, 50, 20, 10), 0.7)]
    (picture,) = pictures(truth, found, kind)
    assert picture.scores.tolist() == [0.8, 0.7, 0.5] and picture.labels.tolist() == [0, 0, 1]
    assert picture.object_labels.tolist() == [0, 1, 0] and picture.crowds.tolist() == [False, False, True]
    # Of a crowd it is the part of the detection that lies in it.
    assert picture.overlaps.tolist() == [[0, 0, 1], [0, 0, 0.5], [0.5, pytest.approx(1 / 3), 0]]
    assert picture.same_class.tolist() == [[True, False, True], [True, False, True], [False, True, False]]


def test_overlaps_of_masks_are_pycocotools_own():
    dataset = made_up()
    truth, found = ground_truth(copy.deepcopy(dataset)), guesses(dataset)
    for image_id, picture in zip(sorted(truth.imgs), read_pictures(truth, found, 'segm', [2, 5, 9]), strict=True):
        masks = sorted((p for p in found if p['image_id'] == image_id), key=lambda p: -p['score'])
        objects = [a for a in truth.dataset['annotations'] if a['image_id'] == image_id]
        assert picture.overlaps.shape == (len(masks), len(objects))
        if objects and masks:
            shapes = [truth.annToRLE(a) for a in objects]
            expected = rle.iou([p['segmentation'] for p in masks], shapes, [a['iscrowd'] for a in objects])
            np.testing.assert_allclose(picture.overlaps, expected, rtol=0, atol=1e-12)


def test_only_the_surest_of_each_class_and_picture_count():
    found = [guess(c, (n, 0, 5, 5), n / 10, image) for image in (1, 2) for c in (CUP, KEY) for n in range(5)]
    first, second = pictures(scene(images=2), found, most=2)
    for picture in (first, second):
        assert picture.scores.tolist() == [0.4, 0.4, 0.3, 0.3]
        assert sorted(picture.labels.tolist()) == [0, 0, 1, 1]
    assert first.above(0.35).scores.tolist() == [0.4, 0.4] and first.above(0.35).overlaps.shape == (2, 0)
    assert first.above(0.3).scores.tolist() == first.scores.tolist() and not len(first.above(0.5).shapes)


def test_of_equal_scores_the_first_counts():
    found = [guess(CUP, (x, 0, 5, 5), 0.5) for x in (30, 10, 20)]
    (picture,) = pictures(scene(), found, 'bbox', most=2)
    assert [shape[0] for shape in picture.shapes] == [30, 10]


def test_classes_that_do_not_count_are_left_out_on_both_sides():
    truth = scene(thing(CUP, (0, 0, 20, 20)), thing(KEY, (0, 0, 20, 20)))
    (picture,) = read_pictures(truth, [guess(CUP, (0, 0, 20, 20)), guess(KEY, (0, 0, 20, 20))], 'bbox', [KEY])
    assert picture.overlaps.tolist() == [[1.0]] and picture.labels.tolist() == [0]


def test_nothing_overlaps_nothing():
    empty, full = pictures(scene(thing(CUP, (0, 0, 9, 9), image=2), images=2), [guess(CUP, (0, 0, 9, 9))])
    assert empty.overlaps.shape == (1, 0) and full.overlaps.shape == (0, 1)
    assert match(empty, 0.5).tolist() == [FREE] and match(full, 0.5).tolist() == []
    assert overlap([], []).shape == (0, 0)


def test_the_surest_chooses_first_and_takes_what_it_overlaps_most():
    truth = scene(thing(CUP, (0, 0, 20, 20)), thing(CUP, (0, 0, 20, 24)))
    found = [guess(CUP, (0, 0, 20, 20), 0.5), guess(CUP, (0, 0, 20, 20), 0.9), guess(CUP, (0, 0, 20, 20), 0.3)]
    (picture,) = pictures(truth, found)
    assert match(picture, 0.5).tolist() == [0, 1, FREE]  # 0.9, 0.5, 0.3
    assert match(picture, 0.9).tolist() == [0, FREE, FREE]


def test_another_class_is_not_found():
    (picture,) = pictures(scene(thing(CUP, (0, 0, 20, 20))), [guess(KEY, (0, 0, 20, 20))])
    assert match(picture, 0.5).tolist() == [FREE]


def test_a_crowd_takes_any_number_but_only_what_finds_no_object():
    truth = scene(thing(CUP, (0, 0, 60, 60), crowd=True), thing(CUP, (0, 0, 20, 20)))
    found = [guess(CUP, (0, 0, 20, 16), 0.9), *(guess(CUP, (30, 30, 9, 9), s) for s in (0.8, 0.7))]
    (picture,) = pictures(truth, found)
    assert match(picture, 0.5).tolist() == [1, 0, 0]  # the first lies wholly in the crowd too


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('seed', range(3))
def test_what_is_found_is_what_pycocotools_finds(kind, seed):
    dataset = made_up(seed=seed)
    truth, found = ground_truth(copy.deepcopy(dataset)), guesses(dataset, seed)
    results = judged(dataset, found, kind).evalImgs
    for picture, image_id in zip(read_pictures(truth, found, kind, [2, 5, 9]), sorted(truth.imgs), strict=True):
        matched = match(picture, 0.5)
        ids = [a['id'] for a in truth.imgToAnns[image_id]]
        for label, category in enumerate([2, 5, 9]):
            (result,) = [
                r for r in results if r and r['image_id'] == image_id and r['category_id'] == category
                and r['aRng'] == [0, 1e10]
            ] or [None]  # fmt: skip
            ours = [ids[g] if g != FREE else 0 for g in matched[picture.labels == label]]
            assert ours == ([] if result is None else result['dtMatches'][0].astype(int).tolist())
