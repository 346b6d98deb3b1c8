"""Signals to real trainings of one process."""

import os
import signal

import pytest
import torch

from damamba.engine.preemption import SIGNALS, Listener, resuming
from tests.detection import write_config
from tests.processes import Forks, Process

HEAD = """
custom_imports = dict(imports=['damamba.register', 'tests.engine.signals'], allow_failed_imports=False)
train_cfg = dict(max_epochs=3)
"""
WORKERS = 'train_dataloader.update(num_workers=2, persistent_workers=True)\n'
SIGNAL = 'custom_hooks = [dict(type="SignalHook", {})]\n'


@pytest.fixture(scope='module')
def trainings():
    forks = Forks('damamba.cli.train')
    yield forks
    forks.close()


@pytest.fixture
def start(trainings, coco, tmp_path):
    """Start a training of three epochs of four iterations with some lines more in its config."""

    def begin(extra: str, name: str = 'run') -> Process:
        config = write_config(tmp_path / f'{name}.py', coco, extra=HEAD + extra)
        return trainings.start(tmp_path / name, config, '--work-dir', tmp_path / name, '--seed', 0)

    return begin


def checkpoints(folder) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth') if 'best' not in path.name)


def test_each_signal_ends_a_training_at_the_next_step_with_a_checkpoint(start, tmp_path):
    slow = 'stage="before_train_iter", at=5, name="SIGCONT", wait_s=100, until={!r}'
    running = {}
    for signum in (signal.SIGTERM, signal.SIGINT):
        running[signum] = start(WORKERS + SIGNAL.format(slow.format(str(tmp_path / f'go {signum.name}'))), signum.name)
    for signum, training in running.items():
        training.await_text('the signal is sent')
        os.killpg(training.pid, signum)  # as a terminal's Ctrl-C, and Slurm: to workers of data loaders too
        (tmp_path / f'go {signum.name}').touch()
    for signum, training in running.items():
        assert training.wait() == 128 + signum, training.text()[-3000:]
        assert checkpoints(tmp_path / signum.name) == ['epoch_1.pth', 'iter_6.pth']
        text = training.text()
        path = tmp_path / signum.name / 'iter_6.pth'
        assert f'{signum.name}: saved as {path}; to go on: python ' in text
        assert text.rstrip().endswith('--resume') and 'Traceback' not in text


def test_gradients_that_are_added_up_are_not_lost(start, tmp_path):
    extra = 'optim_wrapper = dict(accumulative_counts=3)\n' + SIGNAL.format('stage="before_train_iter", at=1')
    training = start(extra)
    assert training.wait() == 128 + signal.SIGTERM, training.text()[-3000:]
    assert checkpoints(tmp_path / 'run') == ['iter_3.pth']


def test_at_the_end_of_an_epoch_its_checkpoint_is_enough(start, tmp_path):
    last = start(SIGNAL.format('stage="before_train_iter", at=3'), 'last')
    validating = start(SIGNAL.format('stage="before_val_iter"'), 'validating')
    for training, name in ((last, 'last'), (validating, 'validating')):
        assert training.wait() == 128 + signal.SIGTERM, training.text()[-3000:]
        assert checkpoints(tmp_path / name) == ['epoch_1.pth']
    assert 'Epoch(val) [1][3/3]' not in last.text() + validating.text()


def test_a_validation_without_a_checkpoint_before_it_saves_what_that_would_hold(start, tmp_path):
    average = 'dict(type="EMAHook", momentum=0.9), dict(type="SignalHook", stage="before_val_iter", at=1)'
    saved = {}
    running = {
        name: start(f'default_hooks.update(checkpoint=dict(interval={interval}))\ncustom_hooks = [{average}]\n', name)
        for interval, name in ((1, 'epoch_1.pth'), (3, 'iter_4.pth'))
    }
    for name, training in running.items():
        assert training.wait() == 128 + signal.SIGTERM, training.text()[-3000:]
        assert checkpoints(tmp_path / name) == [name]
        saved[name] = torch.load(tmp_path / name / name, weights_only=False)
    for part in ('state_dict', 'ema_state_dict'):  # the averaged weights, and the trained ones
        one, other = (content[part] for content in saved.values())
        assert one.keys() == other.keys() and all(torch.equal(one[it], other[it]) for it in one), part


def test_ctrl_c_twice_ends_at_once(start, tmp_path):
    training = start(WORKERS + SIGNAL.format('stage="before_train_iter", at=1, name="SIGINT", wait_s=100'))
    training.await_text('the signal is sent')
    os.killpg(training.pid, signal.SIGINT)
    assert training.wait() == -signal.SIGINT  # which a shell calls 130
    assert checkpoints(tmp_path / 'run') == []


def test_before_the_first_step_there_is_nothing_to_wait_for(start, tmp_path):
    training = start(SIGNAL.format('stage="before_train_epoch", wait_s=100'))
    assert training.wait() == -signal.SIGTERM
    assert checkpoints(tmp_path / 'run') == []


def test_handlers_are_given_back_and_an_ignored_signal_stays_ignored():
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    listener = Listener()
    try:
        listener.start()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert listener.signum == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert listener.signum == signal.SIGTERM
        listener.stop()
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
        assert {**before, signal.SIGUSR1: signal.SIG_IGN} == {it: signal.getsignal(it) for it in SIGNALS}
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@pytest.mark.parametrize(
    ('typed', 'wanted'),
    [
        ('bash dist_train.sh c.py 2', 'bash dist_train.sh c.py 2 --resume'),
        ('python tools/train.py c.py --resume --amp', 'python tools/train.py c.py --resume --amp'),
        ('python tools/train.py c.py --resume', 'python tools/train.py c.py --resume'),
        ('python tools/train.py c.py --resume a.pth', 'python tools/train.py c.py --resume a.pth --resume'),
    ],
)
def test_the_command_that_goes_on(typed, wanted):
    assert resuming(typed) == wanted
