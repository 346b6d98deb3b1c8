"""What Triton's kernels need: how they are compiled, and on what they run."""

import functools
import inspect

import torch
from torch import Tensor

try:
    import triton
except ImportError:
    triton = None

CAPABILITY = (8, 0)  # Ampere
# What differs from call to call: nothing is compiled anew because one of these is 1, a multiple of 16, aligned.
VARYING = {
    *('H', 'W', 'G'),
    *('B', 'B_batch', 'B_time', 'C', 'C_batch', 'C_time'),
    *('length', 'chunks', 'rows', 'blocks', 'marks', 'parts', 'size', 'stride'),
}


def jit(kernel):
    """Compile a kernel with Triton, where it is installed; else nobody calls it."""
    varying = [name for name in inspect.signature(kernel).parameters if name in VARYING]
    return triton.jit(kernel, do_not_specialize=varying) if triton else kernel


def interpreted() -> bool:
    """Whether kernels defined now will run in Triton's interpreter, on any device."""
    return triton is not None and triton.knobs.runtime.interpret


def why_not(tensor: Tensor, in_interpreter: bool) -> str | None:
    """Say why kernels can't run on this tensor, or return None."""
    if triton is None:
        return 'Triton is not installed'
    if tensor.dtype == torch.float64:
        return 'it computes in float32, and the arguments are float64'
    if in_interpreter:
        return None
    if not tensor.is_cuda:
        return f'it needs an NVIDIA GPU, and the arguments are on {tensor.device.type}'
    if _capability(tensor.device.index) < CAPABILITY:
        return 'it needs a GPU of compute capability {}.{} or later'.format(*CAPABILITY)
    return None


@functools.cache
def _capability(device: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)
