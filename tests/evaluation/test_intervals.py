"""Draws of pictures against pycocotools on pictures that really are repeated, and against distributions by hand."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from damamba.evaluation.coco_ap import AREAS, IOU_THRS, ground_truth, score
from damamba.evaluation.intervals import (
    DRAWS,
    Matches,
    average_precision,
    draw_pictures,
    interval,
    resample,
    student_quantile,
)
from tests.evaluation.cases import guess, scene, thing
from tests.evaluation.helpers import guesses, judged, made_up

KINDS = ('bbox', 'segm')
FIGURES = {'mAP': (0, [0])}
NAMES = [f'mAP{end}' for end in ('', '_50', '_75', '_s', '_m', '_l')]


def told_apart(predictions):
    """Without equal scores: of several copies of a picture, pycocotools mixes those."""
    return [{**it, 'score': it['score'] + 1e-6 * place} for place, it in enumerate(predictions)]


def repeated(truth, predictions, counts):
    """A data set in which each picture is there so often, each time under a new id; and the predictions for it."""
    images, annotations, entries = [], [], []
    for image, count in zip(sorted(truth['images'], key=lambda it: it['id']), counts.tolist(), strict=True):
        for copied in range(count):
            new = {'image_id': 100 * image['id'] + copied}
            images.append({**image, 'id': new['image_id']})
            annotations += [{**it, **new} for it in truth['annotations'] if it['image_id'] == image['id']]
            entries += [{**it, **new} for it in predictions if it['image_id'] == image['id']]
    annotations = [{**it, 'id': number} for number, it in enumerate(annotations, 1)]
    return {**truth, 'images': images, 'annotations': annotations}, entries


@pytest.mark.parametrize('kind', KINDS)
def test_draws_are_what_pycocotools_makes_of_pictures_that_are_repeated(kind):
    truth = made_up(images=9, seed=3)
    truth['images'].reverse()  # draws go by ids
    predictions = told_apart(guesses(truth, 3, many=110))
    evaluation = score(ground_truth(copy.deepcopy(truth)), {kind: predictions}, [9, 2, 5], draws=4)
    counts, draws = draw_pictures(9, 4), evaluation.draws[kind]
    assert draws.shape == (4, 4) and counts.max() > 1 and not counts.all()
    for row, count in zip(draws, counts, strict=True):
        judge = judged(*repeated(truth, predictions, count), kind)
        precision = judge.eval['precision'][:, :, [2, 0, 1], 0, -1]  # K goes by ids: 2, 5, 9
        wanted = [judge.stats[0], *precision.mean(axis=(0, 1))]
        np.testing.assert_allclose(row, np.where(np.array(wanted) < 0, np.nan, wanted), rtol=0, atol=1e-7)


def test_every_picture_once_is_the_evaluation_itself(monkeypatch):
    monkeypatch.setattr('damamba.evaluation.coco_ap.draw_pictures', lambda images, draws: np.ones((2, images), 'uint8'))
    truth = made_up()
    evaluation = score(ground_truth(truth), dict.fromkeys(KINDS, guesses(truth, many=120)))
    for scores in evaluation.scores.values():
        rows = {'all': (scores.intervals, scores.values)}
        rows |= {name: (it, scores.classes[name]) for name, it in scores.class_intervals.items()}
        for intervals, values in rows.values():
            assert set(NAMES[:3]) <= intervals.keys() <= {name for name in NAMES if values[name] >= 0}
            for name, ends in intervals.items():
                assert ends == pytest.approx([values[name]] * 2, abs=1e-12)
    assert rows.keys() == {'all', 'cup', 'key', 'red box'} and scores.intervals.keys() == set(NAMES)


@pytest.mark.parametrize('kind', KINDS)
def test_each_area_and_overlap_is_drawn_as_pycocotools_has_it(kind):
    """One draw, so that its interval is what it has."""
    truth = made_up(images=12, seed=5)
    predictions = told_apart(guesses(truth, 5))
    scores = score(ground_truth(copy.deepcopy(truth)), {kind: predictions}, draws=1).scores[kind]
    stats = judged(*repeated(truth, predictions, draw_pictures(12, 1)[0]), kind).stats
    drawn = {name: value for name, value in zip(NAMES, stats, strict=False) if value >= 0}
    assert len(drawn) > 4 and scores.intervals == {k: pytest.approx([v, v], abs=1e-12) for k, v in drawn.items()}


def test_pictures_all_right_or_all_wrong_have_the_interval_of_a_binomial_distribution():
    """By hand: of 128 pictures with an object each, 64 are found, so a draw finds Binomial(128, 0.5) of 128.

    Student's 1.979 times the root of 128/127 leaves 2.35 % on each side; P(52 or fewer) is 2.08 %, P(53 or fewer)
    3.15 %. Precision is 1 at the recalls 0, 0.01, ... 0.41 = 53/128 and so on.
    """
    truth = scene(*(thing(2, [10, 10, 50, 50], image) for image in range(1, 129)), images=128)
    found = [guess(2, [10, 10, 50, 50], image=image) for image in range(1, 65)]
    evaluation = score(truth, {'bbox': found}, [2], draws=10_000)
    right = draw_pictures(128, 10_000)[:, :64].sum(axis=1).astype(int)
    np.testing.assert_allclose(evaluation.draws['bbox'][:, 0], (100 * right // 128 + 1) / 101, atol=1e-7)
    assert abs(right.mean() - 64) < 4 * (128 / 4 / 10_000) ** 0.5
    scores = evaluation.scores['bbox']
    assert scores.intervals['mAP'] == scores.class_intervals['key']['mAP'] == pytest.approx([42 / 101, 59 / 101])
    assert scores.values['mAP'] == pytest.approx(51 / 101)


def test_a_class_that_a_draw_has_no_object_of_is_left_out_of_its_mean():
    truth = scene(thing(2, [10, 10, 50, 50], 1), thing(5, [10, 10, 50, 50], 2), images=3)
    evaluation = score(truth, {'bbox': [guess(2, [10, 10, 50, 50])]}, [2, 5])
    mean, key, cup = evaluation.draws['bbox'].T
    counts = draw_pictures(3)
    np.testing.assert_array_equal(key, np.where(counts[:, 0] > 0, 1, np.nan))
    np.testing.assert_array_equal(cup, np.where(counts[:, 1] > 0, 0, np.nan))
    both, neither = (counts[:, :2] > 0).all(axis=1), (counts[:, :2] == 0).all(axis=1)
    assert set(mean[both]) == {0.5} and np.isnan(mean[neither]).all() and neither.any()
    np.testing.assert_array_equal(mean[counts[:, 1] == 0], key[counts[:, 1] == 0])
    scores = evaluation.scores['bbox']
    assert scores.intervals['mAP'] == [0, 1]
    assert scores.class_intervals == {'key': {}, 'cup': {}}  # each in one picture: nothing to draw from


def test_draws_take_as_many_pictures_as_there_are_each_as_often_as_any_other():
    counts = draw_pictures(50).astype(int)
    assert counts.shape == (DRAWS, 50) and set(counts.sum(axis=1)) == {50}
    assert abs(counts.mean(axis=0) - 1).max() < 5 * (49 / 50 / DRAWS) ** 0.5
    assert (counts == 0).mean() == pytest.approx((49 / 50) ** 50, abs=0.01)
    np.testing.assert_array_equal(counts, draw_pictures(50))
    assert draw_pictures(300, 2).sum() == 600 and draw_pictures(0).size == 0


def test_the_figures_are_the_same_with_intervals_and_without():
    truth, predictions = made_up(), dict.fromkeys(KINDS, guesses(made_up()))
    plain, drawn = (score(ground_truth(copy.deepcopy(truth)), predictions, draws=draws) for draws in (0, 3))
    assert plain.draws == {} and drawn.draws.keys() == set(KINDS)
    for kind in KINDS:
        assert plain.scores[kind] == replace(drawn.scores[kind], intervals={}, class_intervals={})
    content = json.loads(json.dumps(drawn.to_dict(), allow_nan=False))
    assert 'draws' not in content and content['scores']['segm']['intervals'] == drawn.scores['segm'].intervals


def test_equal_scores_in_one_picture_count_one_after_the_other():
    """By hand: a picture counted three times has three right ones, then three wrong ones."""
    found = np.array([[[True, False]]])
    matches = Matches(np.zeros(2, int), found, np.zeros_like(found), np.array([[1]]))
    assert average_precision(matches, np.array([[3]], np.uint8)) == pytest.approx(1)


def test_what_fits_into_memory_at_a_time_does_not_matter(monkeypatch):
    truth = made_up()
    whole = score(ground_truth(copy.deepcopy(truth)), {'bbox': guesses(truth)}, draws=100)
    monkeypatch.setattr('damamba.evaluation.intervals.CELLS', 999)
    parts = score(ground_truth(copy.deepcopy(truth)), {'bbox': guesses(truth)}, draws=100)
    np.testing.assert_array_equal(whole.draws['bbox'], parts.draws['bbox'])


def test_other_overlaps_have_draws_of_their_own():
    truth = made_up()
    options = dict(iou_thrs=[0.6, 0.75], max_dets=(5, 300))
    scores = score(ground_truth(truth), {'bbox': guesses(truth)}, **options).scores['bbox']
    assert scores.intervals.keys() == {'mAP', 'mAP_75', *(f'mAP{end}' for end in AREAS.values() if end)}
    assert scores.intervals['mAP'][1] > scores.intervals['mAP_75'][1]


@pytest.mark.parametrize(('freedom', 'table'), [(1, 12.706), (2, 4.303), (10, 2.228), (99, 1.984), (10**6, 1.960)])
def test_students_quantiles_are_those_of_the_tables(freedom, table):
    assert student_quantile(0.975, freedom) == pytest.approx(table, abs=5e-4)
    if freedom < 100:
        assert student_quantile(0.95, freedom) < table


def test_an_interval_is_between_the_percentiles_further_out_the_fewer_pictures_there_are():
    draws = np.arange(1, 1000) / 1000  # the p-th percentile is p / 100
    assert interval(draws, 10**6) == pytest.approx((0.025, 0.975), abs=1e-6)
    assert interval(draws, 11) == pytest.approx((0.00972, 0.99028), abs=2e-4)  # 2.228 sqrt(1.1) of a normal one
    assert interval(draws, 2) == (0.001, 0.999)
    assert interval(draws, 1) is None and interval(np.full(9, np.nan), 5) is None
    assert interval(np.r_[draws, np.nan], 10**6) == interval(draws, 10**6)


def test_no_detections_at_all_are_certainly_zero():
    empty = np.zeros((1, len(IOU_THRS), 0), dtype=bool)
    matches = Matches(np.zeros(0, int), empty, empty, np.ones((1, 5), int))
    bootstrap = resample([matches], FIGURES, draw_pictures(5))
    assert bootstrap.intervals(0) == bootstrap.intervals(1) == {'mAP': [0, 0]}
