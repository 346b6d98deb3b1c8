"""What stands around the package: its wheels, the ranges in setup.py, the pins of requirements.txt, the Makefile."""

import base64
import hashlib
import os
import runpy
import shutil
import subprocess
import sys
from importlib import metadata
from zipfile import ZipFile

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import damamba
from tests.detection import ROOT

START_UP = 'damamba-mmcv-ops.pth'
PYTHONS = ['3.10', '3.11', '3.12', '3.13', '3.14']


@pytest.fixture(scope='module')
def wheels(tmp_path_factory):
    """A wheel and an editable one, built in a copy of what the package is made of."""
    copy, out = tmp_path_factory.mktemp('checkout'), tmp_path_factory.mktemp('dist')
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, copy)
    for name in ('damamba', 'configs'):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    built = {}
    for kind in ('wheel', 'editable'):
        code = f'from setuptools import build_meta; print(build_meta.build_{kind}({str(out / kind)!r}))'
        (out / kind).mkdir()
        command = [sys.executable, '-c', code]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        built[kind] = out / kind / done.stdout.splitlines()[-1]
    return built


@pytest.mark.parametrize('kind', ['wheel', 'editable'])
def test_a_wheel_brings_the_line_that_python_runs_when_it_starts(wheels, kind):
    with ZipFile(wheels[kind]) as wheel:
        line = wheel.read(START_UP)
        (record,) = [name for name in wheel.namelist() if name.endswith('/RECORD')]
        rows = [row.split(',') for row in wheel.read(record).decode().splitlines()]
        assert sorted(name for name, *_ in rows) == sorted(wheel.namelist())
    digest = base64.urlsafe_b64encode(hashlib.sha256(line).digest()).rstrip(b'=').decode()
    assert [START_UP, f'sha256={digest}', str(len(line))] in rows
    assert line.startswith(b'import ') and line.count(b'\n') == 1  # else Python would not run it
    compile(line, START_UP, 'exec')


def test_a_wheel_has_every_file_of_the_package_and_the_configs(wheels):
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'damamba').rglob('*') if path.is_file()}
    files |= {f'damamba/.mim/{path.relative_to(ROOT).as_posix()}' for path in (ROOT / 'configs').rglob('*.py')}
    with ZipFile(wheels['wheel']) as wheel:
        found = set(wheel.namelist())
    assert {name for name in files if '__pycache__' not in name} == {name for name in found if name[:8] == 'damamba/'}


@pytest.fixture
def settings(monkeypatch):
    """What setup.py tells setuptools."""
    told = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **given: told.update(given))
    runpy.run_path(str(ROOT / 'setup.py'))
    return told


def read_requirements() -> list[Requirement]:
    lines = (line.split('#')[0].strip() for line in (ROOT / 'requirements.txt').read_text().splitlines())
    return [Requirement(line) for line in lines if '==' in line]


def pins_for(python: str) -> dict[str, str]:
    """{'torch': '2.11.0', ...} for a Python."""
    chosen = [it for it in read_requirements() if not it.marker or it.marker.evaluate({'python_version': python})]
    pins = {it.name: str(it.specifier).removeprefix('==') for it in chosen}
    assert len(pins) == len(chosen), 'a package is pinned twice'
    return pins


@pytest.mark.parametrize('python', PYTHONS)
def test_the_tested_versions_lie_in_the_ranges_of_the_package(settings, python):
    pins, extras = pins_for(python), settings['extras_require']
    parts = extras['detection'] + extras['tuning'] + extras['serving'] + extras['dev']
    ranges = [Requirement(text) for text in settings['install_requires'] + parts]
    assert [it for it in ranges if pins[it.name] not in it.specifier] == []
    assert extras['all'] == parts
    assert f'{python}.0' in SpecifierSet(settings['python_requires'])
    assert f'Programming Language :: Python :: {python}' in settings['classifiers']


def test_every_pinned_package_takes_every_python_that_has_its_version():
    here = '{}.{}'.format(*sys.version_info)
    for name, version in pins_for(here).items():
        wanted = SpecifierSet(metadata.metadata(name).get('Requires-Python') or '>=3')
        pythons = [python for python in PYTHONS if pins_for(python).get(name) == version]
        assert [python for python in pythons if f'{python}.0' not in wanted] == [], name


def test_one_opencv_is_asked_for_and_an_empty_package_stands_for_the_other(monkeypatch):
    lines = (ROOT / 'requirements.txt').read_text().splitlines()
    assert {it.name for it in read_requirements() if 'opencv' in it.name} == {'opencv-python-headless'}
    (folder,) = [line.split('#')[0].strip() for line in lines if line.startswith('./')]
    told = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **given: told.update(given))
    runpy.run_path(str(ROOT / folder / 'setup.py'))
    assert (told['name'], told['py_modules']) == ('opencv-python', [])
    assert told['version'].endswith('+headless') and 'opencv-python-headless' in told['install_requires'][0]


def test_the_package_has_the_version_of_its_module_and_a_command(settings):
    assert settings['version'] == damamba.__version__
    assert settings['entry_points'] == {'console_scripts': ['damamba = damamba.__main__:main']}


# The Makefile --------------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.skipif(not shutil.which('make'), reason='no make')


def make(*arguments, first='', **env):
    """The commands that make would run in a checkout without an environment, on its own: tests may run under make."""
    command = [shutil.which('make'), '-n', 'VENV=/nowhere/venv', *arguments]
    outer = {
        name: value for name, value in os.environ.items() if 'MAKE' not in name and name != 'MFLAGS'
    }  # make test's
    env = {**outer, 'PATH': f'{first}:/usr/bin:/bin', **env}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True).stdout


def test_make_passes_over_a_python_that_does_not_run(tmp_path):
    for name, text in {'python3': 'exit 127', 'python3.12': f'exec {sys.executable} "$@"'}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\n{text}\n')
        (tmp_path / name).chmod(0o755)
    assert make('install', first=str(tmp_path)).splitlines()[0].endswith('|| python3.12 -m venv /nowhere/venv')


@pytest.mark.parametrize(
    ('target', 'command'),
    [('test', 'pytest -n auto '), ('e2e', 'pytest -n auto '), ('lint', 'ruff format --check .')],
)
def test_make_installs_before_it_runs_anything_else(target, command):
    lines = make(target, 'PYTHON=python3').splitlines()
    assert lines[0].endswith('|| python3 -m venv /nowhere/venv')
    assert f'/nowhere/venv/bin/python -m {command}' in lines[-1]


def test_make_takes_torch_from_another_index_and_the_rest_from_the_usual_one():
    pip = '/nowhere/venv/bin/python -m pip install'
    lines = [line.strip() for line in make('install', TORCH_INDEX='https://an.index/cpu').splitlines()]
    pins = pins_for('3.12')
    torch = f'torch=={pins["torch"]} torchvision=={pins["torchvision"]}'
    assert f'{pip} --force-reinstall --index-url https://an.index/cpu {torch}' in lines
    assert lines.index(f'{pip} -r requirements.txt') > 0
