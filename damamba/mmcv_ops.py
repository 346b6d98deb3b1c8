"""The operators that onedl-mmcv compiles: are they there, and what to run if not.

onedl-mmcv compiles `mmcv._ext` against the torch that is installed at that moment, and leaves it out without a word
when there is none. Only the standard library is imported here before it is needed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import PathFinder

TESTED_MMCV = '2.3.6'


def rebuild_command() -> str:
    """The command that compiles the tested onedl-mmcv again, against the torch of this interpreter."""
    options = '--no-build-isolation --no-cache-dir --force-reinstall --no-deps'
    return f'{sys.executable} -m pip install {options} onedl-mmcv=={TESTED_MMCV}'


def mend(what: str) -> str:
    """The one sentence about onedl-mmcv's operators: `what` is wrong, and how it is mended."""
    return f'{what}: run `make install` in a checkout of DAMamba or, once torch is installed, `{rebuild_command()}`'


def require_mmcv_ops() -> None:
    """Import `mmcv._ext`; an ImportError says in one sentence what is wrong and what to run."""
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError(mend('onedl-mmcv is not installed'))
    if importlib.util.find_spec('mmcv._ext') is None:
        raise ImportError(mend('mmcv was installed without its compiled operators (mmcv._ext)'))
    try:
        importlib.import_module('torch')
        importlib.import_module('mmcv._ext')
    except ImportError as error:
        what = f"mmcv's operators do not load, most likely because they were compiled for another torch ({error})"
        raise ImportError(mend(what)) from error


def compiled_for() -> str | None:
    """'cpu' or 'cuda', what mmcv's operators were compiled for; None if there are none that load with this torch."""
    package = importlib.util.find_spec('mmcv')
    spec = package and PathFinder.find_spec('mmcv._ext', package.submodule_search_locations)
    if not spec:
        return None
    importlib.import_module('torch')
    try:
        operators = importlib.util.module_from_spec(spec)
    except ImportError:  # undefined symbol: compiled for another torch
        return None
    spec.loader.exec_module(operators)
    return 'cpu' if operators.get_compiling_cuda_version() == 'not available' else 'cuda'
