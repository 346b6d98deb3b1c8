"""The command that started a process, as it was typed."""

import os
import shlex
import subprocess

import pytest

from damamba.engine.command import typed
from tests.detection import ROOT

TORCHRUN = dict(TORCHELASTIC_RUN_ID='none', LOCAL_WORLD_SIZE='2', WORLD_SIZE='2')
TWO_MACHINES = dict(
    TORCHRUN, WORLD_SIZE='4', GROUP_WORLD_SIZE='2', GROUP_RANK='1', MASTER_ADDR='10.0.0.1', PORT='29501'
)


@pytest.mark.parametrize(
    ('argv', 'module', 'environ', 'command'),
    [
        (['tools/test.py', 'a b.py', 'x.pth'], None, {}, "python tools/test.py 'a b.py' x.pth"),
        ([f'{ROOT}/tools/train.py', 'c.py', '--amp'], None, {}, 'python tools/train.py c.py --amp'),
        ([f'{ROOT}/damamba/__main__.py', 'train', 'c.py'], 'damamba', {}, 'python -m damamba train c.py'),
        ([f'{ROOT}/.venv/bin/damamba', 'train', 'c.py'], None, {}, '.venv/bin/damamba train c.py'),
        (['/x.py', 'c.py'], None, {}, 'python /x.py c.py'),
        ([''], None, {}, 'python'),
        (['-c', 'c.py'], None, {}, 'python'),
        (
            [f'{ROOT}/tools/train.py', 'c.py', '--launcher', 'pytorch', '--seed', '1'],
            None,
            TORCHRUN,
            'bash dist_train.sh c.py 2 --seed 1',
        ),
        (
            [f'{ROOT}/tools/test.py', 'c.py', 'x.pth', '--launcher', 'pytorch'],
            None,
            TWO_MACHINES,
            'NNODES=2 NODE_RANK=1 MASTER_ADDR=10.0.0.1 PORT=29501 bash dist_test.sh c.py x.pth 2',
        ),
        (  # not what the script makes of its arguments
            [f'{ROOT}/tools/test.py', 'c.py', 'x.pth', '--eval', 'bbox', '--launcher', 'pytorch'],
            None,
            TORCHRUN,
            'python tools/test.py c.py x.pth --eval bbox --launcher pytorch',
        ),
        (
            [f'{ROOT}/tools/test.py', 'c.py', 'x.pth', '--launcher', 'pytorch'],
            None,
            {},
            'python tools/test.py c.py x.pth --launcher pytorch',
        ),
        (  # no script lies beside it
            ['/elsewhere/tools/test.py', 'c.py', 'x.pth', '--launcher', 'pytorch'],
            None,
            TORCHRUN,
            'python /elsewhere/tools/test.py c.py x.pth --launcher pytorch',
        ),
    ],
)
def test_a_command_is_as_it_was_typed(monkeypatch, argv, module, environ, command):
    monkeypatch.chdir(ROOT)
    assert typed(argv, module, environ) == command


@pytest.mark.parametrize(('script', 'flags'), [('dist_train.sh', ['--amp']), ('dist_test.sh', ['x y.pth', '--prove'])])
def test_the_scripts_commands_come_back(tmp_path, monkeypatch, script, flags):
    """Run the script itself, with a Python that says what it is called with."""
    show = tmp_path / 'python'
    show.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    show.chmod(0o755)
    own = flags[: 1 if script == 'dist_test.sh' else 0]
    given = ['c.py', *own, '2', *flags[len(own) :]]
    here = {**os.environ, 'PYTHON': str(show)}
    done = subprocess.run(['bash', str(ROOT / script), *given], env=here, capture_output=True, text=True, check=True)
    called = done.stdout.splitlines()
    start = next(place for place, argument in enumerate(called) if argument.endswith('.py'))
    monkeypatch.chdir(ROOT)
    assert typed(called[start:], None, TORCHRUN) == shlex.join(['bash', script, *given])
