"""Real processes that tests may harm, forked from one that has imported what they run, once.

As a program, ``python -m tests.processes MODULE``, it is that one: it reads a JSON object a line, runs ``main`` of the
module in a new session, with arguments and environment, and answers with its number; ``{"poll": number}`` is answered
with its status, or null.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path

from tests.detection import ROOT

PATIENCE_S = 120.0  # after which a process that should have ended is killed, and the test fails


class Forks:
    """Starts processes that do what ``python -m MODULE`` does."""

    def __init__(self, module: str) -> None:
        env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1', 'OMP_NUM_THREADS': '1'}
        command = [sys.executable, '-m', 'tests.processes', module]
        self.server = subprocess.Popen(command, cwd=ROOT, env=env, stdin=-1, stdout=-1, text=True)
        self.numbers, self.pids = count(), []

    def ask(self, question: dict) -> int | None:
        self.server.stdin.write(f'{json.dumps(question)}\n')
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, folder: Path, *argv: object, **environment: object) -> 'Process':
        """Start one whose output goes to a file in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f'output_{next(self.numbers)}.txt'
        log.touch()
        env = {name: str(value) for name, value in environment.items()}
        self.pids.append(self.ask(dict(log=str(log), argv=[str(word) for word in argv], env=env)))
        return Process(self, self.pids[-1], log)

    def close(self) -> None:
        """End what is left."""
        for pid in self.pids:
            if self.ask({'poll': pid}) is None:
                os.killpg(pid, signal.SIGKILL)
        self.server.stdin.close()
        self.server.wait(30)


@dataclass
class Process:
    """One of them."""

    forks: Forks
    pid: int
    log: Path

    def text(self) -> str:
        """All that it has printed by now."""
        return self.log.read_text()

    def status(self) -> int | None:
        """As of subprocess.Popen."""
        return self.forks.ask({'poll': self.pid})

    def await_text(self, pattern: str) -> None:
        """Wait until it has printed this."""
        self.await_until(lambda: re.search(pattern, self.text()))

    def await_until(self, is_so: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_so():
            assert self.status() is None and time.monotonic() < end, self.text()[-3000:]
            time.sleep(0.02)

    def wait(self) -> int:
        """The status with which it ends."""
        end = time.monotonic() + PATIENCE_S
        while (status := self.status()) is None:
            assert time.monotonic() < end, f'it does not end:\n{self.text()[-3000:]}'
            time.sleep(0.02)
        return status


def _serve(main: Callable[[], None]) -> None:
    ended: dict[int, int] = {}
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(_poll(question['poll'], ended) if 'poll' in question else _fork(main, **question)), flush=True)


def _poll(pid: int, ended: dict[int, int]) -> int | None:
    if pid not in ended:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended.get(pid)


def _fork(main: Callable[[], None], log: str, argv: list[str], env: dict[str, str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests that run in the background inherit ignored
    output, nothing = os.open(log, os.O_WRONLY | os.O_APPEND), os.open(os.devnull, os.O_RDONLY)
    for source, descriptor in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, descriptor)
    sys.argv = ['tests', *argv]
    os.environ.update(env)
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        os._exit(ended.code if isinstance(ended.code, int) else bool(ended.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


if __name__ == '__main__':
    _serve(import_module(sys.argv[1]).main)
