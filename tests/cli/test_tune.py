"""The command: a real training of a tiny detector, several workers, mistakes in one sentence."""

import csv
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from damamba.cli import tune
from damamba.engine.config import read_config
from tests.detection import ROOT
from tests.tuning.helpers import CONFIG, command, fake_training, write_config

LR = 'optim_wrapper.optimizer.lr'


def run(*argv) -> None:
    tune.tune([str(word) for word in argv])


def refused(capsys, *argv) -> str:
    """The last line that the command writes before it ends with status 1."""
    with pytest.raises(SystemExit) as end:
        tune.run(tune.tune, [str(word) for word in argv])
    shown = capsys.readouterr()
    assert end.value.code == 1 and 'Traceback' not in shown.err
    return shown.err.splitlines()[-1]


@pytest.fixture
def quick_config(tmp_path):
    """A config that is read in a moment, for trials that are no trainings."""
    loaders = "val_cfg = dict()\nval_dataloader = dict(batch_size=1)\nval_evaluator = dict(type='CocoMetric')\n"
    return write_config(tmp_path / 'configs', CONFIG + loaders)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Trials that are over in a moment."""
    script = tmp_path / 'fake' / 'fake.py'
    fake_training(script.parent)
    monkeypatch.setattr(tune, 'TRAIN', lambda config, folder, processes, flags: command(script, config, folder))


def rows_of(folder) -> list[dict]:
    return list(csv.DictReader((folder / 'trials.csv').open()))


def test_a_real_training_is_measured_and_its_best_is_a_config(small_config, tmp_path, capsys):
    folder = tmp_path / 'study'
    run(small_config, '--preset', 'lr', '--trials', 1, '--work-dir', folder, '--seed', 0)
    shown = capsys.readouterr().out
    (row,) = rows_of(folder)
    metrics = json.loads((folder / 'trial_0000/metrics.json').read_text())
    assert row['state'] == 'complete' and row['default'] == 'True' and row['epochs'] == '1'
    assert float(row['value']) == pytest.approx(metrics['metrics']['coco/segm_mAP'], abs=1e-12)
    assert "trial 0 begins, the config's own values: optim_wrapper.optimizer.lr=0.0001" in shown
    assert not list(folder.rglob('*.pth')) and not list(folder.rglob('last_checkpoint'))
    assert read_config(str(folder / 'best.py')).optim_wrapper.optimizer.lr == float(row[LR])
    assert 'importance.png is not drawn: it needs two complete trials' in shown


@pytest.mark.filterwarnings('error::optuna.exceptions.ExperimentalWarning', 'error:Heartbeat of storage')
def test_a_study_is_begun_finished_and_gone_on_with(fake, quick_config, tmp_path, capsys):
    space = tmp_path / 'space.py'
    space.write_text(f"space = {{'{LR}': dict(type='float', low=1e-5, high=1e-2, log=True)}}\n")
    common = [
        quick_config,
        '--space',
        space,
        '--work-dir',
        tmp_path / 'study',
        '--study',
        'mine',
        '--sampler',
        'random',
    ]
    run(*common, '--trials', 2)
    assert 'study mine in sqlite:///' in capsys.readouterr().out
    run(*common, '--trials', 2)
    assert '2 of 2 trials are done: nothing is left to do' in capsys.readouterr().out
    run(*common, '--trials', 3)
    shown = capsys.readouterr().out
    assert '2 of 3 trials are done' in shown and shown.count(' begins') == 1
    names = {path.name for path in (tmp_path / 'study').iterdir()}
    files = {
        'best.py',
        'trials.csv',
        'history.png',
        'importance.png',
        'parallel_coordinate.png',
        'intermediate_values.png',
    }
    assert files <= names and len(rows_of(tmp_path / 'study')) == 3
    best = max(rows_of(tmp_path / 'study'), key=lambda row: float(row['value']))
    assert f'segm_mAP {float(best["value"]):.4f} in trial {best["number"]}: {LR}=' in shown


def test_options_are_for_the_trials_and_not_for_the_best(fake, quick_config, tmp_path):
    options = ['max_epochs=5', 'randomness.seed=3']
    run(quick_config, '--preset', 'lr', '--trials', 1, '--work-dir', tmp_path / 'study', '--cfg-options', *options)
    trial, best = (read_config(str(tmp_path / f'study/{name}.py')) for name in ('trial_0000', 'best'))
    assert trial.train_cfg.max_epochs == 5 and trial.randomness.seed == 3
    assert best.train_cfg.max_epochs == 3 and 'randomness' not in best


def test_each_worker_is_this_command_with_its_own_seed_and_share(monkeypatch):
    started = []
    monkeypatch.setattr(tune, 'start_dying_with_us', lambda command, share: started.append((command, share)))
    monkeypatch.setattr('torch.cuda.device_count', lambda: 0)
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    argv = ['c.py', '--preset', 'lr', '--trials', '2', '--workers', '2', '--seed', '5', '--cfg-options', 'a=1', 'b=2']
    tune.start_workers(tune.parse(argv), argv)
    for index, (words, share) in enumerate(started):
        assert words[:3] == [sys.executable, '-m', 'damamba.cli.tune'] and share.pop('OMP_NUM_THREADS') == '3'
        assert share == {'DAMAMBA_STORAGE': 'sqlite:///work_dirs/c_tuning/study.db'}
        args = tune.parse(words[3:])
        assert (args.worker, args.seed, args.cfg_options) == (index, 5 + index, {'a': 1, 'b': 2})


@pytest.mark.parametrize('flag', [['--storage', 'URL'], ['--storage=URL'], ['--stor', 'URL'], []])
def test_a_password_is_in_no_worker_s_command_line(monkeypatch, flag):
    url = 'postgresql://me:s3cret@host/db'
    monkeypatch.setattr(tune, 'start_dying_with_us', lambda command, share: (command, share))
    if not flag:
        monkeypatch.setenv('DAMAMBA_STORAGE', url)
    words = [word.replace('URL', url) for word in flag]
    argv = ['c.py', '--preset', 'lr', *words, '--trials', '2', '--workers', '2', '--cfg-options', 'a=1', 'b=2']
    for called, share in tune.start_workers(tune.parse(argv), argv):
        assert 's3cret' not in ' '.join(called) and share['DAMAMBA_STORAGE'] == url
        monkeypatch.setenv('DAMAMBA_STORAGE', url)
        args = tune.parse(called[3:])
        assert args.storage == url and args.cfg_options == {'a': 1, 'b': 2} and args.trials == 2


def test_another_config_of_the_same_name_is_refused(fake, quick_config, tmp_path, capsys):
    common = ['--preset', 'lr', '--trials', 1, '--work-dir', tmp_path / 'study']
    run(quick_config, *common)
    best = (tmp_path / 'study/best.py').read_text()
    text = CONFIG.replace('max_norm=10', 'max_norm=1') + quick_config.read_text().removeprefix(CONFIG)
    other = write_config(tmp_path / 'b', text)
    told = "the study 'base' was begun with other settings: optim_wrapper.clip_grad.max_norm (10 then, 1 now); give it"
    assert told in refused(capsys, other, *common)
    told = "the study 'base' was begun with other settings: train_cfg.max_epochs (3 then, 1 now)"
    assert told in refused(capsys, quick_config, *common, '--cfg-options', 'max_epochs=1')
    assert (tmp_path / 'study/best.py').read_text() == best


def test_a_training_that_counts_iterations_is_refused_at_once(quick_config, tmp_path, capsys):
    common = ['--preset', 'lr', '--trials', 1, '--work-dir', tmp_path / 'study']
    told = f'{quick_config} trains by iterations, and trials are compared by epoch: set train_cfg = dict(_delete_=True'
    with quick_config.open('a') as file:
        file.write("train_cfg = dict(type='IterBasedTrainLoop', max_iters=90000, val_interval=1000)\n")
    assert told in refused(capsys, quick_config, *common)
    with quick_config.open('a') as file:
        file.write('train_cfg = dict(by_epoch=False, max_iters=90000)\n')
    assert told in refused(capsys, quick_config, *common)
    assert not (tmp_path / 'study').exists()


def test_pictures_that_fail_leave_the_results(fake, quick_config, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise ValueError('Expected \\frac')

    monkeypatch.setattr('damamba.tuning.plots._save', fail)
    run(quick_config, '--preset', 'lr', '--trials', 1, '--work-dir', tmp_path / 'study')
    shown = capsys.readouterr().out
    assert 'history.png could not be drawn: ValueError: Expected \\frac' in shown and 'trial 0: the config' not in shown
    assert f'wrote {tmp_path}/study/best.py' in shown and shown.index('complete') < shown.index('history.png')


def test_a_worker_that_dies_is_named_and_the_others_awaited(capsys):
    programs = ['import os; os.kill(os.getpid(), 9)', 'import time; time.sleep(1.2)', 'raise SystemExit(1)']
    workers = [subprocess.Popen([sys.executable, '-S', '-E', '-c', program]) for program in programs]
    tune.await_workers(workers)
    assert [worker.returncode for worker in workers] == [-9, 0, 1]
    shown = capsys.readouterr().out.splitlines()
    assert sorted(shown)[0] == 'worker 0 ended with status -9; the others go on' and len(shown) == 2


def test_an_interruption_ends_all_workers(monkeypatch):
    workers = [subprocess.Popen([sys.executable, '-S', '-E', '-c', 'import time; time.sleep(60)']) for _ in range(2)]

    def interrupt(seconds):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(workers[0], 'wait', interrupt)
    with pytest.raises(KeyboardInterrupt):
        tune.await_workers(workers)
    assert [worker.returncode for worker in workers] == [-15, -15]


def test_trials_that_all_fail_are_one_message(quick_config, tmp_path, monkeypatch, capsys):
    script = tmp_path / 'fake' / 'fake.py'
    fake_training(script.parent, "sys.exit('error: no memory')")
    monkeypatch.setattr(tune, 'TRAIN', lambda config, folder, processes, flags: command(script, config, folder))
    with pytest.raises(SystemExit) as end:
        tune.run(
            tune.tune, [str(quick_config), '--preset', 'lr', '--trials', '8', '--work-dir', str(tmp_path / 'study')]
        )
    shown = capsys.readouterr()
    assert end.value.code == 1 and 'trial_0002/trial.log: error: no memory' in shown.err
    assert 'no trial is complete: there is no best.py' in shown.out
    assert [row['state'] for row in rows_of(tmp_path / 'study')] == ['fail'] * 3


@pytest.mark.parametrize('trials', [1, 2])  # fewer than are found to fail in a row
def test_a_study_without_a_complete_trial_is_no_success(trials, quick_config, tmp_path, monkeypatch, capsys):
    script = tmp_path / 'fake' / 'fake.py'
    fake_training(script.parent, "sys.exit('error: no memory')")
    monkeypatch.setattr(tune, 'TRAIN', lambda config, folder, processes, flags: command(script, config, folder))
    common = ['--preset', 'lr', '--trials', trials, '--work-dir', tmp_path / 'study']
    assert 'no trial is complete: the table says how each of them ended' in refused(capsys, quick_config, *common)
    assert [row['state'] for row in rows_of(tmp_path / 'study')] == ['fail'] * trials


def test_an_interruption_says_how_to_go_on(quick_config, tmp_path, monkeypatch, capsys):
    def interrupt(config, folder, processes, flags):
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, 'TRAIN', interrupt)
    with pytest.raises(SystemExit, match='stopped with 0 of 8 trials; the same command goes on'):
        run(quick_config, '--preset', 'lr', '--trials', 8, '--work-dir', tmp_path / 'study')
    assert [row['state'] for row in rows_of(tmp_path / 'study')] == ['lost']


def test_a_worker_is_told_its_times(quick_config, tmp_path, monkeypatch, capsys):
    told = []

    def worker(study, task, training, total, say, timeout_s):
        told.extend([total, timeout_s, training.timeout_s])
        return SimpleNamespace(run=lambda: None)

    monkeypatch.setattr(tune, 'Worker', worker)
    flags = ['--preset', 'lr', '--trials', 3, '--work-dir', tmp_path / 'study', '--timeout', 5, '--trial-timeout', 7]
    assert '0 of 3 trials are done; the same command goes on' in refused(capsys, quick_config, *flags)
    assert told == [3, 5.0, 7.0]


def test_workers_share_the_gpus(monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 4)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,5,6,7')
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    args = tune.parse(['c.py', '--preset', 'lr', '--trials', '2', '--workers', '2', '--gpus', '2'])
    assert tune._shares(args) == [
        {'OMP_NUM_THREADS': '7', 'CUDA_VISIBLE_DEVICES': '3,5'},
        {'OMP_NUM_THREADS': '7', 'CUDA_VISIBLE_DEVICES': '6,7'},
    ]
    args.workers = 3
    with pytest.raises(tune.TuningError, match='--workers 3 --gpus 2 needs 6 GPUs: 4 can be seen'):
        tune._shares(args)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 0)
    monkeypatch.delenv('OMP_NUM_THREADS')
    monkeypatch.setattr('os.sched_getaffinity', lambda pid: set(range(16)))
    assert tune._shares(args) == [{'OMP_NUM_THREADS': '2'}] * 3


def test_without_optuna_the_command_says_what_to_install():
    program = "import sys; sys.modules['optuna'] = None; import damamba.cli.tune"
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 1 and "pip install '.[tuning]' in the checkout" in done.stderr.splitlines()[-1]


def test_a_trial_s_command_has_a_process_for_each_gpu(tmp_path):
    one = tune.TRAIN(tmp_path / 'a.py', tmp_path / 'a')
    assert one[1:] == ['-m', 'damamba', 'train', str(tmp_path / 'a.py'), '--work-dir', str(tmp_path / 'a')]
    two = tune.TRAIN(tmp_path / 'a.py', tmp_path / 'a', 2, ('--trust-checkpoint',))
    start = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', '-m', 'damamba', 'train']
    assert two[1:9] == start and two[-3:] == ['--trust-checkpoint', '--launcher', 'pytorch']


def test_mistakes_are_one_sentence(small_config, tmp_path, capsys):
    common = ['--trials', 2, '--work-dir', tmp_path / 'study']
    assert 'nowhere.py does not exist; wanted a config' in refused(capsys, 'nowhere.py', '--preset', 'lr', *common)
    assert 'space.py does not exist; wanted a file' in refused(capsys, small_config, '--space', 'space.py', *common)
    lost = ['--cfg-options', 'data_root=/gone/']
    assert '/gone/annotations' in refused(capsys, small_config, '--preset', 'lr', *common, *lost)
    secret = ['--storage', 'mysql+pymysql://me:s3cret@host/db']
    text = refused(capsys, small_config, '--preset', 'lr', *common, *secret)
    assert 'mysql+pymysql://me:***@host/db needs the Python package pymysql' in text
    (tmp_path / 'bare.py').write_text('model = dict()\n')
    assert 'bare.py has no train_dataloader: trials' in refused(capsys, tmp_path / 'bare.py', '--preset', 'lr', *common)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--trials', '0', '--preset', 'lr'], '--trials: must be a whole number of at least 1, got 0'),
        (['--trials', '2', '--preset', 'lr', '--metric', 'loss'], '--metric is a figure of the validation'),
        (['--trials', '2'], 'one of the arguments --space --preset is required'),
        (
            ['--trials', '2', '--preset', 'lr', '--timeout', '0'],
            '--timeout: must be a number of seconds above 0, got 0',
        ),
        (['--trials', '2', '--preset', 'lr', '--timeout=-5'], '--timeout: must be a number of seconds above 0, got -5'),
        (['--trials', '2', '--preset', 'lr', '--trial-timeout', 'nan'], '--trial-timeout: must be a number of seconds'),
        (['--trials', '2', '--preset', 'lr', '--trial-timeout=-1'], '--trial-timeout: must be a number of seconds'),
        (['--trials', '2', '--preset', 'lr', '--seed=-1'], '--seed: must be a whole number of at least 0, got -1'),
        (['--preset', 'lr'], 'the following arguments are required: --trials'),
    ],
)
def test_wrong_flags_are_named(capsys, flags, message):
    with pytest.raises(SystemExit) as end:
        tune.parse(['config.py', *flags])
    assert end.value.code == 2 and message in capsys.readouterr().err
