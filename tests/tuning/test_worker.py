"""A worker and its trials: values, pruning, failures, resuming; the trainings are stand-ins."""

import math
import re
import time
from dataclasses import replace

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from damamba.engine.config import read_config
from damamba.tuning import TuningError
from damamba.tuning.ledger import ended, is_default, is_lost
from damamba.tuning.results import best_of
from damamba.tuning.space import Parameter
from damamba.tuning.worker import StoppedError, Task, open_study
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
    assert configs[0].optim_wrapper == read_config(str(tmp_path / 'base.py')).optim_wrapper
    assert configs[0].param_scheduler == read_config(str(tmp_path / 'base.py')).param_scheduler
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


def test_weak_trials_are_pruned_and_a_finished_one_is_not(tmp_path):
    body = """
    for epoch in (1, 2, 3):
        validated(epoch, (0.5 - number / 20) * epoch)
        time.sleep(30 if number >= 3 and epoch == 2 else 0.1)
    """
    begin = time.monotonic()
    said = []
    study = tuned(tmp_path, 5, body=body, pruner='median', said=said)
    assert states(study) == ['COMPLETE'] * 3 + ['PRUNED'] * 2
    assert time.monotonic() - begin < 20
    for trial in study.trials[3:]:
        assert trial.last_step < 3 and trial.value == trial.intermediate_values[trial.last_step]
        assert any(text.startswith(f'trial {trial.number} pruned') for text in said)


def test_a_failed_trial_keeps_its_reason_and_the_study_goes_on(tmp_path):
    body = """
    if number == 1:
        print('loading'); sys.exit('error: no such optimizer')
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        raise MemoryError('all of it')
    validated(3, 0.1 * number)
    """
    said = []
    study = tuned(tmp_path, 6, body=body, said=said)
    assert states(study) == ['COMPLETE', 'FAIL', 'FAIL', 'FAIL', 'COMPLETE', 'COMPLETE']
    errors = [trial.user_attrs.get('error', '') for trial in study.trials]
    assert errors[1] == 'error: no such optimizer\nloading\nerror: no such optimizer'
    assert errors[2] == 'the training was ended by SIGKILL: the machine may have run out of memory'
    assert errors[3].startswith('MemoryError: all of it\nTraceback ')
    assert any(re.fullmatch(r'trial 1 failed after \d+ s: error: no such optimizer', text) for text in said)
    assert 'loading' in (tmp_path / 'study/trial_0001/trial.log').read_text()
    assert best_of(study).number == 5 and len(ended(study)) == 6


@pytest.mark.parametrize(
    ('body', 'reason'),
    [
        ('validated(3, -1)', 'the last validation has segm_mAP=-1: there was nothing to find in the ground truth'),
        ('validated(3, math.nan)', 'the last validation has segm_mAP=nan: that is no number'),
        ('validated(1, 0.3); validated(2, -1)', 'the last validation has segm_mAP=-1'),
        ('row(loss=1.0, epoch=1, iter=1, step=1)', 'the training ended without a validation'),
        ('validated(1, 0.3, "coco/bbox_mAP")', 'validation measured no segm_mAP; it has coco/bbox_mAP'),
        ('time.sleep(60)', 'it took longer than the 2 seconds of --trial-timeout'),
    ],
)
def test_a_trial_without_a_figure_fails(tmp_path, body, reason):
    training = {'timeout_s': 2.0} if 'sleep' in body else {}
    ok = f'if number:\n    validated(3, 0.5)\nelse:\n    {body}'
    study = tuned(tmp_path, 2, body=ok, training=training)
    assert states(study) == ['FAIL', 'COMPLETE']
    assert study.trials[0].user_attrs['error'].startswith(reason)


def test_the_objective_is_the_last_validation_and_never_the_loss(tmp_path):
    body = (
        'validated(1, 0.9, "val/segm_mAP"); row(loss=9.0, epoch=2, iter=20, step=20); validated(2, 0.4, "val/segm_mAP")'
    )
    assert tuned(tmp_path, 1, body=body).trials[0].value == 0.4


def test_another_metric_is_taken_by_its_whole_name(tmp_path):
    body = 'row(step=1, **{"coco/segm_mAP": 0.2, "coco/segm_mAP_50": 0.7})'
    assert tuned(tmp_path, 1, body=body, metric='segm_mAP_50').trials[0].value == 0.7


def test_when_the_first_trials_all_fail_the_worker_ends_with_the_error(tmp_path):
    worker = make_worker(tmp_path, 8, body="sys.exit('error: data/coco not found')")
    with pytest.raises(StoppedError, match='the first 3 trials failed, see .*trial_0002/trial.log: error: data/coco'):
        worker.run()
    assert states(worker.study) == ['FAIL'] * 3


def test_failures_after_a_success_do_not_end_the_worker(tmp_path):
    study = tuned(tmp_path, 6, body="sys.exit('error: no') if number else validated(3, 0.5)")
    assert states(study) == ['COMPLETE'] + ['FAIL'] * 5


