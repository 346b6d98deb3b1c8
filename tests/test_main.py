"""The command `damamba`: what it lists, what it starts, and the help of every command."""

import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys

import pytest

from damamba.__main__ import run as start
from damamba.cli.commands import COMMANDS, module_of
from tests.detection import ROOT

WRITTEN = [name for name in COMMANDS if importlib.util.find_spec(module_of(name))]


def run(*args, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-m', 'damamba', *args], capture_output=True, text=True, **kwargs)


def help_of(name, capsys) -> str:
    with pytest.raises(SystemExit) as end:
        start([name, '--help'])
    assert not end.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize('name', WRITTEN)
def test_the_help_of_a_command_fits_a_screen_and_ends_with_an_example(name, monkeypatch, capsys):
    monkeypatch.setenv('COLUMNS', '80')
    shown = help_of(name, capsys)
    assert shown.startswith(f'usage: damamba {name} ')
    lines = shown.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 80
    *_, above, example = re.split(r'^(example:)\n', shown, flags=re.MULTILINE)
    assert above == 'example:' and shlex.split(example.replace('\\\n', ' '))[:2] == ['damamba', name]


@pytest.mark.parametrize('name', WRITTEN)
def test_the_example_of_a_command_is_understood_and_its_usage_names_what_it_needs(name, monkeypatch, capsys):
    import argparse

    class ParsedError(Exception):
        pass

    def parse(self, args=None, namespace=None):
        if self.prog == f'damamba {name}':
            raise ParsedError(self, original(self, args, namespace))
        return original(self, args, namespace)

    original = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse)
    with pytest.raises(ParsedError) as caught:
        start([name, *shlex.split(COMMANDS[name].example.replace('\\\n', ' '))])
    parser = caught.value.args[0]
    needed = [it for it in parser._actions if it.required]
    usage = parser.format_usage().lower()
    assert all((it.option_strings or [it.metavar or it.dest])[-1].lower() in usage for it in needed)


def test_a_script_s_help_names_the_script():
    done = subprocess.run([sys.executable, 'tools/report.py', '--help'], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith('usage: tools/report.py ')
    assert done.stdout.endswith('  python tools/report.py work_dirs/first work_dirs/second --out report\n')


@pytest.mark.parametrize('args', [[], ['--help'], ['-h'], ['help']])
def test_the_commands_are_listed_on_one_screen(args, capsys):
    assert start(args) == (0 if args else 2)
    out, err = capsys.readouterr()
    shown = out if args else err
    lines = shown.splitlines()
    assert not (err if args else out) and len(lines) <= 28 and max(map(len, lines)) <= 80
    assert all(f'\n  {name} ' in shown for name in COMMANDS) and ' check ' not in shown


def test_the_list_and_the_version_load_next_to_nothing():
    code = (
        'import sys, json, damamba.__main__ as it; it.run(["--help"]); it.run(["--version"]); '
        'sys.stderr.write(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1])) - set(sys.stdlib_module_names)
    assert not loaded & {'torch', 'numpy', 'mmengine', 'mmdet', 'mmcv', 'rich'}
    assert re.fullmatch(r'damamba \d+\.\d+\.\d+\S*', done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ('typed', 'hint'),
    [('trian', 'is damamba train meant?'), ('eval_resluts', 'is damamba eval-results meant?'), ('--zzz', '--help')],
)
def test_an_unknown_command_gets_the_nearest_one(typed, hint):
    done = run(typed)
    assert (done.returncode, done.stdout) == (2, '')
    assert len(done.stderr.splitlines()) == 1 and typed in done.stderr and hint in done.stderr


def test_a_command_may_have_hyphens_or_underscores_and_an_older_name():
    assert module_of('eval-results') == module_of('eval_results') == 'damamba.cli.eval_results'
    assert module_of('check') == 'damamba.cli.doctor'


def test_the_exit_status_is_the_commands_own(tmp_path):
    assert run('publish_model', str(tmp_path / 'nothing.pth'), str(tmp_path / 'out.pth')).returncode == 1
