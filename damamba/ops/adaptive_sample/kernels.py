"""Bilinear sampling in Triton, on CUDA, or on any device in Triton's interpreter (TRITON_INTERPRET=1).

B batch, H x W map, C channels, G groups of D = C/G channels. A line is a row of one map, b * H + h; a pair is a column
and a group of a line. A program takes PAIRS pairs of one line, and SPAN channels at a time.

    sample   at (px, py) = (w, h) + offset[b, h, w, 2g : 2g + 2], in the cell (column, row) = floor(px, py)
    y        the sum over the four corners of the cell of weight * x
    dx       each sample's weight * dy, added at its four corners
    doffset  the sum over the corners of the weight's slope * (x . dy)

Maps are read as tables (B*H*W, C) with `..._step` elements from pixel to pixel; all else is contiguous. Addresses are
int64: a batch may have more than 2**31 elements.
"""

from __future__ import annotations  # `tl` may be missing

import inspect

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

SIZES = ('H', 'W', 'G', 'outside')  # they change with every image or hardly matter: one compiled kernel serves all


def jit(function):
    """Compile with Triton, where it is installed."""
    if triton is None:
        return function
    sizes = [name for name in inspect.signature(function).parameters if name in SIZES]
    return triton.jit(function, do_not_specialize=sizes)


@jit
def _place(H, W, G, PAIRS: tl.constexpr):
    """This program's line; its pairs, numbered through all maps; their columns, groups, and which of them exist."""
    tiles = tl.cdiv(W * G, PAIRS)
    line = tl.program_id(0) // tiles
    pair = tl.program_id(0) % tiles * PAIRS + tl.arange(0, PAIRS)
    w = pair // G
    return line, line.to(tl.int64) * W * G + pair, w, pair - w * G, pair < W * G


@jit
def _locate(offset, pair, w, h, there, H, W):
    """The positions of the samples, their cells, and which samples count."""
    px = w + tl.load(offset + pair * 2, mask=there, other=float('inf')).to(tl.float32)
    py = h + tl.load(offset + pair * 2 + 1, mask=there, other=float('inf')).to(tl.float32)
    inside = (px > -1) & (px < W) & (py > -1) & (py < H)  # false for NaN
    px, py = tl.where(inside, px, 0.0), tl.where(inside, py, 0.0)
    return px, py, tl.floor(px).to(tl.int32), tl.floor(py).to(tl.int32), inside


@jit
def _axis(position, index, size, NEXT: tl.constexpr):
    """Along one axis: the weight of the cell's first corner, or of the next, and whether the map has that corner."""
    if NEXT:
        weight, there = position - index, index + 1 < size
    else:
        weight, there = 1 - (position - index), index >= 0
    return weight, there


@jit
def _blend(corner, px, py, column, row, inside, x_step, H, W, channel, D: tl.constexpr):
    """The samples' values in these channels, [PAIRS, SPAN]; corners of no weight are not read."""
    out = tl.zeros((corner.shape[0], channel.shape[1]), tl.float32)
    for j in tl.static_range(2):
        for i in tl.static_range(2):
            wx, on_x = _axis(px, column, W, i)
            wy, on_y = _axis(py, row, H, j)
            weight = tl.where(inside & on_x & on_y, wx * wy, 0.0)[:, None]
            at = corner[:, None] + (j * W + i).to(tl.int64) * x_step + channel
            out += weight * tl.load(at, mask=(weight != 0) & (channel < D), other=0.0).to(tl.float32)
    return out


@jit
def _forward_kernel(y, x, offset, x_step, H, W, G, D: tl.constexpr, SPAN: tl.constexpr, PAIRS: tl.constexpr):
    """Write y; a group of more than SPAN channels, up to twice as many, is read in two halves."""
    line, pair, w, g, there = _place(H, W, G, PAIRS)
    h = line % H
    px, py, column, row, inside = _locate(offset, pair, w, h, there, H, W)
    corner = x + ((line - h + row).to(tl.int64) * W + column) * x_step + g * D
    channel = tl.arange(0, SPAN)[None, :]
    out = _blend(corner, px, py, column, row, inside, x_step, H, W, channel, D).to(y.dtype.element_ty)
    if D > SPAN:  # but written at once: a store of half a sector costs a whole one
        rest = _blend(corner, px, py, column, row, inside, x_step, H, W, channel + SPAN, D).to(y.dtype.element_ty)
        out = tl.join(out, rest).permute(0, 2, 1).reshape(PAIRS, 2 * SPAN)
        channel = tl.arange(0, 2 * SPAN)[None, :]
    tl.store(y + pair[:, None] * D + channel, out, mask=there[:, None] & (channel < D))


