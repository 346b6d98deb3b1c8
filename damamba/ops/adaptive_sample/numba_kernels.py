"""Bilinear sampling for the CPU, in Numba: eight channels at a time.

Maps (B, H, W, C), G groups of D channels. A sample reads four corners: left and right columns, upper and lower rows
of the map. The forward shares the rows of the result among the threads. The backward shares the groups: where two
samples add to the same place, one thread does it, in one order.
"""

import math

from numba import float32, int64, njit

from damamba.ops.cpu.entry import array, kernel, share
from damamba.ops.cpu.lanes import OPTIONS, load, positive, splat, store, total
from damamba.ops.cpu.threads import WIDTH


@njit(**OPTIONS)
def neighbours(position, size):
    """Both neighbours of a position from -1 to less than size; the nearest one, where the map has none.

    Two indices, two weights, and the weights' derivatives by the position; 0 for one that is missing.
    """
    first = math.floor(position)
    fraction = position - float32(first)
    index = int64(first)
    before = float32(1.0) if index >= 0 else float32(0.0)
    behind = float32(1.0) if index < size - 1 else float32(0.0)
    near, far = before * (float32(1.0) - fraction), behind * fraction
    return max(index, int64(0)), min(index + 1, size - 1), near, far, -before, behind


@njit(**OPTIONS)
def inside(px, py, width, height):
    """Whether a sample counts; one at NaN does not."""
    return px > -1 and px < width and py > -1 and py < height


@njit(**OPTIONS)
def part(x, i, weight):
    """What one corner adds to a sample: nothing if its weight is 0, be it NaN."""
    return positive(splat(weight), load(x, i) * weight, splat(float32(0.0)))


@njit(**OPTIONS)
def take(x, i, weight, dx, value):
    """The product of a sample's gradient with one corner; the corner's own gradient is added to if it has a weight."""
    store(dx, i, load(dx, i) + positive(splat(weight), value * weight, splat(float32(0.0))))
    return value * load(x, i)


@kernel
def forward(table):
    x, offset, y = array(table, 0), array(table, 1), array(table, 2)
    batch, height, width = table[3], table[4], table[5]
    channels, groups = table[6], table[7]
    depth = channels // groups
    first, last = share(batch * height)
    for row in range(first, last):
        image, h = divmod(row, height)
        for pixel in range(row * width, (row + 1) * width):
            for g in range(groups):
                pair = (pixel * groups + g) * 2
                px = float32(pixel - row * width) + offset[pair]
                py = float32(h) + offset[pair + 1]
                out = pixel * channels + g * depth
                if not inside(px, py, width, height):
                    for c in range(depth // WIDTH):
                        store(y, out + c * WIDTH, splat(float32(0.0)))
                    continue
                left, right, a, b, _, _ = neighbours(px, width)
                top, bottom, p, q, _, _ = neighbours(py, height)
                upper, lower = (image * height + top) * width, (image * height + bottom) * width
                i, j = (upper + left) * channels + g * depth, (upper + right) * channels + g * depth
                k, m = (lower + left) * channels + g * depth, (lower + right) * channels + g * depth
                for c in range(0, depth, WIDTH):
                    above = part(x, i + c, p * a) + part(x, j + c, p * b)
                    below = part(x, k + c, q * a) + part(x, m + c, q * b)
                    store(y, out + c, above + below)


@kernel
def backward(table):
    dy, x, offset = array(table, 0), array(table, 1), array(table, 2)
    dx, doffset = array(table, 3), array(table, 4)  # 0 at first
    batch, height, width = table[5], table[6], table[7]
    channels, groups = table[8], table[9]
    depth = channels // groups
    first, last = share(batch * groups)
    for piece in range(first, last):
        image, g = divmod(piece, groups)
        for place in range(height * width):
            h, w = divmod(place, width)
            pixel = image * height * width + place
            pair = (pixel * groups + g) * 2
            px, py = float32(w) + offset[pair], float32(h) + offset[pair + 1]
            if not inside(px, py, width, height):
                continue
            left, right, a, b, da, db = neighbours(px, width)
            top, bottom, p, q, dp, dq = neighbours(py, height)
            upper, lower = (image * height + top) * width, (image * height + bottom) * width
            at_i, at_j, at_k, at_m = splat(float32(0.0)), splat(float32(0.0)), splat(float32(0.0)), splat(float32(0.0))
            for c in range(g * depth, (g + 1) * depth, WIDTH):
                value = load(dy, pixel * channels + c)
                at_i += take(x, (upper + left) * channels + c, p * a, dx, value)
                at_j += take(x, (upper + right) * channels + c, p * b, dx, value)
                at_k += take(x, (lower + left) * channels + c, q * a, dx, value)
                at_m += take(x, (lower + right) * channels + c, q * b, dx, value)
            doffset[pair] = total((at_i * da + at_j * db) * p + (at_k * da + at_m * db) * q)
            doffset[pair + 1] = total((at_i * a + at_j * b) * dp + (at_k * a + at_m * b) * dq)
