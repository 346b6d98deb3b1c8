"""What errors cost: each kind by hand, and the AP50 that they are taken from against COCO's."""

import copy
import json

import numpy as np
import pytest

from damamba.evaluation.analysis.errors import KINDS, MISTAKES, average_precision, break_down
from damamba.evaluation.analysis.overlaps import read_pictures
from damamba.evaluation.coco_ap import ground_truth, score
from tests.detection import ROOT
from tests.evaluation.cases import CUP, KEY, NAMES, guess, pictures, scene, thing
from tests.evaluation.helpers import guesses, made_up, truth_as_predictions

BOX, ELSEWHERE = (0, 0, 20, 20), (60, 60, 20, 20)
THIRD = (10, 0, 20, 20)  # overlaps BOX by 1/3
CUP_HERE, KEY_THERE = thing(CUP, BOX), thing(KEY, ELSEWHERE)


def errors(truth, found, kind='segm'):
    return break_down(pictures(truth, found, kind), NAMES)


def assert_costs(values, ap, **costs):
    """AP50 and these costs; all others are zero."""
    expected = {'AP50': ap, **dict.fromkeys(KINDS, 0.0)} | {k.replace('_', ' '): cost for k, cost in costs.items()}
    assert values == pytest.approx(expected, abs=1e-12)


def assert_counts(counts, **numbers):
    assert counts == {**dict.fromkeys(KINDS, 0), **{k.replace('_', ' '): n for k, n in numbers.items()}}


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_what_is_right_costs_nothing(kind):
    found = errors(scene(CUP_HERE, KEY_THERE), [guess(CUP, BOX), guess(KEY, ELSEWHERE)], kind)
    for values in (found.values, *found.classes.values()):
        assert_costs(values, 1.0)
    assert_counts(found.counts)


def test_a_wrong_place_is_put_right():
    found = errors(scene(CUP_HERE), [guess(CUP, THIRD)])
    assert_costs(found.classes['cup'], 0.0, localisation=1.0, false_negatives=1.0)
    assert_counts(found.counts, localisation=1, false_positives=1, false_negatives=1)  # meant, so not missed


def test_a_wrong_class_costs_both_classes():
    """The key on the cup is surer than that on the key: keys have a precision of 1/2, and cups are not found."""
    found = errors(scene(CUP_HERE, KEY_THERE), [guess(KEY, BOX, 0.9), guess(KEY, ELSEWHERE, 0.8)])
    assert_costs(found.classes['key'], 0.5, classification=0.5, false_positives=0.5)
    assert_costs(found.classes['cup'], 0.0, classification=1.0, false_negatives=1.0)
    assert_costs(found.values, 0.25, classification=0.75, false_positives=0.25, false_negatives=0.5)
    assert_counts(found.class_counts['key'], classification=1, false_positives=1)
    assert_counts(found.class_counts['cup'], false_negatives=1)


def test_a_wrong_class_on_a_found_object_is_taken_away():
    truth = scene(CUP_HERE, KEY_THERE)
    found = errors(truth, [guess(KEY, BOX, 0.9), guess(KEY, ELSEWHERE, 0.8), guess(CUP, BOX, 0.3)])
    assert_costs(found.classes['key'], 0.5, classification=0.5, false_positives=0.5)
    assert_costs(found.classes['cup'], 1.0)


@pytest.mark.parametrize(
    ('box', 'kind'), [(THIRD, 'both'), ((30, 30, 20, 20), 'background'), ((18, 0, 20, 20), 'background')]
)
def test_what_can_not_be_put_right_is_taken_away(box, kind):
    """A key near the cup by 0.1 or more is wrong in both; nearer than that to nothing it is on the background."""
    found = errors(scene(CUP_HERE, KEY_THERE), [guess(KEY, box, 0.9), guess(KEY, ELSEWHERE, 0.8), guess(CUP, BOX)])
    assert_costs(found.classes['key'], 0.5, **{kind: 0.5, 'false_positives': 0.5})
    assert_costs(found.classes['cup'], 1.0)
    assert_counts(found.counts, **{kind: 1, 'false_positives': 1})


