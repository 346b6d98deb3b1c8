"""Pieces of work, shared among torch's own threads.

Torch runs each operator on all threads and waits for the last of them, several hundred times a forward. While another
process holds a core, every such wait takes as long as that core is away. Here a thread takes a whole strip of a map
through many operators, and who is faster takes more of them: there is one wait for all strips. A pool of Python's
threads would wait for cores on which torch's idle ones still spin.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from damamba.ops.cpu.threads import openmp

Piece = TypeVar('Piece')
_Work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def each(function: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
    """Call a function of every piece, without gradients: on all threads at once where there is a piece for each.

    Inside, an operator runs on the thread that called it. An error ends the work, and is raised here.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(pieces) < threads or openmp() is None or _is_watched():
        for piece in pieces:
            function(piece)
        return
    left, errors = iter(pieces), []
    inference = torch.is_inference_mode_enabled()  # torch keeps these for each thread
    autocast = dict(dtype=torch.get_autocast_dtype('cpu'), enabled=torch.is_autocast_enabled('cpu'))

    def work(_) -> None:
        try:
            with torch.inference_mode(inference), torch.autocast('cpu', **autocast), torch.no_grad():
                for piece in left:
                    function(piece)
        except BaseException as error:  # it can't cross C's frames
            errors.append(error)
            for _ in left:  # nothing more for the others
                pass

    call = _Work(work)
    openmp().GOMP_parallel(call, None, threads, 0)
    if errors:
        raise errors[0]


def _is_watched() -> bool:
    """Whether somebody looks on who would see the operators of one thread alone."""
    return is_in_torch_dispatch_mode() or torch.autograd._profiler_enabled()
