"""Trials that can't be told from the best are named beside it, wherever it is."""

import csv
import json

import numpy as np
import pytest

from damamba.evaluation.comparison import write_draws
from damamba.tuning.results import noise_of, table, verdict, write_best, write_trials
from damamba.tuning.study import Task
from tests.tuning.helpers import LR, write_config
from tests.tuning.test_results import MILESTONES, WHERE, study_of

DRAWS = np.random.default_rng(0).normal(0, 0.02, 1000)  # what all trials have in common: the pictures
OWN = np.random.default_rng(1).normal(0, 0.005, (9, 1000))


@pytest.fixture
def task(tmp_path):
    return Task(write_config(tmp_path), [LR, MILESTONES], tmp_path / 'study')


def validated(task, number, value, kind='segm', pictures=50, draws=None, prefix='coco'):
    """What a trial leaves in its folder."""
    folder = task.trial_folder(number)
    values = {kind: {'values': {'mAP': value}, 'classes': {'cup': {'mAP': value}}}}
    evaluation = {'images': pictures, 'objects': 9, 'max_dets': [100], 'iou_thrs': [0.5], 'scores': values}
    folder.mkdir(parents=True)
    (folder / 'metrics.json').write_text(json.dumps({'split': 'val', 'evaluations': {prefix: evaluation}}))
    rows = value + DRAWS + OWN[number] if draws is None else draws
    write_draws(folder / 'draws.npz', {f'{prefix}/{kind}': np.stack([rows, rows], axis=1).astype(np.float32)})


@pytest.fixture
def study(task):
    """Trial 2 is the best; 1 is near, 0 and 3 are not; of 4 nothing is left, 5 was validated on other pictures."""
    values = (0.40, 0.448, 0.45, 0.3, 0.449, 0.4495)
    for number, value in enumerate(values):
        if number != 4:
            validated(task, number, value, pictures=60 if number == 5 else 50)
    return study_of(*((value, 1e-4, {'default': not number}, {1: value}) for number, value in enumerate(values)))


def test_a_trial_within_the_noise_is_named_beside_the_best(study, task):
    """Each varies by 0.02 with the pictures, and their differences by 0.007: pairs tell 0.05 apart, not 0.002."""
    assert noise_of(study, task) == {0: False, 1: True, 3: False}
    near = 'within its noise: trial 1 (0.4480)'
    assert verdict(study, task).endswith(f"; the config's own values reach 0.4000; {near}")
    lines = write_best(study, task, WHERE).read_text().splitlines()
    assert lines[1] == '# Within its noise, so that they may be as good: trial 1 (0.4480).'
    rows = list(csv.DictReader(write_trials(study, task).open()))
    assert [row['within_noise'] for row in rows] == ['False', 'True', '', 'False', '', '']
    noted = [
        line.split()[0] for line in table(study, task).splitlines() if line.endswith('within the noise of the best')
    ]
    assert noted == ['1']


def test_nothing_is_said_where_the_draws_of_the_best_are_gone(study, task):
    (task.trial_folder(2) / 'draws.npz').write_bytes(b'PK')
    assert noise_of(study, task) == {} and 'noise' not in verdict(study, task) + table(study, task)
    assert 'noise' not in write_best(study, task, WHERE).read_text()


def test_a_folder_of_another_study_is_no_trial_s(task):
    validated(task, 0, 0.44)
    validated(task, 1, 0.45)
    assert noise_of(study_of((0.44, 1e-4, {}, {}), (0.45, 1e-4, {}, {})), task) == {0: True}
    assert noise_of(study_of((0.43, 1e-4, {}, {}), (0.45, 1e-4, {}, {})), task) == {}


@pytest.mark.parametrize(('metric', 'known'), [('bbox_mAP', {0: True}), ('segm_mAP', {}), ('bbox_mAP_50', {})])
def test_the_draws_are_those_of_the_metric_that_is_tuned(tmp_path, metric, known):
    task = Task(write_config(tmp_path), [LR, MILESTONES], tmp_path / 'study', metric=metric)
    for number, value in enumerate((0.44, 0.45)):
        validated(task, number, value, 'bbox', prefix='mine')
    assert noise_of(study_of((0.44, 1e-4, {}, {}), (0.45, 1e-4, {}, {})), task) == known


def test_a_best_that_is_too_near_to_nothing_is_better_than_none(task):
    values = (0.001, 0.009)
    for number, value in enumerate(values):
        validated(task, number, value, draws=np.full(1000, value))
    assert noise_of(study_of(*((value, 1e-4, {}, {}) for value in values)), task) == {0: True}


def test_of_many_the_best_are_named(task):
    values = [0.4 + number / 10_000 for number in range(9)]
    for number, value in enumerate(values):
        validated(task, number, value)
    study = study_of(*((value, 1e-4, {}, {}) for value in values))
    assert verdict(study, task).endswith('; within its noise: trial 7 (0.4007), trial 6 (0.4006), trial 5 (0.4005), '
                                         'trial 4 (0.4004), trial 3 (0.4003) and 3 more')  # fmt: skip
