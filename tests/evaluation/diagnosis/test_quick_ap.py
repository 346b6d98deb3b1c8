"""The quick mAP is pycocotools', on what is awkward."""

import copy

import numpy as np
import pytest

from damamba.evaluation.diagnosis.columns import read_results, read_truth
from damamba.evaluation.diagnosis.mends import State
from tests.evaluation.helpers import guesses, judged, made_up

KINDS = ('bbox', 'segm')


def quick(truth, predictions, kind, **options):
    columns = read_truth(truth)
    return State(read_results(predictions, columns), columns, kind, **options).mean_ap()


def assert_parity(truth, predictions, least=0.02):
    for kind in KINDS:
        judge = judged(truth, predictions, kind)
        assert judge.stats[0] >= least
        assert quick(truth, predictions, kind) == pytest.approx(judge.stats[0], abs=1e-9)


@pytest.mark.parametrize('seed', range(3))
def test_with_crowds_and_pictures_without_detections(seed):
    truth = made_up(seed=seed)
    predictions = [it for it in guesses(truth, seed) if it['image_id'] % 4]
    assert any(a['iscrowd'] for a in truth['annotations'])
    assert {a['image_id'] for a in truth['annotations']} > {it['image_id'] for it in predictions}
    assert_parity(truth, predictions)
    np.random.default_rng(seed).shuffle(truth['images'])
    assert_parity(truth, predictions)


def test_with_scores_of_three_values_alone_and_with_equal_ones():
    truth, rng = made_up(seed=3), np.random.default_rng(3)
    for values in ([0.2, 0.5, 0.9], [1]):
        predictions = [{**it, 'score': float(rng.choice(values))} for it in guesses(truth, 3)]
        assert_parity(truth, [predictions[i] for i in rng.permutation(len(predictions))])


def test_with_more_than_100_detections_of_a_class_in_a_picture():
    truth = made_up(images=4, seed=5)
    predictions = guesses(truth, 5, many=300)
    first = [a for a in truth['annotations'] if a['image_id'] == 11 and a['category_id'] == 2 and not a['iscrowd']]
    assert first
    late = {**predictions[0], 'image_id': 11, 'category_id': 2, 'score': 0.001}
    predictions += [{**late, 'bbox': a['bbox']} for a in first]
    counts = np.unique([(it['image_id'], it['category_id']) for it in predictions], axis=0, return_counts=True)[1]
    assert counts.max() > 300
    assert_parity(truth, predictions)
    assert len({quick(truth, predictions, 'bbox', most=most) for most in (1, 100, 1000)}) == 3


def test_with_copies_of_objects_and_of_detections_of_which_any_could_be_the_match():
    truth = made_up(seed=6)
    truth['annotations'] += [{**a, 'id': a['id'] + 1000} for a in truth['annotations'] if not a['iscrowd']]
    predictions = guesses(truth, 6)
    assert_parity(truth, predictions + copy.deepcopy(predictions[::2]))


def test_with_classes_without_objects_and_with_crowds_alone():
    truth = made_up(seed=7)
    truth['annotations'] = [a | {'iscrowd': 1} if a['category_id'] == 5 else a for a in truth['annotations']]
    truth['categories'] = [{'id': 1, 'name': 'none'}, *truth['categories'], {'id': 11, 'name': 'nor this'}]
    predictions = guesses(truth, 7)
    predictions += [{**it, 'category_id': 11} for it in predictions[::3]]
    assert_parity(truth, predictions)


def test_some_pictures_alone_score_as_if_there_were_no_others():
    truth = made_up(seed=8)
    predictions, kept = guesses(truth, 8), {11, 14, 15, 20}
    keys = ('images', 'id'), ('annotations', 'image_id')
    part = {key: [it for it in truth[key] if it[own] in kept] for key, own in keys}
    chosen = np.array([image['id'] in kept for image in truth['images']])
    for kind in KINDS:
        wanted = judged({**truth, **part}, [it for it in predictions if it['image_id'] in kept], kind).stats[0]
        assert 0.02 < wanted != judged(truth, predictions, kind).stats[0]
        assert quick(truth, predictions, kind, pictures=chosen) == pytest.approx(wanted, abs=1e-9)


def test_with_nothing_to_find():
    truth = {**made_up(images=3), 'annotations': []}
    assert quick(truth, guesses(made_up(images=3)), 'bbox') == 0
