"""A worker and its trials: values, pruning, failures, resuming; the trainings are stand-ins."""

import math
import re
from dataclasses import replace

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from damamba.engine.config import read_config
from damamba.tuning import TuningError
from damamba.tuning.lost_trials import ended, is_default, state_of
from damamba.tuning.results import best_of
from damamba.tuning.space import Parameter
from damamba.tuning.study import Task, open_study
from damamba.tuning.worker import StoppedError
from tests.tuning.helpers import CONFIG, LR, make_worker, tuned, write_config

SPACE = [
    LR,
    Parameter('train_dataloader.batch_size', 'int', low=1, high=4),
    Parameter('param_scheduler.1.milestones', 'categorical', choices=([2], [1, 2])),
    Parameter('optim_wrapper.clip_grad', 'categorical', choices=(None, dict(max_norm=10), dict(max_norm=1, norm=1))),
]


def states(study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_trials_train_with_their_values_the_default_s_first(tmp_path):
    study = tuned(tmp_path, 12, space=SPACE)
    assert states(study) == ['COMPLETE'] * 12
    assert [trial.number for trial in study.trials if is_default(trial)] == [0]
    configs = [read_config(str(tmp_path / f'study/trial_{i:04d}.py')) for i in range(12)]
    base = read_config(str(tmp_path / 'base.py'))
    assert (configs[0].optim_wrapper, configs[0].param_scheduler) == (base.optim_wrapper, base.param_scheduler)
    for trial, cfg in zip(study.trials, configs, strict=True):
        assert cfg.optim_wrapper.optimizer.lr == trial.params[LR.key]
        assert cfg.optim_wrapper.optimizer.type == 'AdamW' and cfg.param_scheduler[0].end == 500
        assert trial.value == pytest.approx(0.6 - abs(math.log10(trial.params[LR.key]) + 3) / 5, abs=1e-12)
        assert list(trial.intermediate_values) == [1, 2, 3]
        assert cfg.default_hooks.checkpoint == dict(type='CheckpointHook', interval=-1, save_last=False, save_best=None)
    assert {cfg.train_dataloader.batch_size for cfg in configs} == {1, 2, 3, 4}
    assert {tuple(cfg.param_scheduler[1].milestones) for cfg in configs} == {(2,), (1, 2)}
    clips = [cfg.optim_wrapper.clip_grad for cfg in configs]
    assert None in clips and dict(max_norm=10) in clips and dict(max_norm=1, norm=1) in clips
    rates = [math.log10(trial.params[LR.key]) for trial in study.trials]
    assert sum(rate < -3.5 for rate in rates) in range(2, 11)  # on a log scale half of them; else one in twenty


def test_tpe_finds_a_better_value_than_the_default(tmp_path):
    study = tuned(tmp_path, 15, sampler='tpe')
    assert best_of(study).value > study.trials[0].value + 0.1
    assert abs(math.log10(best_of(study).params[LR.key]) + 3) < 0.3


def test_a_default_outside_of_the_space_is_named_and_not_tried(tmp_path):
    said = []
    study = tuned(tmp_path, 2, space=[Parameter(LR.key, 'float', low=1e-3, high=1e-2)], said=said)
    assert said[0] == f"the config's own values are not tried: {LR.key}=0.0001 lies outside"
    assert not any(map(is_default, study.trials))


@pytest.mark.parametrize('pruner', ['median', 'hyperband'])
def test_weak_trials_are_pruned_and_a_finished_one_is_not(tmp_path, pruner):
    body = """
    for epoch in range(1, 10):
        validated(epoch, (0.5 if number < 3 else 0.3 - number / 100) * epoch)
        time.sleep(5 if number >= 3 and epoch == 8 else 0.05)
    """
    said = []
    study = tuned(tmp_path, 5, body=body, pruner=pruner, options={'max_epochs': 9}, said=said)
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    weak = [trial.number for trial in pruned if trial.number >= 3]
    assert weak == [3, 4] if pruner == 'median' else weak
    assert study.trials[0].state == TrialState.COMPLETE
    for trial in pruned:
        assert trial.last_step < 9 and trial.value == trial.intermediate_values[trial.last_step]
        assert any(text.startswith(f'trial {trial.number} pruned') for text in said)


def test_a_trial_that_has_its_last_epoch_is_not_pruned(tmp_path):
    study = tuned(tmp_path, 5, body='validated(3, 0.5 - number / 100); time.sleep(0.3)', pruner='median')
    assert states(study) == ['COMPLETE'] * 5


FAILING = {  # what a training does: what its trial's error begins with
    "print('error: mended'); sys.exit('error: no such optimizer')": 'error: no such optimizer\nerror: mended\ne',
    'os.kill(os.getpid(), signal.SIGKILL)': 'the training was ended by SIGKILL: the machine may have run out of memory',
    "raise MemoryError('all of it')": 'MemoryError: all of it\nTraceback ',
    'validated(3, -1)': 'the last validation has segm_mAP=-1: there was nothing to find in the ground truth',
    'validated(3, math.nan)': 'the last validation has segm_mAP=nan: that is no number',
    'validated(1, 0.3); validated(2, -1)': 'the last validation has segm_mAP=-1',
    'row(loss=1.0, epoch=1, iter=1, step=1)': 'the training ended without a validation',
    'validated(1, 0.3, "coco/bbox_mAP")': 'validation measured no segm_mAP; it has coco/bbox_mAP',
    'time.sleep(60)': 'it took longer than the 4 seconds of --trial-timeout',
}


def test_a_failed_trial_keeps_its_reason_and_the_study_goes_on(tmp_path):
    said = []
    body = f'exec(["validated(3, 0.1)", *{[*FAILING]!r}, "validated(3, 0.2)"][number])'
    study = tuned(tmp_path, 11, body=body, training={'timeout_s': 4.0}, said=said)
    assert states(study) == ['COMPLETE', *['FAIL'] * 9, 'COMPLETE']
    for trial, reason in zip(study.trials[1:], FAILING.values(), strict=False):
        assert trial.user_attrs['error'].startswith(reason)
    assert any(re.fullmatch(r'trial 1 failed after \d+ s: error: no such optimizer', text) for text in said)
    assert 'mended' in (tmp_path / 'study/trial_0001/trial.log').read_text()
    assert best_of(study).number == 10 and len(ended(study)) == 11


@pytest.mark.parametrize(
    ('metric', 'body', 'value'),
    [
        ('segm_mAP', 'validated(1, 0.9); row(loss=9.0, epoch=2, iter=20, step=20); validated(2, 0.4)', 0.4),
        ('segm_mAP_50', 'row(step=1, **{"coco/box_segm_mAP_50": 0.2, "coco/segm_mAP_50": 0.7})', 0.7),
    ],
)
def test_the_objective_is_the_last_validation_of_the_metric(tmp_path, metric, body, value):
    assert tuned(tmp_path, 1, body=body, metric=metric).trials[0].value == value


def test_when_the_first_trials_all_fail_the_worker_ends_with_the_error(tmp_path):
    worker = make_worker(tmp_path, 8, body="sys.exit('error: data/coco not found')")
    with pytest.raises(StoppedError, match='the first 3 trials failed, see .*trial_0002/trial.log: error: data/coco'):
        worker.run()
    assert states(worker.study) == ['FAIL'] * 3


def test_a_study_goes_on_where_it_was_and_not_beyond_its_number(tmp_path):
    first = [trial.params for trial in tuned(tmp_path, 3).trials]
    again = tuned(tmp_path, 5)
    assert [trial.params for trial in again.trials[:3]] == first
    values = [trial.params[LR.key] for trial in again.trials]
    assert len(values) == len(set(values)) == 5  # the same seed, and other values
    assert len(tuned(tmp_path, 5).trials) == len(tuned(tmp_path, 4).trials) == 5


def test_a_worker_waits_for_what_others_run(tmp_path):
    said = []
    worker = make_worker(tmp_path, 1, said=said)
    worker.timeout_s = 0.3
    worker.study.ask()  # of another worker
    worker.run()
    assert said == ['waiting for what others run: trial 0'] and states(worker.study) == ['RUNNING']


def test_a_trial_too_many_never_begins(tmp_path):
    said = []
    worker = make_worker(tmp_path, 1, said=said)
    worker.study.ask()  # of another worker, at the same moment
    worker._take_one()
    assert [state_of(trial) for trial in worker.study.trials] == ['running', 'surplus']
    assert not said and not (tmp_path / 'study').exists()


def test_no_trial_begins_after_the_time_is_over(tmp_path):
    worker = make_worker(tmp_path, 500)
    worker.timeout_s = 0.5
    worker.run()
    assert 1 <= len(worker.study.trials) < 100


@pytest.mark.parametrize('error', [KeyboardInterrupt, ValueError('a fault of ours')])
def test_an_interrupted_trial_is_lost_and_its_values_are_tried_again(tmp_path, monkeypatch, error):
    worker = make_worker(tmp_path, 3)

    def interrupt(*args):
        raise error

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, ValueError)):
        patch.setattr(worker, '_follow', interrupt)
        worker.run()
    assert state_of(worker.study.trials[0]) == 'lost' and not ended(worker.study)
    said = []
    study = tuned(tmp_path, 3, said=said)
    assert said[0] == 'trial 0 was lost with its worker: its values are tried again'
    assert states(study) == ['FAIL'] + ['COMPLETE'] * 3
    assert study.trials[1].params == study.trials[0].params and is_default(study.trials[1])


