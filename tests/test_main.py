import subprocess
import sys

import pytest

from damamba import __main__
from damamba.__main__ import COMMANDS


def run(*args) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-m', 'damamba', *args], capture_output=True, text=True)


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_shows_its_help(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['damamba', command, '--help'])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert not end.value.code and 'usage: ' in capsys.readouterr().out


@pytest.mark.parametrize('args', [[], ['nothing']])
def test_without_a_command_the_commands_are_listed(args):
    done = run(*args)
    assert done.returncode == 1 and all(command in done.stderr for command in COMMANDS)


def test_the_exit_status_is_the_commands_own(tmp_path):
    assert run('publish_model', str(tmp_path / 'nothing.pth'), str(tmp_path / 'out.pth')).returncode == 1
