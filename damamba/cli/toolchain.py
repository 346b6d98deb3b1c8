"""What compiles onedl-mmcv: Python with its headers, a C++ compiler, and nvcc where torch sees a GPU.

Each `..._problem` is None, or one sentence with the command that mends it. Only the standard library is imported, since
the set-up runs this before anything else is there.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

USUAL_CUDA = '/usr/local/cuda'
PYTORCH_INDEX = 'https://download.pytorch.org/whl/'
PYTORCH_CUDAS = ['12.6', '12.8', '13.0']  # of the tested torch


def python_problem(version: tuple[int, int], where: str, first: str = '') -> str | None:
    if (3, 10) <= version <= (3, 12):
        return None
    found = '.'.join(map(str, version))
    return (
        f'DAMamba needs Python 3.10, 3.11 or 3.12, and {where} is Python {found}: '
        f'run `{first}make install PYTHON=python3.12` (or 3.10, 3.11).'
    )


def venv_problem(version: tuple[int, int], has_ensurepip: bool, include: str) -> str | None:
    """Debian and Ubuntu keep what is asked here in packages of their own."""
    name = 'python{}.{}'.format(*version)
    if not has_ensurepip:
        return f'{name} cannot make virtual environments: run `sudo apt-get install {name}-venv`, then `make install`.'
    if not (Path(include) / 'Python.h').exists():
        return f"{name}'s C headers are missing: run `sudo apt-get install {name}-dev`, then `make install`."
    return None


def find_compiler(env: dict[str, str]) -> str | None:
    """The whole of $CXX, which may hold options, or the first compiler there is."""
    names = [env['CXX']] if env.get('CXX') else ['c++', 'g++', 'clang++']
    return next((name for name in names if shutil.which(shlex.split(name)[0], path=env.get('PATH'))), None)


def compiler_problem(env: dict[str, str]) -> str | None:
    if find_compiler(env):
        return None
    looked = f'CXX={env["CXX"]} is not there' if env.get('CXX') else 'there is no c++, g++ or clang++'
    return (
        f"onedl-mmcv's operators need a C++ compiler and {looked}: "
        'run `sudo apt-get install g++` (Fedora: `sudo dnf install gcc-c++`), then `make install`.'
    )


def nvcc_release(home: Path) -> str | None:
    nvcc = home / 'bin' / 'nvcc'
    if not nvcc.is_file():
        return None
    answer = subprocess.run([str(nvcc), '--version'], capture_output=True, text=True)
    found = re.search(r'release (\d+\.\d+)', answer.stdout)
    return found and found.group(1)


def find_cuda(env: dict[str, str], torch_cuda: str | None) -> tuple[Path | None, str | None]:
    """The CUDA toolkit to compile with and its nvcc's release: the first that is torch's, or else the first.

    The places are those of torch.utils.cpp_extension, and /usr/local/cuda-13.0 for a torch of CUDA 13.0.
    """
    asked = env.get('CUDA_HOME') or env.get('CUDA_PATH')
    nvcc = shutil.which('nvcc', path=env.get('PATH'))
    on_path = [str(Path(nvcc).parents[1])] if nvcc else []
    places = [asked] if asked else [*on_path, f'{USUAL_CUDA}-{torch_cuda}', USUAL_CUDA]
    found = [(Path(place), nvcc_release(Path(place))) for place in places]
    found = [(home, release) for home, release in found if release]
    fits = [(home, release) for home, release in found if release == torch_cuda]
    whole = [(home, release) for home, release in fits if (home / 'include' / 'cuda_runtime.h').exists()]
    return next(iter(whole or fits or found), (None, None))


def torch_for(cuda: str | None) -> str:
    """The argument of `make install` that brings the torch for an nvcc of this release, or for no GPU."""
    build = f'cu{cuda.replace(".", "")}' if cuda in PYTORCH_CUDAS else 'cpu'
    return f'TORCH_INDEX={PYTORCH_INDEX}{build}'


def nvcc_problem(torch_cuda: str | None, nvcc_release: str | None) -> str | None:
    """Why onedl-mmcv's CUDA operators could not be compiled, and the command that mends it."""
    if torch_cuda is None:
        return (
            'FORCE_CUDA=1 asks for CUDA operators, and this torch is built without CUDA: '
            f'run `make install {torch_for(nvcc_release or PYTORCH_CUDAS[-1])}`, or unset FORCE_CUDA.'
        )
    if nvcc_release == torch_cuda:
        return None
    here = 'there is no nvcc (in CUDA_HOME if it is set, else on PATH or in /usr/local/cuda)'
    if nvcc_release:
        here = f'the nvcc here is of CUDA {nvcc_release}'
    other = 'the torch of that nvcc' if nvcc_release in PYTORCH_CUDAS else 'a torch for the CPU only'
    return (
        f"onedl-mmcv's CUDA operators must be compiled by the nvcc of torch's CUDA, {torch_cuda}, and {here}: "
        f'run `sudo apt-get install cuda-toolkit-{torch_cuda.replace(".", "-")}` (from the repository that '
        'https://developer.nvidia.com/cuda-downloads describes), then `make install`; '
        f'or take {other}: `make install {torch_for(nvcc_release)}`.'
    )
