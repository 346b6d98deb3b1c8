"""What the doctor finds, and the command that it names for each problem."""

import json
import re
import sys
from types import SimpleNamespace

import pytest
import torch

from damamba.cli import doctor
from damamba.doctor import PIP, machine, operators, packages
from tests.detection import ROOT

pytest.importorskip('mmcv', reason='the doctor imports what it looks at')


def installed(monkeypatch, **versions):
    found = {name.replace('_', '-'): [SimpleNamespace(version=version)] for name, version in versions.items()}
    monkeypatch.setattr(packages.metadata, 'distributions', lambda name: found.get(name, []))


def test_a_working_environment_is_told_in_full_as_text_and_as_json(capfd):
    assert doctor.main([]) == 0
    shown = capfd.readouterr().out
    assert all(f'\n  {name} ' in shown for name in packages.PACKAGES) and shown.endswith('All of it works.\n')
    assert doctor.main(['--json']) == 0
    told = json.loads(capfd.readouterr().out)  # nothing else is printed
    assert told.pop('works') and not any(it['broken'] for it in told.pop('problems'))
    for title, rows in told.items():
        assert f'{title}\n' in shown and all(f'\n  {name} ' in shown for name in rows)
    assert told['Versions']['torch'] == torch.__version__
    assert told["DAMamba's operators"]['numba on cpu'] == 'runs, and is taken'
    assert told["DAMamba's operators"]['triton on cpu'].startswith("can't run: it needs an NVIDIA GPU")


# OpenCV and packages.


def test_one_opencv_is_good_beside_the_empty_one(monkeypatch):
    (empty,) = re.findall(r"version='(.+)'", (ROOT / 'tools/opencv_python/setup.py').read_text())
    installed(monkeypatch, opencv_python_headless='4.12.0.88', opencv_python=empty)
    assert packages.look_at_opencv().problems == []


def test_two_opencvs_are_named_with_the_command_that_leaves_one(monkeypatch):
    installed(monkeypatch, opencv_python_headless='4.12.0.88', opencv_python='4.12.0.88')
    (problem,) = packages.look_at_opencv().problems
    assert problem.what.startswith('2 OpenCVs are installed (opencv-python, opencv-python-headless)')
    assert problem.command.startswith(f'{sys.executable} -m pip uninstall -y opencv-python opencv-contrib-python')
    assert problem.command.endswith("--no-deps --force-reinstall 'opencv-python-headless<4.13'")


def test_no_opencv_is_a_problem(monkeypatch):
    installed(monkeypatch)
    assert packages.look_at_opencv().problems[0].what.startswith('no OpenCV is installed')


def test_a_package_that_does_not_import_is_a_problem_and_not_a_traceback(monkeypatch, capsys):
    def importing(name):
        raise ImportError('libGL.so.1: cannot open shared object file')

    monkeypatch.setattr(packages.importlib, 'import_module', importing)
    assert doctor.main([]) == 1
    shown = capsys.readouterr().out
    assert 'broken: cv2 does not import (libGL.so.1: cannot open shared object file): run `' in shown
    assert '-m pip uninstall -y opencv-python' in shown and 'All of it works' not in shown
    reason = 'libGL.so.1: cannot open shared object file'
    assert f'torch does not import ({reason}): run `{PIP} install -r requirements.txt`.' in shown


# Operators.


def test_the_operators_of_mmcv_give_the_answers_known_by_hand(device):
    assert operators.check_mmcv(device) == []


def test_a_wrong_answer_names_the_operator_and_the_command(monkeypatch):
    monkeypatch.setattr(operators, 'nms_answer', lambda device: [0, 1, 2])
    found = operators.look_at_mmcv()
    assert f'{found.problems[0]}' == (
        f'nms of mmcv gives a wrong answer on cpu tensors: run `{operators.mmcv_command()}`.'
    )
    assert found.rows['cpu'] == 'see below'


def test_operators_that_do_not_run_on_a_device_are_named_with_the_command(monkeypatch):
    def fail(device):
        raise RuntimeError(f'nms_impl: implementation for device {device}:0 not found.\nlong trace')

    monkeypatch.setattr(operators, 'nms_answer', fail)
    (problem,) = operators.check_mmcv('cuda')
    assert 'do not run on cuda tensors (nms_impl: implementation for device cuda:0 not found.)' in problem.what
    assert problem.command.endswith('--no-deps --force-reinstall --no-cache-dir onedl-mmcv==2.3.6')


