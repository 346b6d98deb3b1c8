"""The command that started this process, so that it can be typed again."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

MACHINES = {  # what the scripts call it: what torchrun tells the processes
    'NNODES': 'GROUP_WORLD_SIZE',
    'NODE_RANK': 'GROUP_RANK',
    'MASTER_ADDR': 'MASTER_ADDR',
    'PORT': 'PORT',
}


def command_line() -> str:
    """What was typed to start this process, so that it can be typed again."""
    spec = getattr(sys.modules['__main__'], '__spec__', None)
    return typed(sys.argv, spec.name.removesuffix('.__main__') if spec else None, os.environ)


def typed(argv: Sequence[str], module: str | None, environ: Mapping[str, str]) -> str:
    """The command line for these arguments of Python.

    Args:
        argv: as in ``sys.argv``.
        module: what ``python -m`` was given; None for a script.
        environ: which tells what torchrun has started.
    """
    if not argv or argv[0] in ('', '-c'):
        return 'python'  # from lines that are in no file
    script = _short(argv[0])
    start = ['python', script] if script.endswith('.py') else [script]
    start = ['python', '-m', module] if module else start
    return _through_script(argv, environ) or shlex.join([*start, *argv[1:]])


def _through_script(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """``bash dist_test.sh CONFIG CHECKPOINT N ...``: what starts processes with such arguments; None for others."""
    path = Path(argv[0]).absolute()
    own = {'train.py': 1, 'test.py': 2}.get(path.name, 0)  # arguments that stand before the number of processes
    script = path.parent.parent / f'dist_{path.stem}.sh'
    first, launcher, rest = argv[1 : 1 + own], list(argv[1 + own : 3 + own]), argv[3 + own :]
    started = 'TORCHELASTIC_RUN_ID' in environ and own and path.parent.name == 'tools' and script.is_file()
    if not started or launcher != ['--launcher', 'pytorch']:
        return None
    command = shlex.join(['bash', _short(str(script)), *first, environ['LOCAL_WORLD_SIZE'], *rest])
    return ' '.join([*_machines(environ), command])


def _machines(environ: Mapping[str, str]) -> list[str]:
    """What stands before the command where processes of several machines work together."""
    if environ['LOCAL_WORLD_SIZE'] == environ['WORLD_SIZE']:
        return []
    return [f'{name}={shlex.quote(environ[source])}' for name, source in MACHINES.items()]


def _short(path: str) -> str:
    """A path relative to the current folder, where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path
