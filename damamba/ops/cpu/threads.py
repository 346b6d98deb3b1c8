"""Numba's kernels on torch's own threads.

Threads of Numba's would wait for a core while torch's, idle but still spinning, hold it: on two cores that takes
longer than most kernels. Torch's CPU builds for Linux use GNU's OpenMP, whose entry for a parallel region takes the
address of any compiled function.
"""

import ctypes
import functools
import importlib
import os

import torch
import torch.nn.functional as F
from torch import Tensor

LIBRARY = 'libgomp.so.1'
WIDTH = 8  # numbers of float32 that a kernel computes at once: what AVX2 holds; wider ones hardly gain


@functools.cache
def openmp() -> ctypes.CDLL | None:
    """The library that torch has loaded."""
    try:
        library = ctypes.CDLL(LIBRARY, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except (OSError, AttributeError):  # not loaded; not Linux
        return None
    library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    library.GOMP_parallel.restype = None
    return library


@functools.cache
def _without_numba() -> str | None:
    """Why Numba can't be loaded, or None; it may be there and refuse the NumPy beside it."""
    try:
        importlib.import_module('numba')
    except Exception as error:  # each version has its own
        absent = isinstance(error, ModuleNotFoundError) and error.name == 'numba'
        return 'Numba is not installed' if absent else f'Numba does not load: {error}'
    return None


def why_not(tensor: Tensor) -> str | None:
    """Say why kernels can't run on this tensor, or return None."""
    if not tensor.is_cpu:
        return f'it is for the CPU, and the arguments are on {tensor.device.type}'
    if tensor.dtype == torch.float64:
        return 'it computes in float32, and the arguments are float64'
    return _without_numba() or (None if openmp() else f'torch does not use {LIBRARY} here')


def empty(*shape: int) -> Tensor:
    """Memory for a kernel, whatever torch's default type and device are."""
    return torch.empty(shape, dtype=torch.float32, device='cpu')


def zeros(*shape: int) -> Tensor:
    """The same, filled with 0."""
    return torch.zeros(shape, dtype=torch.float32, device='cpu')


def dense(value: Tensor) -> Tensor:
    """It in contiguous float32: itself, where it is that."""
    return value if value.dtype == torch.float32 and value.is_contiguous() else value.float().contiguous()


def widen(value: Tensor, groups: int = 1) -> Tensor:
    """It in contiguous float32, with channels of zeros in each group up to a multiple of WIDTH."""
    more = -(value.shape[-1] // groups) % WIDTH
    return dense(F.pad(value.unflatten(-1, (groups, -1)), (0, more)).flatten(-2) if more else value)


def narrow(value: Tensor, model: Tensor, groups: int = 1) -> Tensor:
    """The channels of a model, in its dtype, and no view of another tensor."""
    if value.shape == model.shape:
        return value.to(model.dtype)
    result = model.new_empty(model.shape)
    by_group, depth = value.unflatten(-1, (groups, -1)), model.shape[-1] // groups
    result.unflatten(-1, (groups, -1)).copy_(by_group[..., :depth])
    return result


def team(pieces: int) -> int:
    """How many threads to run on: no more than there are pieces of work."""
    return max(min(torch.get_num_threads(), pieces), 1)


def run(kernel, threads: int, *arguments: Tensor | int) -> None:
    """Run a kernel of :mod:`damamba.ops.cpu.entry` once on each of this many threads, or of fewer if there are fewer.

    Args:
        arguments: contiguous float32 tensors, and numbers: what the kernel reads from its table, in this order.
    """
    table = (ctypes.c_int64 * len(arguments))(*map(_word, arguments))
    openmp().GOMP_parallel(kernel.address, ctypes.addressof(table), threads, 0)


def _word(value: Tensor | int) -> int:
    """What stands for an argument in the table: an address, or the number."""
    if not isinstance(value, Tensor):
        return value
    if value.dtype != torch.float32 or not value.is_cpu or not value.is_contiguous():
        how = f'{value.dtype} on {value.device}, strides {value.stride()} of {tuple(value.shape)}'
        raise TypeError(f'a kernel takes contiguous float32 on the CPU, got {how}')
    return value.data_ptr()
