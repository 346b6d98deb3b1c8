"""Here Triton's kernels run on any machine: compiled on a GPU, else in Triton's interpreter."""

import pytest
import torch

from damamba.ops.adaptive_sample import triton_launch as sampling
from damamba.ops.selective_scan import triton_launch as scanning
from damamba.ops.triton_needs import triton


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    """Without a GPU, let the operators take Triton's interpreter."""
    if torch.cuda.is_available():
        return
    monkeypatch.setenv('TRITON_INTERPRET', '1')  # Triton asks again when it imports more of itself
    for module in (sampling, scanning):
        monkeypatch.setattr(module, 'INTERPRETED', True)
    if triton:
        from triton.runtime.interpreter import InterpretedFunction

        monkeypatch.setattr(InterpretedFunction, '__call__', _call)


_prepared = set()


def _call(function, *args, **kwargs):
    """Triton's way to call a function from a kernel, but that it prepares the language once, not at every call.

    That is a quarter of the interpreter's time.
    """
    from triton.runtime.interpreter import _patch_lang

    if (names := id(function.fn.__globals__)) not in _prepared:
        _patch_lang(function.fn)
        _prepared.add(names)
    return function.rewrite()(*args, **kwargs)