@jit
def _backward_kernel(
    doffset, dx, dy, x, offset, dy_step, x_step, H, W, G, D: tl.constexpr, SPAN: tl.constexpr, PAIRS: tl.constexpr
):
    """Write doffset, and add to dx, float32, unless it is None. SPAN takes in all D channels."""
    line, pair, w, g, there = _place(H, W, G, PAIRS)
    h = line % H
    px, py, column, row, inside = _locate(offset, pair, w, h, there, H, W)
    channel = tl.arange(0, SPAN)[None, :]
    at = dy + ((line.to(tl.int64) * W + w) * dy_step + g * D)[:, None] + channel
    grad = tl.load(at, mask=inside[:, None] & (channel < D), other=0.0).to(tl.float32)
    slope_x, slope_y = tl.zeros((PAIRS,), tl.float32), tl.zeros((PAIRS,), tl.float32)
    for j in tl.static_range(2):
        for i in tl.static_range(2):
            wx, on_x = _axis(px, column, W, i)
            wy, on_y = _axis(py, row, H, j)
            on_map = inside & on_x & on_y
            pixel = (line - h + row + j).to(tl.int64) * W + column + i
            at = x + (pixel * x_step + g * D)[:, None] + channel
            value = tl.load(at, mask=on_map[:, None] & (channel < D), other=0.0).to(tl.float32)
            product = tl.where(on_map, tl.sum(value * grad, axis=1), 0.0)  # grad may be NaN
            slope_x += (2 * i - 1) * wy * product
            slope_y += (2 * j - 1) * wx * product
            if dx is not None:
                weight = tl.where(on_map, wx * wy, 0.0)[:, None]
                to = dx + ((pixel * G + g) * D)[:, None] + channel
                tl.atomic_add(to, weight * grad, mask=(weight != 0) & (channel < D), sem='relaxed')
    tl.store(doffset + pair * 2, slope_x.to(doffset.dtype.element_ty), mask=there)
    tl.store(doffset + pair * 2 + 1, slope_y.to(doffset.dtype.element_ty), mask=there)


