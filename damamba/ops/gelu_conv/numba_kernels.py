"""The derivative of a depthwise 3x3 convolution of GELU(x), in one pass. Maps (B, H, W, C).

The threads share the rows. Each keeps the three rows of dy around its own in a room of four padded rows,
(4, W + 2, C); the fourth, and a pixel at each end of all, stay 0, and stand for what is outside the map. A column is
three pixels of these rows, one below the other. Weights are (9, C), column by column.
"""

from numba import int64, njit

from damamba.ops.cpu.entry import array, kernel, number, share, thread
from damamba.ops.cpu.lanes import OPTIONS, gelu, load, store
from damamba.ops.cpu.threads import WIDTH

ROWS, OUTSIDE = 4, 3
SUMS = 10  # of a derivative: nine for the weights, one for the bias
AT_ONCE = 4  # pixels, for which weights and sums are fetched once


@njit(**OPTIONS)
def place(row, length):
    """Where in its thread's room a row of all pictures' lies: its pixel to the left of the map."""
    return (int64(thread()) * ROWS + row % OUTSIDE) * length


@njit(**OPTIONS)
def fill(room, x, row, width, channels):
    """Fill a row's place."""
    source, target = row * width * channels, place(row, (width + 2) * channels) + channels
    for i in range(0, width * channels, WIDTH):
        store(room, target + i, load(x, source + i))


@njit(**OPTIONS)
def around(room, x, row, first, height, width, channels):
    """Where the rows above, of and below this one begin, left of the map; those not there yet are filled."""
    h, length = row % height, (width + 2) * channels
    if row == first or h == 0:
        if h > 0:
            fill(room, x, row - 1, width, channels)
        fill(room, x, row, width, channels)
    if h < height - 1:
        fill(room, x, row + 1, width, channels)
    outside = (int64(thread()) * ROWS + OUTSIDE) * length
    above = place(row - 1, length) if h > 0 else outside
    below = place(row + 1, length) if h < height - 1 else outside
    return above, place(row, length), below


@njit(**OPTIONS)
def column(room, rows, i):
    return load(room, rows[0] + i), load(room, rows[1] + i), load(room, rows[2] + i)


@njit(**OPTIONS)
def taps(weights, i, channels):
    """The three weights of a column."""
    return load(weights, i), load(weights, i + channels), load(weights, i + 2 * channels)


@njit(**OPTIONS)
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(**OPTIONS)
def added(sums, value, pixels):
    """The three sums, with the products of a value and three pixels."""
    return sums[0] + value * pixels[0], sums[1] + value * pixels[1], sums[2] + value * pixels[2]


@njit(**OPTIONS)
def keep(weights, i, channels, sums):
    store(weights, i, sums[0])
    store(weights, i + channels, sums[1])
    store(weights, i + 2 * channels, sums[2])


@kernel
def backward(table):
    """Weights and their gradients are turned around: the last one first."""
    dy, x, weights = array(table, 0), array(table, 1), array(table, 2)
    dx, dweights, room = array(table, 3), array(table, 4), array(table, 5)  # dweights (threads, SUMS, C), 0 at first
    batch, height, width, channels = number(table, 6), number(table, 7), number(table, 8), number(table, 9)
    sums = int64(thread()) * SUMS * channels
    first, last = share(batch * height)
    for row in range(first, last):
        rows = around(room, dy, row, first, height, width, channels)
        out = row * width * channels
        for start in range(0, width, AT_ONCE):
            for c in range(0, channels, WIDTH):
                a, b = taps(weights, c, channels), taps(weights, 3 * channels + c, channels)
                d = taps(weights, 6 * channels + c, channels)
                at = sums + c
                da, db = taps(dweights, at, channels), taps(dweights, at + 3 * channels, channels)
                dd, shift = taps(dweights, at + 6 * channels, channels), load(dweights, at + 9 * channels)
                i = start * channels + c
                left, middle = column(room, rows, i), column(room, rows, i + channels)
                for w in range(start, min(start + AT_ONCE, width)):
                    i = w * channels + c
                    right = column(room, rows, i + 2 * channels)
                    value, slope = gelu(load(x, out + i))
                    store(dx, out + i, (dot(a, left) + dot(b, middle) + dot(d, right)) * slope)
                    da, db, dd = added(da, value, left), added(db, value, middle), added(dd, value, right)
                    shift += middle[1]
                    left, middle = middle, right
                keep(dweights, at, channels, da)
                keep(dweights, at + 3 * channels, channels, db)
                keep(dweights, at + 6 * channels, channels, dd)
                store(dweights, at + 9 * channels, shift)