def test_a_backend_that_is_asked_for_and_can_not_run_is_a_problem(monkeypatch):
    monkeypatch.setenv('DAMAMBA_BACKEND', 'nothing')
    problems = operators.look_at_backends().problems
    assert all("DAMAMBA_BACKEND='nothing' is unknown" in it.what and it.broken for it in problems)
    assert problems[0].command == 'unset DAMAMBA_BACKEND'


def test_a_kernel_that_is_wrong_or_does_not_compile_is_a_problem(monkeypatch):
    from damamba.ops.adaptive_sample import numba_launch as sampling
    from damamba.ops.selective_scan import numba_launch as scanning

    def fail(*inputs):
        raise OSError('no compiler')

    monkeypatch.setattr(sampling, 'forward', lambda x, offset: x + 1)
    monkeypatch.setattr(scanning, 'forward', fail)
    wrong, broken = operators.look_at_backends().problems[:2]
    assert f'{wrong}' == (
        'adaptive_sample gives a wrong answer on cpu tensors: run `export DAMAMBA_BACKEND=vectorized`.'
    )
    assert 'selective_scan does not run on cpu tensors (no compiler)' in broken.what


def test_without_numba_the_cpu_is_slow_and_nothing_is_broken(monkeypatch):
    from damamba.ops.cpu import threads

    monkeypatch.setattr(threads, '_without_numba', lambda: 'Numba is not installed')
    found = operators.look_at_backends()
    assert found.rows['numba on cpu'] == "can't run: Numba is not installed"
    assert found.rows['vectorized on cpu'] == 'runs, and is taken'
    (problem,) = found.problems
    assert not problem.broken and problem.command == f'{PIP} install numba'


# The machine.


def test_more_threads_than_the_container_may_use_are_named(monkeypatch, tmp_path):
    (tmp_path / 'cpu.max').write_text('100000 100000\n')
    monkeypatch.setattr(machine, 'CGROUP', tmp_path)
    monkeypatch.setattr(machine.os, 'getloadavg', lambda: (9.0, 9.0, 9.0))
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)
    for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'):
        monkeypatch.delenv(name, raising=False)
    threads, busy = machine.look_at_threads().problems
    assert f'{threads}' == 'torch runs 2 threads on 1 cores: run `export OMP_NUM_THREADS=1`.'
    assert busy.command == 'export GOMP_SPINCOUNT=10000' and not busy.broken
    monkeypatch.setenv('OMP_WAIT_POLICY', 'passive')
    found = machine.look_at_threads()
    assert found.problems == [threads] and 'soon sleep' in found.rows['waiting']


@pytest.mark.parametrize(('files', 'cores'), [({'cpu.max': 'max 100000'}, None), ({}, None), ('old', 1.5)])
def test_the_limit_of_a_container_is_read_in_both_versions(monkeypatch, tmp_path, files, cores):
    monkeypatch.setattr(machine, 'CGROUP', tmp_path)
    (tmp_path / 'cpu').mkdir()
    old = {'cpu/cpu.cfs_quota_us': '150000', 'cpu/cpu.cfs_period_us': '100000'}
    for name, text in (old if files == 'old' else files).items():
        (tmp_path / name).write_text(text)
    assert machine._quota() == cores


def test_too_little_space_is_named_with_what_needs_it(monkeypatch):
    usage = SimpleNamespace(free=64 * 2**20, total=64 * 2**20)  # docker's /dev/shm
    monkeypatch.setattr(machine.shutil, 'disk_usage', lambda path: usage)
    problems = {it.what.split(' to ')[1].split(',')[0]: it for it in machine.look_at_disks().problems}
    assert '--shm-size' in problems['/dev/shm'].what and 'num_workers=0' in problems['/dev/shm'].command
    assert len(problems) == 5 and not any(it.broken for it in problems.values())


def test_a_driver_whose_gpu_torch_can_not_use_is_named(monkeypatch, tmp_path):
    (tmp_path / 'version').write_text('NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue\n')
    monkeypatch.setattr(machine, 'DRIVER', tmp_path / 'version')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    (problem,) = machine.look_at_devices().problems
    assert '(550.54.15)' in problem.what and '--index-url https://download.pytorch.org/whl/' in problem.command
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    assert machine.look_at_devices().problems == []
