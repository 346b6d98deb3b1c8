"""Confusion: who is taken for whom, by hand."""

import copy

import pytest

from damamba.evaluation.analysis.confusion import Confusion, confuse
from damamba.evaluation.analysis.overlaps import read_pictures
from damamba.evaluation.coco_ap import ground_truth
from tests.evaluation.cases import CUP, KEY, NAMES, guess, pictures, scene, thing
from tests.evaluation.helpers import guesses, made_up, truth_as_predictions

BOX, ELSEWHERE = (0, 0, 20, 20), (60, 60, 20, 20)


def counts(truth, found, least=0.3, kind='segm'):
    """Rows cup, key and background; the same columns."""
    return confuse(pictures(truth, found, kind), NAMES, least).counts


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_each_object_is_counted_under_what_it_was_taken_for(kind):
    truth = scene(thing(CUP, BOX), thing(CUP, ELSEWHERE), thing(KEY, (0, 60, 20, 20)))
    found = [guess(CUP, BOX), guess(KEY, ELSEWHERE), guess(KEY, (40, 0, 10, 10))]
    assert counts(truth, found, kind=kind) == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_an_object_goes_to_the_surest_and_the_rest_to_the_background():
    found = [guess(CUP, BOX, 0.5), guess(KEY, BOX, 0.9)]
    assert counts(scene(thing(CUP, BOX)), found) == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_a_detection_takes_what_it_overlaps_most_and_of_equals_its_own_class():
    assert counts(scene(thing(CUP, (0, 0, 20, 18)), thing(KEY, BOX)), [guess(CUP, BOX)])[1][0] == 1
    twins = scene(thing(CUP, BOX), thing(KEY, BOX))
    assert counts(twins, [guess(KEY, BOX, 0.9), guess(CUP, BOX, 0.8)]) == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_an_overlap_of_a_half_is_enough_and_less_is_not():
    truth = scene(thing(CUP, BOX))
    assert counts(truth, [guess(CUP, (0, 0, 20, 10))])[0] == [1, 0, 0]
    assert counts(truth, [guess(CUP, (0, 0, 20, 9))]) == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_the_least_score_is_an_argument_and_counts_itself():
    truth, found = scene(thing(CUP, BOX)), [guess(CUP, BOX, 0.3)]
    assert counts(truth, found)[0] == [1, 0, 0]
    assert counts(truth, found, least=0.31)[0] == [0, 0, 1]


def test_crowds_are_no_objects_and_what_lies_in_them_does_not_count():
    truth = scene(thing(CUP, (50, 50, 40, 40), crowd=True), thing(KEY, BOX))
    found = [guess(CUP, (60, 60, 10, 10)), guess(KEY, (70, 70, 10, 10)), guess(CUP, (40, 50, 19, 10))]
    assert counts(truth, found) == [[0, 0, 0], [0, 0, 1], [1, 0, 0]]  # the last lies in the crowd by less than half


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_the_ground_truth_is_taken_for_itself(kind):
    truth = ground_truth(made_up())
    found = confuse(read_pictures(truth, truth_as_predictions(truth), kind, [9, 2, 5]), ['a', 'b', 'c'], 0.3)
    solid = [a['category_id'] for a in truth.dataset['annotations'] if not a['iscrowd']]
    expected = [[solid.count(c) if r == k else 0 for k in range(4)] for r, c in enumerate((9, 2, 5))]
    assert found.counts == [*expected, [0] * 4]


def test_rows_are_objects_and_columns_detections():
    dataset = made_up(seed=3)
    truth, found = ground_truth(copy.deepcopy(dataset)), guesses(dataset, 3)
    matrix = confuse(read_pictures(truth, found, 'segm', [2, 5, 9]), ['a', 'b', 'c'], 0.0).counts
    for row, category in zip(matrix, (2, 5, 9), strict=False):
        assert sum(row) == sum(a['category_id'] == category and not a['iscrowd'] for a in truth.anns.values())
    for k, category in enumerate((2, 5, 9)):
        assert sum(row[k] for row in matrix) <= sum(p['category_id'] == category for p in found)


def test_nothing_at_all_is_no_confusion():
    assert counts(scene(), []) == [[0, 0, 0]] * 3
    assert counts(scene(thing(KEY, BOX)), []) == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_the_table_is_the_matrix():
    text = Confusion(['cup', 'background', 'background'], [[1234, 0, 5], [1, 2, 3], [6, 7, 0]]).table('box')
    assert text.splitlines()[0] == 'Box confusion matrix'
    rows = [line.split() for line in text.splitlines() if line.startswith((' cup', ' background'))]
    assert rows == [['cup', '1,234', '0', '5'], ['background', '1', '2', '3'], ['background', '6', '7', '0']]


def test_of_many_classes_the_table_lists_the_most_frequent_confusions():
    names = [f'class {n}' for n in range(20)]
    counts = [[100 if r == c else 0 for c in range(21)] for r in range(21)]
    counts[3][7], counts[4][20] = 8, 9
    lines = Confusion([*names, 'background'], counts).table('mask').splitlines()
    found = [line.rsplit(maxsplit=1) for line in lines if line.strip().startswith('class')]
    assert [(' '.join(name.split()), n) for name, n in found] == [('class 4 background', '9'), ('class 3 class 7', '8')]
