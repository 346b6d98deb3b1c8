"""Running commands as a user types them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.detection import ROOT


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """This interpreter and a free port."""
    path = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
    return {**os.environ, 'PORT': free_port(), 'PYTHON': sys.executable, 'PATH': path}


def run(command: list, cwd: Path = ROOT, **settings: str) -> str:
    """Run a command that must succeed within half an hour; return all that it wrote."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**environment(), **settings},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def bash(script: str, *args, cwd: Path = ROOT) -> str:
    """Run one of the shell scripts."""
    return run(['bash', ROOT / script, *args], cwd)
