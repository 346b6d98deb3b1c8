"""Each fault is made, and named; what is none is not."""

import copy

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.evaluation.coco_ap import ground_truth, score
from damamba.evaluation.known_faults import SABOTAGE, name_faults, why_unseen
from tests import armbench
from tests.evaluation.helpers import truth_as_predictions

IDS = [2, 1]  # Object, Tote


def truth_of(categories=armbench.TWO, images=6):
    return ground_truth(armbench.document(categories, images))


def results(truth):
    entries = truth_as_predictions(truth)
    return {'bbox': entries, 'segm': copy.deepcopy(entries)}


SHIFTED, LABELS, SWAPPED, BOXES, FLAT = SABOTAGE


def spoilt(truth, name, cat_ids=IDS):
    return {kind: SABOTAGE[name][1](entries, cat_ids) for kind, entries in results(truth).items()}


def found(truth, predictions, cat_ids=IDS):
    return [fault.name for fault in name_faults(truth, predictions, cat_ids)]


def test_the_truth_has_no_fault():
    truth = truth_of()
    assert found(truth, results(truth)) == []


@pytest.mark.parametrize('name', SABOTAGE)
def test_each_fault_is_named_alone(name):
    truth = truth_of()
    assert found(truth, spoilt(truth, name)) == [SABOTAGE[name][0]]


@pytest.mark.parametrize('last', [1, 2], ids=['the tote last', 'an object last'])
def test_flattened_masks_are_named_alone_whichever_comes_last(last):
    """An object under a tote that is painted last would lose its whole mask, and nothing is no box."""
    truth = truth_of(images=3)
    entries = sorted(results(truth)['segm'], key=lambda entry: entry['category_id'] == last)
    flat = SABOTAGE[FLAT][1](entries, IDS)
    assert min(coco_mask.area(entry['segmentation']) for entry in flat) > 0
    assert found(truth, {'bbox': results(truth)['bbox'], 'segm': flat}) == ['flattened']
    empty = [{**e, 'segmentation': coco_mask.encode(np.zeros((60, 80), np.uint8, order='F'))} for e in entries]
    assert 'boxes' not in found(truth, {'bbox': results(truth)['bbox'], 'segm': empty})


@pytest.mark.parametrize('name', [LABELS, SWAPPED, BOXES, FLAT])
def test_each_fault_costs_mask_ap(name):
    truth = truth_of()
    evaluation = score(truth, {'segm': spoilt(truth, name)['segm']}, IDS)
    assert evaluation.scores['segm'].values['mAP'] < 0.8


def test_ids_that_are_off_by_one_downwards_are_named_though_the_strange_ones_are_gone():
    truth = truth_of()
    entries = [{**e, 'category_id': e['category_id'] - 1} for e in results(truth)['bbox'] if e['category_id'] == 2]
    assert found(truth, {'bbox': entries}) == ['shifted']  # every object is called a tote, and no tote is left


@pytest.mark.parametrize('numbers', [(1, 2), (10, 20), (20, 10), (7, 3)])
def test_labels_off_by_one_are_named_whatever_the_ids(numbers):
    truth = truth_of(tuple(zip(('Tote', 'Object'), numbers, strict=True)))
    objects_first = [numbers[1], numbers[0]]
    assert found(truth, spoilt(truth, LABELS, objects_first), objects_first) == ['shifted']
    assert found(truth, spoilt(truth, LABELS, list(numbers)), list(numbers)) == ['shifted']


@pytest.mark.parametrize('step', [1, 2])
def test_labels_of_three_classes_that_are_turned_are_named(step):
    content = armbench.document(images=9)
    content['categories'] = [dict(id=number, name=f'c{number}') for number in (5, 10, 20)]
    for number, annotation in enumerate(content['annotations']):
        annotation['category_id'] = (5, 10, 20)[number % 3]
    truth, ids = ground_truth(content), [20, 5, 10]
    turned = [{**e, 'category_id': ids[(ids.index(e['category_id']) + step) % 3]} for e in results(truth)['bbox']]
    assert found(truth, {'bbox': turned}, ids) == ['shifted']


