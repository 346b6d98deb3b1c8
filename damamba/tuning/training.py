"""A trial's training, in processes of its own: a crash, or too little memory, ends the trial and not the study."""

import contextlib
import ctypes
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

import damamba
from damamba.engine.config import ConfigError
from damamba.reporting.logs import read_log

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


@dataclass(frozen=True)
class Training:
    """How a trial's training is started and looked at."""

    command: Callable[[Path, Path], list[str]] = train_command  # from config file and work folder
    timeout_s: float | None = None
    poll_s: float = 1.0  # between two looks at its log
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, config: Path, folder: Path) -> 'Process':
        """Start it in a new folder; what an earlier study left under its name is moved aside."""
        _move_aside(folder)
        folder.mkdir(parents=True)
        return Process(self.command(config, folder), folder / 'trial.log', self.environment, self.timeout_s)


class Process:
    """A training that runs; it ends with the process that started it, however that ends (on Linux)."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str], timeout_s: float | None):
        self.log, self.timeout_s, self.begun = log, timeout_s, time.monotonic()
        with log.open('wb') as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**_environment(), **environment},
                start_new_session=True,  # Ctrl-C is for the study, which ends its training itself
                preexec_fn=_dying_with(os.getpid()) if LIBC else None,
            )

    def wait(self, seconds: float) -> bool:
        """Wait that long at most; whether it still runs.

        Raises:
            TrialError: it has taken longer than it may, and was ended.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)
            return False
        if self.timeout_s is not None and time.monotonic() - self.begun > self.timeout_s:
            self.end()
            raise TrialError(f'it took longer than the {self.timeout_s:g} seconds of --trial-timeout')
        return True

    def end(self) -> None:
        """End it and all of its processes."""
        self._signal(signal.SIGTERM)
        try:
            self._popen.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)

    def check(self) -> None:
        """Raise what it failed with.

        Raises:
            TrialError: its status was not 0.
        """
        status = self._popen.returncode
        if status:
            raise TrialError(failure(self.log.read_text(encoding='utf-8', errors='replace'), status))


def _environment() -> dict[str, str]:
    """Ours, with this package on the path, and a note for torchrun on who has decided on threads."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    threads = os.environ.get('DAMAMBA_THREADS') or os.environ.get('OMP_NUM_THREADS') or 'auto'
    return {**os.environ, 'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1', 'DAMAMBA_THREADS': threads}


def _dying_with(parent: int) -> Callable[[], None]:
    """What a new process does first: ask for a signal at its parent's death, unless that was before."""

    def ask() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def start_dying_with_us(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen:
    """Start a command that ends with this process (on Linux), and is stopped by nobody else's Ctrl-C."""
    ask = _dying_with(os.getpid()) if LIBC else None
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, env={**_environment(), **environment}, start_new_session=True, preexec_fn=ask
    )


def _move_aside(folder: Path) -> None:
    number = 1
    while folder.exists() and folder.with_name(f'{folder.name}.{number}').exists():
        number += 1
    if folder.exists():
        folder.rename(folder.with_name(f'{folder.name}.{number}'))


def failure(output: str, status: int) -> str:
    """What a training said before it failed, the line first that says most."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if MESSAGE.match(line)] or [line for line in lines if EXCEPTION.match(line)]
    if status < 0:
        name = signal.Signals(-status).name
        hint = ': the machine may have run out of memory' if name == 'SIGKILL' else ''
        headline = f'the training was ended by {name}{hint}'
    else:
        headline = (
            telling[-1] if telling else (lines or [f'the training ended with status {status}, and said nothing'])[-1]
        )
    return '\n'.join([headline, *lines[-LINES:]])[:LONGEST]


def last_epoch(cfg: Config) -> int:
    """The epoch after which a training ends.

    Raises:
        ConfigError: it counts iterations, and so does what it logs.
    """
    settings = cfg.get('train_cfg') or {}
    by_epoch = settings.get('by_epoch', True) and settings.get('type', 'EpochBasedTrainLoop') != 'IterBasedTrainLoop'
    if not by_epoch or not isinstance(settings.get('max_epochs'), int):
        raise ConfigError(
            f'{cfg.filename} trains by iterations, and trials are compared by epoch: '
            "set train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=...)"
        )
    return settings['max_epochs']


def measured(folder: Path, metric: str) -> dict[int, float]:
    """What validation has measured, by epoch.

    Raises:
        TrialError: there are figures, and not this one among them.
    """
    found = {}
    for row in read_log(folder).val:
        values = [value for name, value in row.items() if name.rsplit('/', 1)[-1] == metric]
        if values:
            found[row['epoch']] = float(values[0])
        else:
            others = sorted(name for name in row if '/' in name)
            raise TrialError(f'validation measured no {metric}; it has {", ".join(others) or "nothing"}')
    return found


def is_valid(value: float) -> bool:
    """COCO's -1 says that there was nothing to find."""
    return math.isfinite(value) and value != -1


def final_value(values: Mapping[int, float], metric: str) -> float:
    """The value of the last validation.

    Raises:
        TrialError: there was none, or it is no figure.
    """
    if not values:
        raise TrialError(
            'the training ended without a validation; are val_dataloader, and LocalVisBackend, in the config?'
        )
    value = values[max(values)]
    if not is_valid(value):
        why = 'there was nothing to find in the ground truth' if value == -1 else 'that is no number'
        raise TrialError(f'the last validation has {metric}={value:g}: {why}')
    return value
