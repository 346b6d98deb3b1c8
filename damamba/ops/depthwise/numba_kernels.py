"""The derivative of a depthwise 3x3 convolution, and of a GELU before it or a SiLU behind it. Maps (B, H, W, C).

The threads share the rows. Each keeps the three rows around its own in a room of four padded rows, (4, W + 2, C); the
fourth, and a pixel at each end of all, are 0, and stand for what is outside the map. A column is three pixels of these
rows, one below the other. Weights come and go as (C, 9), row by row; inside they are turned around, and (9, C), column
by column.
"""

from numba import float32, int64, njit

from damamba.ops.cpu.entry import array, get, kernel, number, put, share, thread
from damamba.ops.cpu.lanes import OPTIONS, gelu, load, silu, splat, store
from damamba.ops.cpu.threads import WIDTH

ROWS, OUTSIDE = 4, 3
SUMS = 11  # of a derivative: nine for the weights, one for the bias, one for a bias that was added to x
AT_ONCE = 4  # pixels, for which weights and sums are fetched once


@njit(**OPTIONS)
def place(row, length):
    """Where in its thread's room a row of all pictures' lies: its pixel to the left of the map."""
    return (int64(thread()) * ROWS + row % OUTSIDE) * length


@njit(**OPTIONS)
def clear(room, first, count):
    """Fill with 0."""
    for i in range(first, first + count, WIDTH):
        store(room, i, splat(float32(0.0)))


@njit(**OPTIONS)
def clear_edges(room, width, channels):
    """What is outside the map, in this thread's room."""
    length = (width + 2) * channels
    clear(room, (int64(thread()) * ROWS + OUTSIDE) * length, length)
    for row in range(OUTSIDE):
        clear(room, place(row, length), channels)
        clear(room, place(row, length) + length - channels, channels)


@njit(**OPTIONS)
def fill(room, x, z, row, width, channels, behind):
    """Fill a row's place; with a SiLU behind the convolution, x is the gradient of SiLU(z)."""
    source, target = row * width * channels, place(row, (width + 2) * channels) + channels
    for i in range(0, width * channels, WIDTH):
        value = load(x, source + i)
        if behind:
            value = value * silu(load(z, source + i))[1]
        store(room, target + i, value)


@njit(**OPTIONS)
def around(room, x, z, row, first, height, width, channels, behind):
    """Where the rows above, of and below this one begin, left of the map; those not there yet are filled."""
    h, length = row % height, (width + 2) * channels
    if row == first or h == 0:
        if h > 0:
            fill(room, x, z, row - 1, width, channels, behind)
        fill(room, x, z, row, width, channels, behind)
    if h < height - 1:
        fill(room, x, z, row + 1, width, channels, behind)
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


@njit(**OPTIONS)
def turned(k):
    """Where in a 3x3 kernel, row by row, the weight lies that is number k column by column from its end."""
    return 8 - (k % 3 * 3 + k // 3)


@njit(**OPTIONS)
def lay_out(weights, kernel, channels):
    """This thread's own weights (9, C); where they begin."""
    own = int64(thread()) * 9 * channels
    for c in range(channels):
        for k in range(9):
            put(weights, own + k * channels + c, get(kernel, c * 9 + turned(k)))
    return own


@kernel
def backward(table):
    dy, x, z, weights = array(table, 0), array(table, 1), array(table, 2), array(table, 3)
    dx, sums = array(table, 4), array(table, 5)  # sums (threads, SUMS, C), 0 at first
    room, own_weights = array(table, 6), array(table, 7)
    batch, height, width, channels = number(table, 8), number(table, 9), number(table, 10), number(table, 11)
    before, behind = number(table, 12), number(table, 13)
    own = lay_out(own_weights, weights, channels)
    clear_edges(room, width, channels)
    own_sums = int64(thread()) * SUMS * channels
    first, last = share(batch * height)
    for row in range(first, last):
        rows = around(room, dy, z, row, first, height, width, channels, behind)
        out = row * width * channels
        for start in range(0, width, AT_ONCE):
            for c in range(0, channels, WIDTH):
                a, b = taps(own_weights, own + c, channels), taps(own_weights, own + 3 * channels + c, channels)
                d = taps(own_weights, own + 6 * channels + c, channels)
                at = own_sums + c
                da, db = taps(sums, at, channels), taps(sums, at + 3 * channels, channels)
                dd = taps(sums, at + 6 * channels, channels)
                shift, added_before = load(sums, at + 9 * channels), load(sums, at + 10 * channels)
                i = start * channels + c
                left, middle = column(room, rows, i), column(room, rows, i + channels)
                for w in range(start, min(start + AT_ONCE, width)):
                    i = w * channels + c
                    right = column(room, rows, i + 2 * channels)
                    value = load(x, out + i)
                    change = dot(a, left) + dot(b, middle) + dot(d, right)
                    if before:
                        value, slope = gelu(value)
                        change = change * slope
                    store(dx, out + i, change)
                    da, db, dd = added(da, value, left), added(db, value, middle), added(dd, value, right)
                    shift += middle[1]
                    added_before += change
                    left, middle = middle, right
                keep(sums, at, channels, da)
                keep(sums, at + 3 * channels, channels, db)
                keep(sums, at + 6 * channels, channels, dd)
                store(sums, at + 9 * channels, shift)
                store(sums, at + 10 * channels, added_before)


@kernel
def finish(table):
    """Add up what the threads summed; one thread does it."""
    sums, gradients = array(table, 0), array(table, 1)  # (threads, SUMS, C); the weights' (C, 9), both biases' (C)
    count, channels = number(table, 2), number(table, 3)
    for i in range(0, SUMS * channels, WIDTH):
        value = load(sums, i)
        for k in range(1, count):
            value += load(sums, k * SUMS * channels + i)
        if i < 9 * channels:
            store(sums, i, value)
        else:
            store(gradients, i, value)
    for c in range(channels):
        for k in range(9):
            put(gradients, c * 9 + turned(k), get(sums, k * channels + c))
