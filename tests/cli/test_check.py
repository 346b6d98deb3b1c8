"""The check of an environment: what it prints, and the command that each problem names."""

import re
import sys
from types import SimpleNamespace

import pytest
import torch

from damamba.cli import check
from tests.detection import ROOT

pytest.importorskip('mmcv', reason='the check imports what it checks')


def installed(monkeypatch, **versions):
    found = {name.replace('_', '-'): [SimpleNamespace(version=version)] for name, version in versions.items()}
    monkeypatch.setattr(check.metadata, 'distributions', lambda name: found.get(name, []))


def test_a_working_environment_prints_its_versions_and_ends_well(capsys):
    assert check.main([]) == 0
    shown = capsys.readouterr().out
    assert all(f'\n{name} ' in shown for name in check.PACKAGES)
    assert shown.endswith('All of it works.\n')


def test_one_opencv_is_good_beside_the_empty_one(monkeypatch):
    (empty,) = re.findall(r"version='(.+)'", (ROOT / 'tools/opencv_python/setup.py').read_text())
    installed(monkeypatch, opencv_python_headless='4.12.0.88', opencv_python=empty)
    assert check.check_opencv() == []


def test_two_opencvs_are_named_with_the_command_that_leaves_one(monkeypatch):
    installed(monkeypatch, opencv_python_headless='4.12.0.88', opencv_python='4.12.0.88')
    (problem,) = check.check_opencv()
    assert problem.startswith('2 OpenCVs are installed (opencv-python, opencv-python-headless)')
    assert f'{sys.executable} -m pip uninstall -y opencv-python opencv-contrib-python' in problem
    assert "--no-deps --force-reinstall 'opencv-python-headless<4.13'`" in problem


def test_no_opencv_is_a_problem(monkeypatch):
    installed(monkeypatch)
    assert check.check_opencv()[0].startswith('no OpenCV is installed')


def test_the_operators_give_the_answers_known_by_hand():
    assert check.check_operators('cpu') == []


def test_a_wrong_answer_names_the_operator_and_the_command(monkeypatch):
    monkeypatch.setattr(check, 'nms_answer', lambda device: [0, 1, 2])
    (problem,) = check.check_operators('cpu')
    assert problem == f'nms of mmcv gives a wrong answer on cpu tensors: run `{check.mmcv_command()}`.'


def test_operators_that_do_not_run_on_a_device_are_named_with_the_command(monkeypatch):
    def fail(device):
        raise RuntimeError(f'nms_impl: implementation for device {device}:0 not found.\nlong trace')

    monkeypatch.setattr(check, 'nms_answer', fail)
    (problem,) = check.check_operators('cuda')
    assert 'do not run on cuda tensors (nms_impl: implementation for device cuda:0 not found.)' in problem
    assert problem.endswith('--no-deps --force-reinstall --no-cache-dir onedl-mmcv==2.3.6`.')


def test_a_package_that_does_not_import_is_a_problem_and_not_a_traceback(monkeypatch, capsys):
    def importing(name):
        raise ImportError('libGL.so.1: cannot open shared object file')

    monkeypatch.setattr(check.importlib, 'import_module', importing)
    assert check.main([]) == 1
    shown = capsys.readouterr().out
    assert 'cv2 does not import (libGL.so.1: cannot open shared object file): run `' in shown
    assert '-m pip uninstall -y opencv-python' in shown
    reason, command = 'libGL.so.1: cannot open shared object file', f'{check.PIP} install -r requirements.txt'
    assert f'torch does not import ({reason}): run `{command}`.' in shown


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_the_operators_run_on_the_gpu():
    assert check.check_operators('cuda') == []
