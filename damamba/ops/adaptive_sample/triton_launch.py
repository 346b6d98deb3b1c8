"""What the kernels of :mod:`damamba.ops.adaptive_sample.triton_kernels` are launched with. Letters as there."""

import torch
from torch import Tensor

from damamba.ops import triton_needs
from damamba.ops.adaptive_sample import triton_kernels as kernels

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
    """The gradients of x and offset; the same bits every time if torch is to use deterministic algorithms."""
    doffset = torch.empty(offset.shape, dtype=offset.dtype, device=offset.device)
    dx = None
    if not torch.are_deterministic_algorithms_enabled():
        dx = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    grads, pixels, shifts = _by_pixel(dy), _by_pixel(x), offset.contiguous()
    steps = grads.stride(0), pixels.stride(0)
    _launch(kernels._backward_kernel, x, offset, _span(x, offset), doffset, dx, grads, pixels, shifts, *steps)
    return _gather(grads, x, shifts) if dx is None else dx.to(x.dtype), doffset


def _gather(grads: Tensor, x: Tensor, offset: Tensor) -> Tensor:
    """The gradient of x without atomics: sort the samples by cell, let each pixel add up those around it."""
    batch, height, width, _ = x.shape
    groups = offset.shape[3] // 2
    outside = batch * groups * (height + 1) * (width + 1)  # one more than the last cell
    numbers = torch.int32 if outside < 2**31 else torch.int64
    cells = torch.empty(offset.numel() // 2, dtype=numbers, device=x.device)
    positions = torch.empty(offset.shape, dtype=torch.float32, device=x.device)
    _launch(kernels._cells_kernel, x, offset, None, cells, positions, offset, outside, tile=256)
    cells, order = cells.sort(stable=True)
    starts = torch.searchsorted(cells, torch.arange(outside + 1, dtype=numbers, device=x.device))
    pixels = order.div_(groups, rounding_mode='floor')
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    tensors = dx, grads, positions, pixels, starts
    _launch(kernels._gather_kernel, x, offset, _span(x, offset), *tensors, grads.stride(0), tile=256)
    return dx


def _by_pixel(value: Tensor) -> Tensor:
    """View (B, H, W, C) as (B*H*W, C) with the channels side by side; copy where the strides don't allow it."""
    table = value.flatten(0, 2)
    return table if table.stride(1) == 1 else table.contiguous()


def _span(x: Tensor, offset: Tensor) -> int:
    """The channels of a group, rounded up to a power of two."""
    return kernels.triton.next_power_of_2(x.shape[3] * 2 // offset.shape[3])


def _launch(kernel, x: Tensor, offset: Tensor, span: int | None, *args, tile: int = 1024) -> None:
    """Run a kernel on all pairs, in tiles of this many elements, `span` channels wide; none: it reads no channels."""
    batch, height, width, channels = x.shape
    groups = offset.shape[3] // 2
    constants = {'PAIRS': max(1, tile // (span or 1))}
    if span is not None:
        constants.update(D=channels // groups, SPAN=span)
    programs = batch * height * kernels.triton.cdiv(width * groups, constants['PAIRS'])
    warps = min(max(constants['PAIRS'] * (span or 1) // 256, 1), 32)
    with torch.cuda.device_of(x):  # nothing on the CPU
        kernel[(programs,)](*args, height, width, groups, **constants, num_warps=warps)