def test_a_duplicate_is_taken_away():
    """Two cups; the first is found twice before the second: precision 1 up to a recall of 1/2, 2/3 from there on."""
    truth = scene(CUP_HERE, thing(CUP, ELSEWHERE))
    found = errors(truth, [guess(CUP, BOX, 0.9), guess(CUP, BOX, 0.8), guess(CUP, ELSEWHERE, 0.7)])
    ap = (51 + 50 * 2 / 3) / 101
    assert_costs(found.classes['cup'], ap, duplicate=1 - ap, false_positives=1 - ap)
    assert_counts(found.counts, duplicate=1, false_positives=1)


def test_a_missed_object_is_no_longer_expected():
    found = errors(scene(CUP_HERE, thing(CUP, ELSEWHERE)), [guess(CUP, BOX)])
    assert_costs(found.classes['cup'], 51 / 101, missed=50 / 101, false_negatives=50 / 101)
    assert_counts(found.counts, missed=1, false_negatives=1)


def test_an_object_that_two_mean_is_found_by_the_surer_and_the_other_is_taken_away():
    """Mended, both cups are found: at a recall of 1/2 by the wrong place, then, behind it, by the right one."""
    truth = scene(CUP_HERE, thing(CUP, ELSEWHERE))
    found = errors(truth, [guess(CUP, THIRD, 0.9), guess(CUP, THIRD, 0.8), guess(CUP, ELSEWHERE, 0.7)])
    ap = 51 / 3 / 101
    assert_costs(
        found.classes['cup'], ap, localisation=1 - ap, false_positives=51 / 101 - ap, false_negatives=1 / 3 - ap
    )
    assert_counts(found.counts, localisation=2, false_positives=2, false_negatives=1)


def test_a_wrong_place_at_a_found_object_is_taken_away():
    found = errors(scene(CUP_HERE), [guess(CUP, THIRD, 0.9), guess(CUP, BOX, 0.8)])
    assert_costs(found.classes['cup'], 0.5, localisation=0.5, false_positives=0.5)


def test_a_place_is_named_before_a_class_and_a_class_before_a_duplicate():
    """A third of its own class, and the whole of another; then two classes in one place."""
    truth = scene(CUP_HERE, thing(KEY, THIRD))
    assert_counts(
        errors(truth, [guess(CUP, THIRD)]).class_counts['cup'], localisation=1, false_positives=1, false_negatives=1
    )
    truth = scene(CUP_HERE, thing(KEY, BOX))
    counts = errors(truth, [guess(CUP, BOX, 0.9), guess(CUP, BOX, 0.8)]).class_counts['cup']
    assert_counts(counts, classification=1, false_positives=1)


def test_what_lies_in_a_crowd_does_not_count_and_neither_does_the_crowd():
    truth = scene(CUP_HERE, thing(CUP, (50, 50, 40, 40), crowd=True))
    found = errors(truth, [guess(CUP, (50, 50, 10, 10), 0.9), guess(CUP, (70, 50, 10, 10), 0.8), guess(CUP, BOX, 0.7)])
    assert_costs(found.classes['cup'], 1.0)
    assert_counts(found.counts)


def test_no_detections_miss_everything():
    found = errors(scene(CUP_HERE, KEY_THERE), [])
    assert_costs(found.values, 0.0, missed=1.0, false_negatives=1.0)
    assert_counts(found.counts, missed=2, false_negatives=2)


def test_a_class_without_objects_is_undefined_and_its_detections_are_counted():
    found = errors(scene(CUP_HERE), [guess(CUP, BOX), guess(KEY, ELSEWHERE), guess(KEY, BOX)])
    assert set(found.classes['key'].values()) == {-1.0}
    assert_counts(found.class_counts['key'], background=1, classification=1, false_positives=2)
    assert_costs(found.values, 1.0)
    assert set(errors(scene(), [guess(KEY, BOX)]).values.values()) == {-1.0}


