"""What the kernels of :mod:`damamba.ops.adaptive_sample.triton_kernels` are launched with. Letters as there."""

import torch
from torch import Tensor

from damamba.ops import triton_needs
from damamba.ops.adaptive_sample import triton_kernels as kernels
from damamba.ops.adaptive_sample import vectorized

INTERPRETED = triton_needs.interpreted()


def why_not(x: Tensor, offset: Tensor) -> str | None:
    """Say why the kernels can't run these arguments, or return None."""
    return triton_needs.why_not(x, INTERPRETED)


def forward(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x (B, H, W, C) at offset (B, H, W, 2G)."""
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    pixels = _by_pixel(x)
    span = _span(x, offset)
    if x.element_size() == 2:
        span = max(min(span, 8), span // 2)  # in halves, for two 16-byte reads a thread from each address
    _launch(kernels._forward_kernel, x, offset, span, y, pixels, offset.contiguous(), pixels.stride(0))
    return y


def backward(dy: Tensor, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and offset; without atomics, and slower, if torch is to use deterministic algorithms."""
    if torch.are_deterministic_algorithms_enabled():
        return vectorized.backward(dy, x, offset)
    doffset = torch.empty(offset.shape, dtype=offset.dtype, device=offset.device)
    dx = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    grads, pixels, shifts = _by_pixel(dy), _by_pixel(x), offset.contiguous()
    steps = grads.stride(0), pixels.stride(0)
    _launch(kernels._backward_kernel, x, offset, _span(x, offset), doffset, dx, grads, pixels, shifts, *steps)
    return dx.to(x.dtype), doffset


def _by_pixel(value: Tensor) -> Tensor:
    """View (B, H, W, C) as (B*H*W, C) with the channels side by side; copy where the strides don't allow it."""
    table = value.flatten(0, 2)
    return table if table.stride(1) == 1 else table.contiguous()


def _span(x: Tensor, offset: Tensor) -> int:
    """The channels of a group, rounded up to a power of two."""
    return kernels.triton.next_power_of_2(x.shape[3] * 2 // offset.shape[3])


def _launch(kernel, x: Tensor, offset: Tensor, span: int, *args) -> None:
    """Run a kernel on all pairs, `span` channels at a time, in tiles of 1024 numbers."""
    batch, height, width, channels = x.shape
    groups, pairs = offset.shape[3] // 2, max(1, 1024 // span)
    programs = batch * height * kernels.triton.cdiv(width * groups, pairs)
    warps = min(max(pairs * span // 256, 1), 32)
    with torch.cuda.device_of(x):  # nothing on the CPU
        kernel[(programs,)](*args, height, width, groups, D=channels // groups, SPAN=span, PAIRS=pairs, num_warps=warps)
