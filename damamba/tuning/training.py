"""A trial's training, in processes of its own: a crash, or too little memory, ends the trial and not the study."""

import ctypes
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from mmengine.config import Config

import damamba
from damamba.engine.config_checks import ConfigError
from damamba.engine.warm_up import STUDY
from damamba.reporting.logs import read_log
from damamba.tables import is_figure

ROOT = Path(damamba.__file__).resolve().parents[1]
PR_SET_PDEATHSIG = 1  # of Linux's prctl
LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None
GRACE_S = 35.0  # torchrun gives its own processes 30 seconds before it kills them
LINES, LONGEST = 15, 2000  # of what a failed training said
MESSAGE = re.compile(r'^(\S+: )?error( \(rank \d+\))?: ')
EXCEPTION = re.compile(r'^(\[rank\d+\]: )?[\w.]*(Error|Exception|Exit|Interrupt|Signal)\b: ?')


class TrialError(RuntimeError):
    """A trial that came to no value; the text says why, its first line in short."""


def train_command(config: Path, work_dir: Path, processes: int = 1, flags: tuple[str, ...] = ()) -> list[str]:
    """The command of one training, on this machine."""
    arguments = ['-m', 'damamba', 'train', str(config), '--work-dir', str(work_dir), *flags]
    if processes == 1:
        return [sys.executable, *arguments]
    torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(processes)]
    return [sys.executable, *torchrun, *arguments, '--launcher', 'pytorch']


@dataclass
class Training:
    """The training of one trial at a time, in a folder of its own, where ``trial.log`` holds what it prints."""

    command: Callable[[Path, Path], list[str]] = train_command  # from config file and work folder
    timeout_s: float = math.inf
    poll_s: float = 1.0  # between two looks at its log

    @contextmanager
    def run(self, config: Path, folder: Path) -> Iterator[Callable[[], bool]]:
        """Train in a new folder; what an earlier study left under its name is moved aside.

        Gives a function that says, after ``poll_s`` at most, whether the training still runs. It ends with the block;
        TrialError if it has failed, or has taken longer than it may.
        """
        if folder.exists():
            names = (folder.with_name(f'{folder.name}.{number}') for number in itertools.count(1))
            folder.rename(next(path for path in names if not path.exists()))
        folder.mkdir(parents=True)
        log, end = folder / 'trial.log', time.monotonic() + self.timeout_s
        with log.open('wb') as output:
            process = start_dying_with_us(self.command(config, folder), {}, output)
        try:
            yield partial(self._is_running, process, end)
        finally:
            _end(process)
        if process.returncode:
            raise TrialError(failure(log.read_text(encoding='utf-8', errors='replace'), process.returncode))

    def _is_running(self, process: subprocess.Popen, end: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.poll_s)
            return False
        if time.monotonic() > end:
            raise TrialError(f'it took longer than the {self.timeout_s:g} seconds of --trial-timeout')
        return True


def _end(process: subprocess.Popen) -> None:
    """End a training and all of its processes."""
    for number, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)


def start_dying_with_us(
    command: list[str], environment: Mapping[str, str], output: IO | None = None
) -> subprocess.Popen:
    """Start a command that ends with this process, however that ends (on Linux); Ctrl-C is for this process alone.

    It finds this package on its path, and torchrun in it who has decided on threads.
    """
    own = {
        'PYTHONPATH': os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])),
        'PYTHONUNBUFFERED': '1',
        STUDY: '1',
        'DAMAMBA_THREADS': os.environ.get('DAMAMBA_THREADS') or os.environ.get('OMP_NUM_THREADS') or 'auto',
    }
    streams = dict(stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT if output else None)
    prepare = partial(_die_with, os.getpid()) if LIBC else None
    env = {**os.environ, **own, **environment}
    return subprocess.Popen(command, **streams, env=env, start_new_session=True, preexec_fn=prepare)


def _die_with(parent: int) -> None:
    """What a new process does first: ask for a signal at its parent's death, unless that was before."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def failure(output: str, status: int) -> str:
    """What a training said before it failed, the line first that says most."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if MESSAGE.match(line)] or [line for line in lines if EXCEPTION.match(line)]
    number = status - 128 if status > 128 else -status
    if number > 0:
        name = signal.Signals(number).name
        hint = ': the machine may have run out of memory' if name == 'SIGKILL' else ''
        headline = f'the training was ended by {name}{hint}'
    else:
        headline = (telling or lines or [f'the training ended with status {status}, and said nothing'])[-1]
    return '\n'.join([headline, *lines[-LINES:]])[:LONGEST]


def last_epoch(cfg: Config) -> int:
    """The epoch after which a training ends; ConfigError if it counts iterations, as does what it logs."""
    settings = cfg.get('train_cfg') or {}
    by_epoch = settings.get('by_epoch', True) and settings.get('type', 'EpochBasedTrainLoop') != 'IterBasedTrainLoop'
    if not by_epoch or not isinstance(settings.get('max_epochs'), int):
        raise ConfigError(
            f'{cfg.filename} trains by iterations, and trials are compared by epoch: '
            "set train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=...)"
        )
    return settings['max_epochs']


def measured(folder: Path, metric: str) -> dict[int, float]:
    """What validation has measured, by epoch; TrialError if there are figures, and not this one among them."""
    found = {}
    for row in read_log(folder).val:
        values = [value for name, value in row.items() if name.rsplit('/', 1)[-1] == metric]
        if not values:
            others = sorted(name for name in row if '/' in name)
            raise TrialError(f'validation measured no {metric}; it has {", ".join(others) or "nothing"}')
        found[row['epoch']] = float(values[0])
    return found


def final_value(values: Mapping[int, float], metric: str) -> float:
    """The value of the last validation; TrialError if there was none, or if it is no figure."""
    if not values:
        raise TrialError(
            'the training ended without a validation; are val_dataloader, and LocalVisBackend, in the config?'
        )
    value = values[max(values)]
    if not is_figure(value):
        why = 'there was nothing to find in the ground truth' if value == -1 else 'that is no number'
        raise TrialError(f'the last validation has {metric}={value:g}: {why}')
    return value
