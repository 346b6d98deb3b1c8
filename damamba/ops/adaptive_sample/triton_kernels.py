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

from damamba.ops.triton_needs import jit

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None


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
    """Write doffset, and add to dx, float32. SPAN takes in all D channels."""
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
            weight = tl.where(on_map, wx * wy, 0.0)[:, None]
            to = dx + ((pixel * G + g) * D)[:, None] + channel
            tl.atomic_add(to, weight * grad, mask=(weight != 0) & (channel < D), sem='relaxed')
    tl.store(doffset + pair * 2, slope_x.to(doffset.dtype.element_ty), mask=there)
    tl.store(doffset + pair * 2 + 1, slope_y.to(doffset.dtype.element_ty), mask=there)
