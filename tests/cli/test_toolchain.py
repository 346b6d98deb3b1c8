"""What compiles onedl-mmcv: each problem is one sentence with the command that mends it."""

import pytest

from damamba.cli import toolchain
from damamba.cli.toolchain import compiler_problem, find_compiler, find_cuda, nvcc_problem, python_problem, venv_problem

CPU = 'https://download.pytorch.org/whl/cpu'


def program(folder, name, text='exit 0'):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return path


def toolkit(home, release, header=True):
    program(home / 'bin', 'nvcc', f'echo "Cuda compilation tools, release {release}, V{release}.93"')
    if header:
        (home / 'include').mkdir()
        (home / 'include' / 'cuda_runtime.h').touch()
    return home


@pytest.mark.parametrize('version', [(3, 10), (3, 11), (3, 12)])
def test_three_pythons_are_good(version):
    assert python_problem(version, 'python3') is None


@pytest.mark.parametrize('version', [(2, 7), (3, 9), (3, 13)])
def test_another_python_is_named_with_the_command_that_takes_a_good_one(version):
    problem = python_problem(version, '/usr/bin/python3')
    assert f'/usr/bin/python3 is Python {version[0]}.{version[1]}' in problem
    assert '`make install PYTHON=python3.12`' in problem


def test_a_python_without_ensurepip_or_headers_names_its_package(tmp_path):
    assert '`sudo apt-get install python3.11-venv`' in venv_problem((3, 11), False, str(tmp_path))
    assert '`sudo apt-get install python3.11-dev`' in venv_problem((3, 11), True, str(tmp_path))
    (tmp_path / 'Python.h').touch()
    assert venv_problem((3, 11), True, str(tmp_path)) is None


def test_the_compiler_is_the_one_that_is_asked_for_or_the_first_there_is(tmp_path):
    env = {'PATH': str(tmp_path)}
    assert find_compiler(env) is None
    program(tmp_path, 'clang++')
    assert find_compiler(env) == 'clang++'
    program(tmp_path, 'ccache')
    assert find_compiler({**env, 'CXX': 'ccache clang++'}) == 'ccache clang++'


def test_a_missing_compiler_is_one_sentence(tmp_path):
    env = {'PATH': str(tmp_path)}
    assert 'there is no c++, g++ or clang++: run `sudo apt-get install g++`' in compiler_problem(env)
    assert 'CXX=icpc is not there' in compiler_problem({**env, 'CXX': 'icpc'})


def test_the_nvcc_of_torchs_cuda_is_no_problem():
    assert nvcc_problem('13.0', '13.0') is None


def test_a_missing_nvcc_names_the_toolkit_to_install_and_the_torch_without():
    problem = nvcc_problem('13.0', None)
    assert 'there is no nvcc (in CUDA_HOME if it is set, else on PATH or in /usr/local/cuda): run `sudo apt' in problem
    assert '`sudo apt-get install cuda-toolkit-13-0`' in problem
    assert problem.endswith(f'or take a torch for the CPU only: `make install TORCH_INDEX={CPU}`.')


def test_another_nvcc_names_the_torch_that_is_built_for_it():
    problem = nvcc_problem('13.0', '12.8')
    assert 'the nvcc here is of CUDA 12.8' in problem
    assert problem.endswith('`make install TORCH_INDEX=https://download.pytorch.org/whl/cu128`.')


def test_an_nvcc_that_no_torch_is_built_for_names_the_torch_for_the_cpu():
    assert nvcc_problem('13.0', '11.4').endswith(f'`make install TORCH_INDEX={CPU}`.')
    assert nvcc_problem('13.0', '13.2').endswith(f'`make install TORCH_INDEX={CPU}`.')


def test_cuda_operators_cannot_be_forced_with_a_torch_without_cuda():
    problem = nvcc_problem(None, None)
    assert problem.endswith('`make install TORCH_INDEX=https://download.pytorch.org/whl/cu130`, or unset FORCE_CUDA.')


def test_cuda_home_goes_before_path(tmp_path):
    asked, other = toolkit(tmp_path / 'asked', '12.8'), toolkit(tmp_path / 'other', '13.0')
    env = {'CUDA_HOME': str(asked), 'PATH': f'{other / "bin"}:/usr/bin:/bin'}
    assert find_cuda(env, '13.0') == (asked, '12.8')
    assert find_cuda({'PATH': env['PATH']}, '13.0') == (other, '13.0')


def test_without_any_nvcc_nothing_is_found(tmp_path):
    assert find_cuda({'CUDA_HOME': str(tmp_path)}, '13.0') == (None, None)


def test_a_toolkit_with_headers_goes_before_a_wrapper_without(tmp_path, monkeypatch):
    wrapper, whole = toolkit(tmp_path / 'local', '13.0', header=False), toolkit(tmp_path / 'cuda', '13.0')
    monkeypatch.setattr(toolchain, 'USUAL_CUDA', str(whole))
    assert find_cuda({'PATH': f'{wrapper / "bin"}:/usr/bin:/bin'}, '13.0') == (whole, '13.0')


def test_an_nvcc_that_does_not_run_counts_as_none(tmp_path):
    program(tmp_path / 'bin', 'nvcc', 'exit 1')
    assert find_cuda({'CUDA_HOME': str(tmp_path)}, '13.0') == (None, None)
