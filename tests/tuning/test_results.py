"""What a study leaves: best.py, trials.csv, the table."""

import csv

import optuna
import pytest

from damamba.engine.config import read_config
from damamba.tuning.results import table, verdict, write_best, write_trials
from damamba.tuning.space import Parameter
from damamba.tuning.study import Task
from tests.tuning.helpers import LR, write_config

MILESTONES = Parameter('param_scheduler.1.milestones', 'categorical', choices=([2], [1, 2]))
WHERE = 'postgresql://me:***@host/db'


@pytest.fixture
def task(tmp_path):
    return Task(write_config(tmp_path), [LR, MILESTONES], tmp_path / 'study', {'max_epochs': 1, 'name': 'a b'})


def study_of(*trials) -> optuna.Study:
    """A study of trials, each as (value or None, lr, attributes, value by epoch)."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction='maximize', study_name='small')
    distributions = {parameter.key: parameter.distribution() for parameter in (LR, MILESTONES)}
    for value, lr, attributes, epochs in trials:
        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        state = optuna.trial.TrialState.PRUNED if attributes.pop('pruned', False) else state
        state = optuna.trial.TrialState.RUNNING if attributes.pop('running', False) else state
        params = {LR.key: lr, MILESTONES.key: '[1, 2]' if value and value > 0.4 else '[2]'}
        study.add_trial(
            optuna.create_trial(
                state=state, value=value, params=params, distributions=distributions,
                user_attrs=attributes, intermediate_values=epochs,
            )
        )  # fmt: skip
    return study


@pytest.fixture
def study():
    return study_of(
        (0.3, 1e-4, {'default': True}, {1: 0.1, 2: 0.3}),
        (None, 2e-3, {'error': 'error: out of memory\nmore'}, {}),
        (0.45, 0.000123456789012345, {}, {1: 0.2, 2: 0.45}),
        (None, 3e-3, {}, {}),
        (0.95, 4e-3, {'pruned': True}, {1: 0.95}),
        (None, 5e-3, {'surplus': True}, {}),  # one too many by two workers: it never began
        (None, 6e-3, {'running': True}, {}),
    )


def test_the_best_values_become_a_config_with_the_tuned_keys_alone(study, task):
    path = write_best(study, task, WHERE)
    text = path.read_text()
    assert text.splitlines()[:4] == [
        "# segm_mAP 0.4500 on validation in trial 2, the best of 4. The config's own values: 0.3000, trial 0.",
        f"# Study small in {WHERE}, with --cfg-options max_epochs=1 'name=a b'",
        f'# Train it: python tools/train.py {path}',
        "_base_ = '../base.py'",
    ]
    cfg, base = read_config(str(path)), read_config(str(task.config))
    assert cfg.optim_wrapper.optimizer.lr == 0.000123456789012345
    assert cfg.param_scheduler[1].milestones == [1, 2] and cfg.param_scheduler[0] == base.param_scheduler[0]
    assert cfg.max_epochs == 3 and 'name' not in cfg and cfg.default_hooks == base.default_hooks


def test_best_py_says_when_nothing_better_was_found_or_nothing_is_known(task):
    text = write_best(study_of((0.3, 1e-4, {'default': True}, {})), task, WHERE).read_text()
    assert "These are the config's own values: nothing better was found." in text
    text = write_best(study_of((0.3, 1e-4, {}, {})), task, WHERE).read_text()
    assert "The config's own values have none to compare with." in text
    assert write_best(study_of((None, 1e-4, {}, {})), task, WHERE) is None


def test_every_trial_has_its_line_with_all_digits(study, task):
    rows = list(csv.DictReader(write_trials(study, task).open()))
    assert [row['state'] for row in rows] == ['complete', 'fail', 'complete', 'lost', 'pruned', 'running']
    assert [row['number'] for row in rows] == list('012346')
    assert float(rows[2][LR.key]) == 0.000123456789012345 and rows[2][MILESTONES.key] == '[1, 2]'
    assert [row['value'] for row in rows] == ['0.3', '', '0.45', '', '0.95', '']
    assert [row['epochs'] for row in rows] == ['2', '', '2', '', '1', '']
    assert rows[1]['error'] == 'error: out of memory\nmore'
    assert [row['default'] for row in rows] == ['True', *['False'] * 5]


def test_the_table_has_the_best_first_and_says_why_trials_failed(study, task):
    lines = table(study, task).splitlines()
    assert lines[0].strip() == 'Study small: 5 trials'
    assert [line.split()[:2] for line in lines[4:9]] == [
        ['2', 'complete'], ['0', 'complete'], ['4', 'pruned'], ['1', 'fail'], ['3', 'lost'],
    ]  # fmt: skip
    assert "the config's own values" in lines[5] and lines[7].endswith('error: out of memory')
    assert verdict(study, task).endswith("; the config's own values reach 0.3000")
