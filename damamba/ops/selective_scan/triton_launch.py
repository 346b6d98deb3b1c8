"""What the kernels of :mod:`damamba.ops.selective_scan.triton_kernels` are launched with.

L length, R rows (a row is one chunk of one sequence), K chunks of a sequence, N blocks of a chunk.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from damamba.ops import triton_needs
from damamba.ops.selective_scan import triton_kernels as kernels

INTERPRETED = triton_needs.interpreted()

STEPS = 8  # T; the backward keeps 6 values of each step in registers
TILE = 256  # lanes of a program: two neighbours for each of 128 threads, so that loads and sums come in pairs
LANES = 200_000  # at most; on 132 multiprocessors one wave of programs in the forward, two in the backward
SHORT = 64  # up to this length, phases 1 and 2 would take longer than they save
CARRIERS = 64  # lanes along the K chunks in phase 2


def why_not(u: Tensor, *others: Tensor) -> str | None:
    """Say why the kernels can't run these arguments, or return None."""
    return triton_needs.why_not(u, INTERPRETED)


class Plan(NamedTuple):
    """How a scan is divided."""

    chunks: int  # K
    rows: int  # R
    blocks: int  # N
    width: int  # WIDTH
    programs: tuple[int, int]  # along the rows, along the channels


def plan(u: Tensor) -> Plan:
    """Divide the scan of u (B, L, C) into LANES lanes, or fewer where a chunk would be shorter than two blocks."""
    batch, length, channels = u.shape
    blocks = _ceil(length, STEPS)
    chunks = 1 if length <= SHORT else _ceil(blocks, max(2, _ceil(u.numel(), LANES * STEPS)))
    width = 32 if channels % 32 == 0 else 16
    programs = _ceil(batch * chunks, TILE // width), _ceil(channels, width)
    return Plan(chunks, batch * chunks, _ceil(blocks, chunks), width, programs)


def _ceil(size: int, part: int) -> int:
    return -(-size // part)


def forward(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, dt_bias: Tensor) -> Tensor:
    """Scan; arguments as of :func:`damamba.ops.selective_scan`."""
    y = torch.empty_like(u, memory_format=torch.contiguous_format)
    if not u.numel():
        return y
    divided = plan(u)
    sums, ends, starts = _scratch(u, 3, 1, divided.rows, u.shape[2])
    A, D, dt_bias = (t.contiguous() for t in (A, D, dt_bias))
    sequences = _strided(u), _strided(dt)
    weights = A, B, *B.stride(), C, *C.stride()
    with torch.cuda.device_of(u):
        if divided.chunks > 1:
            _run(kernels.summarise, divided, u, *sequences, None, *weights, dt_bias, sums, ends, None, BACKWARD=False)
            _run_carry(divided, A, sums, ends, ends, starts, marks=1)
        _run(kernels.scan, divided, u, *sequences, *weights, D, dt_bias, starts, y)
    return y


def backward(
    dy: Tensor, u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, dt_bias: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of the seven inputs, in their order and of their dtypes."""
    inputs = u, dt, A, B, C, D, dt_bias
    if not u.numel():
        return tuple(torch.zeros_like(t, memory_format=torch.contiguous_format) for t in inputs)
    grads = tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in inputs)
    du, ddt, dA, dB, dC, dD, dbias = grads
    divided, channels = plan(u), u.shape[2]
    (down, across), marks = divided.programs, divided.blocks
    sums, ends = _scratch(u, 2, divided.rows * marks, channels)
    tails, starts = _scratch(u, divided.rows, channels), _scratch(u, 2, divided.rows, channels)
    by_step = _scratch(u, 2, across, len(u), divided.chunks * marks * STEPS)  # parts of dB, dC
    by_channel = _scratch(u, 3, down, 1, channels)  # parts of dA, dD, dt_bias's
    A, D, dt_bias = (t.contiguous() for t in (A, D, dt_bias))
    sequences = _strided(u), _strided(dt), _strided(dy)
    weights = A, B, *B.stride(), C, *C.stride()
    with torch.cuda.device_of(u):
        if divided.chunks * marks > 1:
            _run(kernels.summarise, divided, u, *sequences, *weights, dt_bias, sums, ends, tails, BACKWARD=True)
        if divided.chunks > 1:
            _run_carry(divided, A, sums, ends, tails, starts, marks)
        written = du, ddt, by_step, by_channel
        _run(kernels.scan_back, divided, u, *sequences, *weights, D, dt_bias, sums, ends, starts, *written, maxnreg=168)
        _run_total(by_step, dB, dC, dC)
        _run_total(by_channel, dA, dD, dbias)
    return grads


def _scratch(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def _strided(x: Tensor) -> kernels.Strided:
    return kernels.Strided(x, *x.stride())


def _run(kernel, divided: Plan, u: Tensor, *args, **options) -> None:
    """Launch over the tiles of a scan of u."""
    sizes = u.shape[1], divided.chunks, divided.rows, divided.blocks, u.shape[2]
    constants = dict(STEPS=STEPS, ROWS=TILE // divided.width, WIDTH=divided.width)
    _launch(kernel, (math.prod(divided.programs),), *args, *sizes, **constants, **options)


def _run_carry(divided: Plan, A: Tensor, sums: Tensor, ends: Tensor, tails: Tensor, starts: Tensor, marks: int) -> None:
    """Launch phase 2: of h; of w too if starts (1 or 2, R, C) has room for it."""
    chunks, channels, width = divided.chunks, len(A), 16
    grid = divided.rows // chunks * _ceil(channels, width), len(starts)
    constants = dict(STEPS=STEPS, ROWS=CARRIERS, WIDTH=width, num_warps=8)
    _launch(kernels.carry, grid, A, sums, ends, tails, starts, chunks, marks, channels, **constants)


def _run_total(partial: Tensor, first: Tensor, second: Tensor, third: Tensor) -> None:
    (outputs, parts, sequences, stride), size = partial.shape, first.shape[-1]
    grid = sequences * _ceil(size, 128), outputs
    _launch(kernels.total, grid, partial, first, second, third, parts, size, stride, PARTS=16, WIDTH=128)


def _launch(kernel, grid: tuple[int, ...], *args, **options) -> None:
    """Every launch passes here. The options are a kernel's constants, its warps and registers."""
    kernel[grid](*args, **options)
