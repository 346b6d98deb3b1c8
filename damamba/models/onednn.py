"""Torch's private operators that lead to oneDNN: whether they may be called."""

from functools import cache

import torch


def has(*operators: str) -> bool:
    """Whether oneDNN is on, and torch has a kernel for the CPU behind each of these names, 'mkldnn::...'."""
    return torch.backends.mkldnn.enabled and _has_kernels(operators)


@cache
def _has_kernels(operators: tuple[str, ...]) -> bool:
    try:
        return all(torch._C._dispatch_has_kernel_for_dispatch_key(name, 'CPU') for name in operators)
    except RuntimeError:  # torch has no such operators
        return False
