"""A training that is asked to end: it saves at the next step that can be resumed from, and ends with status 128 + n.

SIGTERM is a scheduler's word, SIGINT is Ctrl-C, SIGUSR1 is Slurm's warning before the time is over. A handler only sets
a flag, and after each iteration all processes agree on it, so that they end at the same step.
"""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable

import torch
import torch.distributed as dist
from mmengine.dist import get_comm_device
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from damamba.engine.command import command_line
from damamba.engine.replay import is_between_updates

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Interrupted(SystemExit):
    """A training that a signal has ended, after it was saved; its exit status is 128 and the signal's number."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


class Listener:
    """Notes the first signal, from its first step on; until then, and for what is ignored, signals do what they did.

    A second Ctrl-C ends the process at once.
    """

    signum = 0

    def __init__(self) -> None:
        self._before: dict[int, Callable | int | None] = {}

    def start(self) -> None:
        """Listen from now on. Only a main thread can: elsewhere signals do what they did."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for signum in SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._note)

    def stop(self) -> None:
        """Give each signal its former meaning."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _note(self, signum: int, frame: object) -> None:
        self.signum = self.signum or signum
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


class PreemptionHook(Hook):
    """End a training that was asked to, once it is saved, on all processes at the same step.

    Raises:
        Interrupted: after an iteration of training that completes an update of the weights, after an epoch, or after
            an iteration of validation.
    """

    priority = 'LOWEST'  # after what counts, logs and saves

    def __init__(self) -> None:
        self.listener = Listener()
        self._signum = 0  # what all processes know of
        self._is_saved = False  # whether this step has a checkpoint already
        self._common = 0  # iterations of validation that every process has

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.listener.start()
        self._is_saved = False

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._signum = agree(self.listener.signum)
        if self._signum and not is_between_updates(runner) and not _epoch_is_saved_next(runner, batch_idx):
            self._save(runner, runner.iter + 1)
            self._end(runner)

    def after_train_epoch(self, runner) -> None:
        self._is_saved = _saves_epoch(runner)
        if self._signum and self._is_saved:
            self._end(runner)

    def before_val_epoch(self, runner) -> None:
        if isinstance(runner._train_loop, BaseLoop):  # within a training
            self._common = -agree(-len(runner.val_loop.dataloader))

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if batch_idx >= self._common:
            return
        self._signum = agree(self.listener.signum)
        if self._signum and (self._is_saved or not is_between_updates(runner)):
            if not self._is_saved:
                _leave_averaged_weights(runner)
                self._save(runner, runner.iter)
            self._end(runner)

    def _save(self, runner, step: int) -> None:
        for hook in _savers(runner):
            hook.save_now(runner, step)
            self._is_saved = True

    def _end(self, runner) -> None:
        """Leave together, once all is on the disk: torchrun ends all processes half a minute after the first one."""
        for hook in _savers(runner):
            hook.after_run(runner)
        agree(0)  # that is, wait for each other
        runner.sound_data.end(runner)
        name = signal.Signals(self._signum).name
        if self._is_saved:
            path = ' and '.join(str(hook.folder.root / hook.last_ckpt) for hook in _savers(runner))
            runner.logger.warning('%s: saved as %s; to go on: %s', name, path, resuming(command_line()))
        else:
            runner.logger.warning('%s: ended, and not saved: no hook of the config saves checkpoints', name)
        raise Interrupted(self._signum)


def agree(number: int) -> int:
    """The largest of the processes' numbers: one reduction of one number, on the device that the group talks through.

    MMEngine has waited for the device already, when it read the loss.
    """
    if not dist.is_initialized():
        return number
    largest = torch.tensor(number, device=get_comm_device())
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def resuming(command: str) -> str:
    """The command that goes on where one was interrupted."""
    words = shlex.split(command)
    bare = any(
        word == '--resume' and (not rest or rest[0].startswith('-'))
        for word, rest in ((word, words[place + 1 :]) for place, word in enumerate(words))
    )
    return command if bare else f'{command} --resume'


def _savers(runner) -> list[Hook]:
    return [hook for hook in runner.hooks if hasattr(hook, 'save_now')]


def _saves_epoch(runner) -> bool:
    """Whether the checkpoint hook saves at the end of this epoch."""
    return any(
        hook.by_epoch
        and (
            hook.every_n_epochs(runner, hook.interval, hook.save_begin)
            or (hook.save_last and hook.is_last_train_epoch(runner))
        )
        for hook in _savers(runner)
    )


def _epoch_is_saved_next(runner, batch_idx: int) -> bool:
    loader = runner.train_loop.dataloader
    return _saves_epoch(runner) and batch_idx + 1 == len(loader)


def _leave_averaged_weights(runner) -> None:
    """Validation tests the averaged weights in the place of the trained ones, which are what is saved."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            hook.after_val_epoch(runner)


# Workers of data loaders.


class Shielded:
    """What a worker of a data loader does first: it leaves signals to the process that loads with it.

    Ctrl-C in a terminal, and Slurm, send them to workers too, which would take the training down before it is saved.
    SIGTERM from the loading process ends the worker, as before.

    Args:
        then: what else the worker does first.
    """

    def __init__(self, then: Callable[[int], None] | None) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        for signum in (signal.SIGINT, signal.SIGUSR1):
            signal.signal(signum, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, args=(os.getppid(),), daemon=True).start()
        if self.then:
            self.then(worker)


def _obey_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def shield(loader: DataLoader) -> DataLoader:
    """Have the workers of a loader leave signals to the process that loads with it."""
    if loader.num_workers and sys.platform == 'linux':
        loader.worker_init_fn = Shielded(loader.worker_init_fn)
    return loader