def test_two_faults_are_both_named():
    truth = truth_of()
    both = {kind: SABOTAGE[SWAPPED][1](entries, IDS) for kind, entries in spoilt(truth, BOXES).items()}
    assert found(truth, both) == ['swapped', 'boxes']


def test_one_class_that_is_off_by_one():
    truth = truth_of(armbench.ONE)
    assert found(truth, spoilt(truth, SHIFTED, [1]), [1]) == ['shifted']


def test_classes_of_a_weak_model_are_no_fault():
    truth = truth_of(images=40)
    rng = np.random.default_rng(0)
    entries = [{**e, 'category_id': int(rng.choice([1, 2])), 'score': rng.random()} for e in results(truth)['bbox']]
    assert found(truth, {'bbox': entries}) == []


def doubled(truth, score_of_true, score_of_other):
    """Two detections on every tote: one of its class, and one of the other class."""
    totes = [e for e in results(truth)['bbox'] if e['category_id'] == 1]
    other = [{**e, 'category_id': 2, 'score': score_of_other} for e in totes]
    return {'bbox': [*({**e, 'score': score_of_true} for e in totes), *other]}


def test_a_model_that_guesses_between_classes_at_one_place_has_no_fault():
    truth = truth_of(images=40)
    assert found(truth, doubled(truth, 0.08, 0.1)) == []


def test_a_model_that_is_sure_of_the_wrong_class_has_one_though_it_considers_the_right_one():
    truth = truth_of(images=40)
    assert found(truth, doubled(truth, 0.08, 0.9)) == ['shifted']


def test_masks_of_a_model_that_finds_objects_alone_are_not_flattened():
    truth = truth_of(images=40)
    apart = [e for number, e in enumerate(results(truth)['segm']) if number % 4 in (1, 3)]  # two that do not overlap
    assert found(truth, {'segm': apart}) == []


def test_masks_that_fill_their_boxes_are_no_fault_of_a_detector_that_finds_nothing():
    truth = truth_of(images=40)
    rng = np.random.default_rng(0)
    entries = []
    for entry in spoilt(truth, BOXES)['segm']:
        x, y = rng.integers(0, 40, 2).tolist()
        corners = [[x, y, x + 9, y, x + 9, y + 9, x, y + 9]]
        rle = coco_mask.frPyObjects(corners, *armbench.SHAPE)[0]
        entries.append({**entry, 'bbox': [x, y, 9, 9], 'segmentation': rle})
    assert found(truth, {'bbox': entries, 'segm': entries}) == []


def test_objects_that_are_boxes_have_masks_that_are_boxes():
    content = armbench.document(images=6)
    for annotation in content['annotations']:
        x, y, w, h = np.round(annotation['bbox'])
        annotation['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    truth = ground_truth(content)
    assert found(truth, results(truth)) == []
    assert why_unseen(BOXES, truth, IDS, True) == 'the objects are boxes themselves'


def test_of_crowds_and_of_next_to_nothing_nothing_is_said():
    content = armbench.document(images=1)
    truth = ground_truth(content)
    assert found(truth, spoilt(truth, SHIFTED)) == []
    assert why_unseen(SHIFTED, truth, IDS, True) == 'there are 4 objects'
    content = armbench.document(images=6)
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1
    assert why_unseen(SHIFTED, ground_truth(content), IDS, True) == 'there are 0 objects'
    assert name_faults(truth_of(), {'bbox': [], 'segm': []}, IDS) == []


def test_what_can_not_show_is_said():
    truth = truth_of(armbench.ONE)
    assert why_unseen(SWAPPED, truth, [1], True) == 'there is one class'
    assert why_unseen(BOXES, truth, [1], False) == 'masks are not measured'
    assert why_unseen(SHIFTED, truth, [1], False) is None
    only = armbench.document(images=6)
    only['annotations'] = [a for a in only['annotations'] if a['category_id'] == 2]
    assert why_unseen(SWAPPED, ground_truth(only), IDS, True) == 'there are no objects of both classes'
    apart = armbench.document(armbench.ONE, images=6)
    apart['annotations'] = [a for number, a in enumerate(apart['annotations']) if number % 3 != 1]
    assert why_unseen(FLAT, ground_truth(apart), [1], True) == 'objects hardly overlap'
