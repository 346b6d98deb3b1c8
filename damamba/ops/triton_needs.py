"""What Triton's kernels need."""

import functools

import torch
from torch import Tensor

try:
    import triton
except ImportError:
    triton = None

CAPABILITY = (8, 0)  # Ampere


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