@pytest.mark.parametrize('when', ['_follow', '_outcome'])  # while it trains, or when it has its value
def test_a_trial_that_others_have_given_up_is_no_error(tmp_path, monkeypatch, when):
    said = []
    worker = make_worker(tmp_path, 1, said=said)
    own = getattr(worker, when)

    def given_up(trial, *args):
        monkeypatch.undo()
        value = own(trial, *args) if when == '_outcome' else None
        worker.study.tell(trial.number, state=TrialState.FAIL)
        return value or own(trial, *args)

    monkeypatch.setattr(worker, when, given_up)
    worker.run()
    assert 'trial 0 was given up by others: this worker was not heard of for too long' in said
    assert states(worker.study) == ['FAIL', 'COMPLETE']  # whoever gave it up has queued its values


def test_a_study_of_something_else_is_refused(tmp_path):
    tuned(tmp_path, 1, options={'max_epochs': 2})
    common = {'options': {'max_epochs': 2}}
    other = Parameter(LR.key, 'float', low=1e-5, high=1e-1, log=True)
    more = Parameter('train_dataloader.batch_size', 'int', low=1, high=2)
    for settings, told in (
        ({'space': [other, more]}, f'begun with another space: {LR.key}, {more.key} differ; give'),
        ({'metric': 'bbox_mAP'}, 'is about segm_mAP, not bbox_mAP: give --metric segm_mAP, or'),
        ({'processes': 2}, 'other settings: --gpus (1 then, 2 now); give'),
        ({'options': {'max_epochs': 2, 'sync_bn': True}}, 'other settings: sync_bn (not set then, true now); give'),
        (
            {'options': {'max_epochs': 3}},
            "the study 'study' was begun with other settings: train_cfg.max_epochs (2 then, 3 now), "
            'param_scheduler.1.end (2 then, 3 now); give it the same config and --cfg-options, or begin another one '
            'with --study NAME',
        ),
    ):
        with pytest.raises(TuningError, match=re.escape(told)):
            make_worker(tmp_path, 2, **{**common, **settings})
    make_worker(tmp_path, 2, options={'max_epochs': 2, 'train_dataloader.num_workers': 4, '+data_root': '/other/'})