def test_a_study_goes_on_where_it_was_and_not_beyond_its_number(tmp_path):
    first = [trial.params for trial in tuned(tmp_path, 3).trials]
    again = tuned(tmp_path, 5)
    assert [trial.params for trial in again.trials[:3]] == first
    values = [trial.params[LR.key] for trial in again.trials]
    assert len(values) == len(set(values)) == 5  # the same seed, and other values
    assert len(tuned(tmp_path, 5).trials) == len(tuned(tmp_path, 4).trials) == 5


def test_no_trial_begins_after_the_time_is_over(tmp_path):
    worker = make_worker(tmp_path, 500)
    worker.until = time.monotonic() + 0.5
    worker.run()
    assert 1 <= len(worker.study.trials) < 100


def test_an_interrupted_trial_is_lost_and_its_values_are_tried_again(tmp_path, monkeypatch):
    worker = make_worker(tmp_path, 3)

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(worker, '_follow', interrupt)
        worker.run()
    assert is_lost(worker.study.trials[0]) and not ended(worker.study)
    said = []
    study = tuned(tmp_path, 3, said=said)
    assert said[0] == 'trial 0 was lost with its worker: its values are tried again'
    assert states(study) == ['FAIL'] + ['COMPLETE'] * 3
    assert study.trials[1].params == study.trials[0].params and is_default(study.trials[1])


def test_values_that_their_workers_die_of_are_given_up(tmp_path):
    worker = make_worker(tmp_path, 1)
    for _ in range(3):
        worker.ledger.repair()
        worker.study.enqueue_trial({LR.key: 1e-3}) if not worker.study.trials else None
        worker.study.tell(worker.study.ask({LR.key: LR.distribution()}), state=TrialState.FAIL)
    assert worker.ledger.repair() == []
    assert [trial.user_attrs.get('attempt') for trial in worker.study.trials] == [None, 2, 3]


def test_a_trial_that_nobody_has_signed_is_lost_after_a_while(tmp_path, monkeypatch):
    worker = make_worker(tmp_path, 2)
    worker.study.ask()
    worker.ledger.repair()
    assert states(worker.study) == ['RUNNING']
    monkeypatch.setattr('damamba.tuning.ledger.UNSIGNED_S', 0.0)
    worker.run()
    assert states(worker.study) == ['FAIL', 'COMPLETE', 'COMPLETE']


def test_a_study_of_another_space_or_metric_is_refused(tmp_path):
    tuned(tmp_path, 1)
    other = Parameter(LR.key, 'float', low=1e-5, high=1e-1, log=True)
    more = Parameter('train_dataloader.batch_size', 'int', low=1, high=2)
    with pytest.raises(TuningError, match=f'begun with another space: {LR.key}, {more.key} differ; give'):
        make_worker(tmp_path, 2, space=[other, more])
    with pytest.raises(TuningError, match='is about segm_mAP, not bbox_mAP: give --metric segm_mAP, or'):
        make_worker(tmp_path, 2, metric='bbox_mAP')


def test_a_study_of_another_config_or_budget_is_refused(tmp_path):
    tuned(tmp_path, 1, options={'max_epochs': 2})
    with pytest.raises(TuningError) as error:
        make_worker(tmp_path, 2, options={'max_epochs': 3})
    assert str(error.value) == (
        "the study 'study' was begun with other settings: max_epochs (2 then, 3 now), train_cfg.max_epochs "
        '(2 then, 3 now), param_scheduler.1.end (2 then, 3 now) and 1 more; give it the same config and --cfg-options, '
        'or begin another one with --study NAME'
    )
    with pytest.raises(TuningError, match=r'other settings: --gpus \(1 then, 2 now\); give'):
        make_worker(tmp_path, 2, options={'max_epochs': 2}, processes=2)
    with pytest.raises(TuningError, match=r'other settings: amp \(not set then, true now\); give'):
        make_worker(tmp_path, 2, options={'max_epochs': 2, 'amp': True})
    make_worker(tmp_path, 2, options={'max_epochs': 2, 'train_dataloader.num_workers': 4, 'data_root': '/other/'})


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
    assert failed.user_attrs['error'].startswith('error: max_epochs must be a whole number')


def test_what_an_earlier_study_left_is_moved_aside(tmp_path):
    folder = tmp_path / 'study/trial_0000/20250101_000000/vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('{"step": 9, "coco/segm_mAP": 0.9}')
    assert tuned(tmp_path, 1).trials[0].value == pytest.approx(0.4)
    assert (tmp_path / 'study/trial_0000.1/20250101_000000/vis_data/scalars.json').is_file()


def test_a_last_checkpoint_is_kept_when_asked_for(tmp_path):
    tuned(tmp_path, 1, keep_checkpoints=True)
    hook = read_config(str(tmp_path / 'study/trial_0000.py')).default_hooks.checkpoint
    assert hook == dict(type='CheckpointHook', interval=1, save_last=True, save_best=None, max_keep_ckpts=1)


def test_hyperband_prunes_too(tmp_path):
    body = """
    for epoch in range(1, 10):
        validated(epoch, (0.5 if number < 2 else 0.01) * epoch)
        time.sleep(0.02 if number < 2 else 0.2)
    """
    study = tuned(tmp_path, 9, body=body, pruner='hyperband', options={'max_epochs': 9})
    assert set(states(study)) == {'PRUNED', 'COMPLETE'}
    assert isinstance(study.pruner, optuna.pruners.HyperbandPruner)
