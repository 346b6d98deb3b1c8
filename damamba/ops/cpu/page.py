"""A page of torch's memory, without which its SiLU, sigmoid and GELU are several times slower on some processors.

With AVX-512, torch's exponential (Sleef's) ends in a load of infinity that only arguments above 100 make: the others
are masked out. Where the page with that constant was not read before, AMD's Zen 4 takes hundreds of cycles to find out
that nobody wants it, each time, and does not bring it in. What lies around it may do so by chance: one process is slow
and the next is not. A forked process starts without the page.
"""

import torch
from torch import Tensor


def bring_in() -> Tensor:
    """Let exponentials overflow, once in a process; returns 1 / (1 + e^200) = 0."""
    return torch.full((64,), -200.0, dtype=torch.float32, device='cpu').sigmoid()