def test_a_file_of_the_same_name_is_another_config(tmp_path):
    task = Task(write_config(tmp_path / 'a'), [LR], tmp_path / 'study')
    storage = InMemoryStorage()
    open_study(storage, 'base', task, None)
    open_study(storage, 'base', replace(task, config=write_config(tmp_path / 'copy')), None)
    other = write_config(tmp_path / 'b', CONFIG.replace('weight_decay=0.05', 'weight_decay=0.1'))
    with pytest.raises(TuningError, match=r'optimizer.weight_decay \(0.05 then, 0.1 now\)'):
        open_study(storage, 'base', replace(task, config=other), None)


def test_a_setting_that_can_not_be_meant_fails_its_trial_alone(tmp_path):
    space = [Parameter('max_epochs', 'categorical', choices=(3, 0))]
    study = tuned(tmp_path, 6, space=space, body='validated(3, 0.5)')
    assert {trial.params['max_epochs']: trial.state.name for trial in study.trials} == {3: 'COMPLETE', 0: 'FAIL'}
    failed = next(trial for trial in study.trials if trial.params['max_epochs'] == 0)
    assert failed.user_attrs['error'].startswith('error: train_cfg.max_epochs must be a whole number')


def test_an_earlier_study_is_moved_aside_and_a_checkpoint_kept_when_asked_for(tmp_path):
    folder = tmp_path / 'study/trial_0000/20250101_000000/vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('{"step": 9, "coco/segm_mAP": 0.9}')
    assert tuned(tmp_path, 1, keep_checkpoints=True).trials[0].value == pytest.approx(0.4)
    assert (tmp_path / 'study/trial_0000.1/20250101_000000/vis_data/scalars.json').is_file()
    hook = read_config(str(tmp_path / 'study/trial_0000.py')).default_hooks.checkpoint
    assert hook == dict(type='CheckpointHook', interval=1, save_last=True, save_best=None, max_keep_ckpts=1)