@jit
def _cells_kernel(cells, positions, offset, outside, H, W, G, PAIRS: tl.constexpr):
    """Number the samples' cells, of which a map has (H + 1) x (W + 1) for each group, with those around its border."""
    line, pair, w, g, there = _place(H, W, G, PAIRS)
    px, py, column, row, inside = _locate(offset, pair, w, line % H, there, H, W)
    plane = (line // H).to(tl.int64) * G + g
    cell = (plane * (H + 1) + row + 1) * (W + 1) + column + 1
    tl.store(cells + pair, tl.where(inside, cell, outside).to(cells.dtype.element_ty), mask=there)
    tl.store(positions + pair * 2, px, mask=there)
    tl.store(positions + pair * 2 + 1, py, mask=there)


@jit
def _gather_kernel(
    dx, dy, positions, pixels, starts, dy_step, H, W, G, D: tl.constexpr, SPAN: tl.constexpr, PAIRS: tl.constexpr
):
    """Sum dx over the samples of the cells around a pixel, in the order of `pixels`; cell k's begin at starts[k]."""
    line, pair, w, g, there = _place(H, W, G, PAIRS)
    h = line % H
    above = ((line // H).to(tl.int64) * G + g) * (H + 1) + h
    above = starts + above * (W + 1) + w  # the two cells above the pixel's line are neighbours, those below too
    below = above + W + 1
    first = tl.load(above, mask=there, other=0)
    second = tl.load(below, mask=there, other=0)
    turn = tl.load(above + 2, mask=there, other=0) - first
    count = tl.load(below + 2, mask=there, other=0) - second + turn
    channel = tl.arange(0, SPAN)[None, :]
    out = tl.zeros((PAIRS, SPAN), tl.float32)
    for k in range(tl.max(count)):
        on = k < count
        pixel = tl.load(pixels + tl.where(k < turn, first, second - turn) + k, mask=on, other=0)
        at = positions + (pixel * G + g) * 2
        wx = 1 - tl.abs(tl.load(at, mask=on, other=0.0) - w)
        wy = 1 - tl.abs(tl.load(at + 1, mask=on, other=0.0) - h)
        weight = tl.where(on, wx * wy, 0.0)[:, None]
        at = dy + (pixel * dy_step + g * D)[:, None] + channel
        out += weight * tl.load(at, mask=(weight != 0) & (channel < D), other=0.0).to(tl.float32)
    to = dx + pair[:, None] * D + channel
    tl.store(to, out.to(dx.dtype.element_ty), mask=there[:, None] & (channel < D))


INTERPRETED = triton is not None and not isinstance(_forward_kernel, triton.JITFunction)


def why_not(x: Tensor, offset: Tensor) -> str | None:
    """Say why these kernels can't take these arguments, or None."""
    if triton is None:
        return 'Triton is not installed'
    if not (x.is_cuda or INTERPRETED):
        return f'it runs on CUDA, not on the {x.device.type}'
    if x.dtype == torch.float64:
        return 'it computes in float32, the map is float64'
    return None


def forward(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x (B, H, W, C) at offset (B, H, W, 2G)."""
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    pixels = _by_pixel(x)
    span = _span(x, offset)
    if x.element_size() == 2:
        span = max(min(span, 8), span // 2)  # in halves, for two 16-byte reads a thread from each address
    _launch(_forward_kernel, x, offset, span, y, pixels, offset.contiguous(), pixels.stride(0))
    return y


def backward(dy: Tensor, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and offset; the same bits every time if torch is to use deterministic algorithms."""
    doffset = torch.empty(offset.shape, dtype=offset.dtype, device=offset.device)
    dx = None
    if not torch.are_deterministic_algorithms_enabled():
        dx = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    grads, pixels, shifts = _by_pixel(dy), _by_pixel(x), offset.contiguous()
    steps = grads.stride(0), pixels.stride(0)
    _launch(_backward_kernel, x, offset, _span(x, offset), doffset, dx, grads, pixels, shifts, *steps)
    return _gather(grads, x, shifts) if dx is None else dx.to(x.dtype), doffset


def _gather(grads: Tensor, x: Tensor, offset: Tensor) -> Tensor:
    """The gradient of x without atomics: sort the samples by cell, let each pixel add up those around it."""
    batch, height, width, _ = x.shape
    groups = offset.shape[3] // 2
    outside = batch * groups * (height + 1) * (width + 1)  # one more than the last cell
    numbers = torch.int32 if outside < 2**31 else torch.int64
    cells = torch.empty(offset.numel() // 2, dtype=numbers, device=x.device)
    positions = torch.empty(offset.shape, dtype=torch.float32, device=x.device)
    _launch(_cells_kernel, x, offset, None, cells, positions, offset, outside, tile=256)
    cells, order = cells.sort(stable=True)
    starts = torch.searchsorted(cells, torch.arange(outside + 1, dtype=numbers, device=x.device))
    pixels = order.div_(groups, rounding_mode='floor')
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    tensors = dx, grads, positions, pixels, starts
    _launch(_gather_kernel, x, offset, _span(x, offset), *tensors, grads.stride(0), tile=256)
    return dx


def _by_pixel(value: Tensor) -> Tensor:
    """View (B, H, W, C) as (B*H*W, C) with the channels side by side; copy where the strides don't allow it."""
    table = value.flatten(0, 2)
    return table if table.stride(1) == 1 else table.contiguous()


def _span(x: Tensor, offset: Tensor) -> int:
    """The channels of a group, rounded up to a power of two."""
    return triton.next_power_of_2(x.shape[3] * 2 // offset.shape[3])


def _launch(kernel, x: Tensor, offset: Tensor, span: int | None, *args, tile: int = 1024) -> None:
    """Run a kernel on all pairs, in tiles of this many elements, `span` channels wide; none: it reads no channels."""
    batch, height, width, channels = x.shape
    groups = offset.shape[3] // 2
    constants = {'PAIRS': max(1, tile // (span or 1))}
    if span is not None:
        constants.update(D=channels // groups, SPAN=span)
    programs = batch * height * triton.cdiv(width * groups, constants['PAIRS'])
    warps = min(max(constants['PAIRS'] * (span or 1) // 256, 1), 32)
    with torch.cuda.device_of(x):  # nothing on the CPU
        kernel[(programs,)](*args, height, width, groups, **constants, num_warps=warps)
