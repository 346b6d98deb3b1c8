"""Numba's kernels on torch's own threads.

Threads of Numba's would wait for a core while torch's, idle but still spinning, hold it: on two cores that takes
longer than most kernels. Torch's CPU builds for Linux use GNU's OpenMP, whose entry for a parallel region takes the
address of any compiled function.
"""

import ctypes
import functools
import importlib.util
import os

import torch
from torch import Tensor

LIBRARY = 'libgomp.so.1'
WIDTH = 8  # numbers of float32 that a kernel computes at once: what AVX2 holds; wider ones hardly gain


@functools.cache
def _openmp() -> ctypes.CDLL | None:
    """The library that torch has loaded."""
    try:
        library = ctypes.CDLL(LIBRARY, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except (OSError, AttributeError):  # not loaded; not Linux
        return None
    library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    library.GOMP_parallel.restype = None
    return library


@torch.compiler.assume_constant_result
def missing() -> str | None:
    """What Numba's kernels lack here, or None."""
    if importlib.util.find_spec('numba') is None:
        return 'Numba is not installed'
    return None if _openmp() else f'torch does not use {LIBRARY} here'


def addresses() -> dict[str, int]:
    """The functions by which a kernel learns which of how many threads it runs on."""
    return {
        name: ctypes.cast(getattr(_openmp(), name), ctypes.c_void_p).value
        for name in ('omp_get_thread_num', 'omp_get_num_threads')
    }


def run(kernel, *arguments: Tensor | int) -> None:
    """Run a kernel of :mod:`damamba.ops.numba_entry` once on each thread.

    Args:
        arguments: contiguous float32 tensors, and numbers: what the kernel reads from its table, in this order.
    """
    values = [value.data_ptr() if isinstance(value, Tensor) else value for value in arguments]
    table = (ctypes.c_int64 * len(values))(*values)
    _openmp().GOMP_parallel(kernel.address, ctypes.addressof(table), torch.get_num_threads(), 0)
