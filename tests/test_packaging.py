"""What stands around the package: the guard in requirements.txt, the ranges in setup.py, the Makefile."""

import importlib.machinery
import os
import runpy
import shutil
import subprocess
import sys
import venv
from importlib import metadata

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import damamba
from damamba.cli.environment import ROOT, read_pins

SENTENCE = 'DAMamba: onedl-mmcv compiles against the torch that is already installed'
SETUPTOOLS = """
import ctypes
def load(name):
    if {missing!r} == name:
        raise OSError(name)
ctypes.CDLL = load
def setup(**settings):
    print('goes on')
"""


@pytest.fixture
def target(tmp_path):
    """An environment as pip's build isolation shows it, with torch and a compiled mmcv; a call runs the guard in it."""
    venv.create(tmp_path / 'venv', with_pip=False, symlinks=True)
    site = next((tmp_path / 'venv' / 'lib').glob('*/site-packages'))
    pins = read_pins((ROOT / 'requirements.txt').read_text(encoding='utf-8'))
    (site / f'{pins["torch"].replace("==", "-")}+cpu.dist-info').mkdir()
    (site / f'{pins["onedl-mmcv"].replace("==", "-").replace("onedl-", "onedl_")}.dist-info').mkdir()
    (site / 'mmcv').mkdir()
    (site / 'mmcv' / f'_ext{importlib.machinery.EXTENSION_SUFFIXES[0]}').touch()

    def guard(missing_library=''):
        (tmp_path / 'setuptools.py').write_text(SETUPTOOLS.format(missing=missing_library))
        command = [str(tmp_path / 'venv' / 'bin' / 'python'), '-B', str(ROOT / 'tools/require_mmcv/setup.py')]
        env = {**os.environ, 'PYTHONPATH': str(tmp_path), 'PYTHONUSERBASE': str(tmp_path / 'nobody')}
        return subprocess.run(command, env=env, capture_output=True, text=True)

    guard.site = site
    return guard


def assert_stops_in_one_sentence(answer):
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert SENTENCE in answer.stderr
    assert 'run `make install` instead' in answer.stderr


def test_requirements_go_on_where_mmcv_is_compiled_beside_the_tested_torch(target):
    answer = target()
    assert (answer.stdout, answer.returncode) == ('goes on\n', 0), answer.stderr


@pytest.mark.parametrize('pattern', ['mmcv/_ext.*', 'torch-*.dist-info', 'onedl_mmcv-*.dist-info'])
def test_requirements_stop_in_one_sentence_where_something_is_missing(target, pattern):
    path = next(target.site.glob(pattern))
    path.rename(path.with_name('gone'))
    assert_stops_in_one_sentence(target())


def test_requirements_stop_where_mmcv_is_compiled_beside_another_torch(target):
    next(target.site.glob('torch-*.dist-info')).rename(target.site / 'torch-2.10.0.dist-info')
    assert_stops_in_one_sentence(target())


def test_requirements_stop_where_the_second_opencv_would_not_load(target):
    assert_stops_in_one_sentence(target(missing_library='libGL.so.1'))


@pytest.fixture
def settings(monkeypatch):
    """What setup.py tells setuptools."""
    told = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **given: told.update(given))
    runpy.run_path(str(ROOT / 'setup.py'))
    return told


def test_the_tested_versions_lie_in_the_ranges_of_the_package(settings):
    pins = read_pins((ROOT / 'requirements.txt').read_text(encoding='utf-8'))
    extras = settings['extras_require']
    parts = extras['detection'] + extras['tuning'] + extras['dev']
    ranges = [Requirement(text) for text in settings['install_requires'] + parts]
    assert [it for it in ranges if pins[it.name].split('==')[1] not in it.specifier] == []
    assert extras['all'] == parts


def test_the_package_has_the_version_of_its_module_and_a_command(settings):
    assert settings['version'] == damamba.__version__
    assert settings['entry_points'] == {'console_scripts': ['damamba = damamba.__main__:main']}


def make(*arguments, **env):
    path = f'{env.pop("first", "")}:/usr/bin:/bin'
    command = [shutil.which('make'), '-n', *arguments]
    return subprocess.run(command, cwd=ROOT, env={'PATH': path, **env}, capture_output=True, text=True).stdout


@pytest.mark.skipif(not shutil.which('make'), reason='no make')
def test_make_passes_over_a_python_that_does_not_run(tmp_path):
    for name, text in {'python3': 'exit 127', 'python3.12': f'exec {sys.executable} "$@"'}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\n{text}\n')
        (tmp_path / name).chmod(0o755)
    assert make('install', first=str(tmp_path)).startswith("python3.12 -m damamba.cli.install --venv '.venv'")


@pytest.mark.skipif(not shutil.which('make'), reason='no make')
def test_make_test_and_lint_install_first():
    for target, command in {
        'test': 'pytest',
        'e2e': "pytest -m 'e2e and not long'",
        'lint': 'ruff format --check .',
    }.items():
        lines = make(target, 'PYTHON=python3').splitlines()
        assert lines[0].startswith('python3 -m damamba.cli.install')
        assert lines[-1].strip() == f'.venv/bin/python -m {command}'


@pytest.mark.skipif(not shutil.which('make'), reason='no make')
def test_make_passes_the_index_of_torch_on():
    assert "--torch-index 'https://an.index/cpu'" in make('install', TORCH_INDEX='https://an.index/cpu')


@pytest.mark.parametrize('python', ['3.10.0', '3.11.0', '3.12.0'])
def test_every_pinned_package_takes_every_python_that_the_readme_names(python):
    names = read_pins((ROOT / 'requirements.txt').read_text(encoding='utf-8'))
    wanted = {name: metadata.metadata(name).get('Requires-Python') or '>=3' for name in names}
    assert [name for name, spec in wanted.items() if not SpecifierSet(spec).contains(python)] == []