def test_pictures_without_anything_change_nothing():
    objects = [thing(CUP, BOX, image=2), thing(KEY, ELSEWHERE, image=2)]
    found = [guess(CUP, THIRD, image=2), guess(KEY, ELSEWHERE, image=2)]
    assert errors(scene(*objects, images=3), found) == errors(scene(*objects, images=2), found)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('many', [0, 150])
@pytest.mark.parametrize('seed', range(3))
def test_the_ap50_that_costs_are_taken_from_is_coco_s(kind, many, seed):
    dataset = made_up(seed=seed)
    truth, found = ground_truth(copy.deepcopy(dataset)), guesses(dataset, seed, many)
    assert_consistent(truth, found, kind)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_the_ap50_of_real_annotations_with_crowds_is_coco_s(kind):
    dataset = json.loads((ROOT / 'tests/data/coco_annotations.json').read_text())
    assert_consistent(ground_truth(copy.deepcopy(dataset)), guesses(dataset), kind)


def assert_consistent(truth, found, kind):
    """AP50 is COCO's, overall and by class; nothing is mended for the worse; and every detection has one fault."""
    cat_ids = truth.getCatIds()
    names = [truth.cats[cat_id]['name'] for cat_id in cat_ids]
    ours = break_down(read_pictures(truth, found, kind, cat_ids), names)
    scores = score(truth, {kind: found}, cat_ids).scores[kind]
    assert ours.values['AP50'] == pytest.approx(scores.values['mAP_50'], abs=1e-9)
    assert list(ours.classes) == list(scores.classes)
    for name, values in ours.classes.items():
        assert values['AP50'] == pytest.approx(scores.classes[name]['mAP_50'], abs=1e-9)
        if values['AP50'] >= 0:
            assert all(-1e-9 <= values[error] <= 1 - values['AP50'] + 1e-9 for error in KINDS)
    for counts in (ours.counts, *ours.class_counts.values()):
        assert sum(counts[name] for name in MISTAKES) == counts['false positives']
        assert counts['missed'] <= counts['false negatives']
    assert ours.counts == {k: sum(counts[k] for counts in ours.class_counts.values()) for k in KINDS}


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_the_ground_truth_has_no_errors(kind):
    truth = ground_truth(made_up())
    found = break_down(read_pictures(truth, truth_as_predictions(truth), kind, [9, 2, 5]), ['red box', 'cup', 'key'])
    for values in (found.values, *found.classes.values()):
        assert_costs(values, 1.0)
    assert_counts(found.counts)


def test_average_precision_is_the_best_at_each_recall_or_above():
    """Right, wrong, right, of four: precision 1 to a recall of 1/4, 2/3 to 1/2, and nothing beyond."""
    scores, hits = np.array([0.7, 0.9, 0.8]), np.array([True, True, False])
    assert average_precision(scores, hits, 4) == pytest.approx((26 + 25 * 2 / 3) / 101)
    assert average_precision(np.zeros(0), np.zeros(0, dtype=bool), 4) == 0.0


def test_the_table_has_a_line_for_each_class_the_mean_and_the_numbers():
    found = errors(scene(CUP_HERE, KEY_THERE), [guess(KEY, BOX, 0.9), guess(KEY, ELSEWHERE, 0.8)])
    lines = [line.split() for line in found.table('mask').splitlines()]
    assert lines[0] == ['Mask', 'AP50', 'lost', 'to', 'errors']
    table = {line[0]: line[1:] for line in lines if line}
    assert table['cup'] == ['0.000', '1.000', *['0.000'] * 6, '1.000']
    assert table['mean'][:2] == ['0.250', '0.750'] and table['number'] == ['1', *'0000011']


def test_a_class_without_objects_has_no_figures_in_the_table():
    lines = errors(scene(CUP_HERE), [guess(CUP, BOX)]).table('box').splitlines()
    assert next(line for line in lines if line.startswith(' key')).split() == ['key', *'-' * 9]
