"""A depthwise 3x3 convolution, GELU before it or not, SiLU behind it or not, and its derivative. Maps (B, H, W, C).

The threads share the rows. Each has a room: five padded rows (W + 2, C), its weights (9, C), and its sums (SUMS, C).
Three of the rows are those around its own. The fourth, and a pixel at each end of all, are 0, and stand for what is
outside the map. The fifth is the row below its last one: dx is written over dy, and that row is the next thread's
first. A column is three pixels of these rows, one below the other. Weights come and go as (C, 9), row by row; inside
they lie column by column, for the derivative from the end.
"""

from numba import njit
from numba.extending import register_jitable

from damamba.ops.cpu.entry import array, barrier, get, kernel, number, put, share, thread
from damamba.ops.cpu.lanes import OPTIONS, gelu, load, silu, store
from damamba.ops.cpu.products import clear, summed
from damamba.ops.cpu.threads import WIDTH

ROWS, OUTSIDE, NEXT = 5, 3, 4
SUMS = 11  # of a derivative: nine for the weights, one for the bias, one for a bias that was added to x
COPY, GELU, SLOPE = 0, 1, 2  # what a row's place is filled with: x, GELU(x), x times the derivative of SiLU(z)
AT_ONCE = 4  # pixels, for which weights and sums are fetched once


@register_jitable(**OPTIONS)
def room_size(width, channels):
    return (ROWS * (width + 2) + 9 + SUMS) * channels


@njit(**OPTIONS)
def place(slot, width, channels):
    """Where a row of this thread's room begins: its pixel to the left of the map."""
    return thread() * room_size(width, channels) + slot * (width + 2) * channels


@njit(**OPTIONS)
def own_weights(width, channels):
    return place(ROWS, width, channels)


@njit(**OPTIONS)
def own_sums(width, channels):
    return own_weights(width, channels) + 9 * channels


@njit(**OPTIONS)
def clear_edges(room, width, channels):
    """What is outside the map, in this thread's room."""
    for slot in range(ROWS):
        clear(room, place(slot, width, channels), channels)
        clear(room, place(slot + 1, width, channels) - channels, channels)
    clear(room, place(OUTSIDE, width, channels), (width + 2) * channels)


@njit(**OPTIONS)
def fill(room, slot, x, z, row, width, channels, how):
    """Fill a place from a row of all pictures'."""
    source, target = row * width * channels, place(slot, width, channels) + channels
    for i in range(0, width * channels, WIDTH):
        value = load(x, source + i)
        if how == SLOPE:
            value = value * silu(load(z, source + i))[1]
        elif how == GELU:
            value = gelu(value)[0]
        store(room, target + i, value)


@njit(**OPTIONS)
def fill_borders(room, x, z, first, last, height, width, channels, how):
    """Fill the places of the other threads' rows that this thread needs."""
    if first % height > 0:
        fill(room, (first - 1) % OUTSIDE, x, z, first - 1, width, channels, how)
    if last % height > 0:
        fill(room, NEXT, x, z, last, width, channels, how)


@njit(**OPTIONS)
def around(room, x, z, row, first, last, height, width, channels, how):
    """Where the rows above, of and below this one begin, left of the map; those not there yet are filled."""
    h = row % height
    if row == first or h == 0:
        fill(room, row % OUTSIDE, x, z, row, width, channels, how)
    above, below = OUTSIDE, OUTSIDE
    if h > 0:
        above = (row - 1) % OUTSIDE
    if h < height - 1 and row + 1 == last:
        below = NEXT
    elif h < height - 1:
        below = (row + 1) % OUTSIDE
        fill(room, below, x, z, row + 1, width, channels, how)
    return place(above, width, channels), place(row % OUTSIDE, width, channels), place(below, width, channels)


@njit(**OPTIONS)
def column(room, rows, i):
    return load(room, rows[0] + i), load(room, rows[1] + i), load(room, rows[2] + i)


@njit(**OPTIONS)
def taps(weights, i, channels):
    """The three weights of a column."""
    return load(weights, i), load(weights, i + channels), load(weights, i + 2 * channels)


@njit(**OPTIONS)
def kernel_of(room, i, channels):
    """Nine weights, or their sums, in three columns."""
    return taps(room, i, channels), taps(room, i + 3 * channels, channels), taps(room, i + 6 * channels, channels)


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
def by_column(k, turned):
    """Where in a 3x3 kernel, row by row, the weight lies that is number k column by column; turned, from the end."""
    index = k % 3 * 3 + k // 3
    return 8 - index if turned else index


@njit(**OPTIONS)
def lay_out(room, weights, width, channels, turned):
    """Fill this thread's own weights."""
    own = own_weights(width, channels)
    for c in range(channels):
        for k in range(9):
            put(room, own + k * channels + c, get(weights, c * 9 + by_column(k, turned)))


@kernel
def forward(table):
    x, weights, bias = array(table, 0), array(table, 1), array(table, 2)
    y, active, room = array(table, 3), array(table, 4), array(table, 5)  # the result; its SiLU, where asked for
    batch, height, width, channels = number(table, 6), number(table, 7), number(table, 8), number(table, 9)
    how, behind = number(table, 10), number(table, 11)
    lay_out(room, weights, width, channels, False)
    clear_edges(room, width, channels)
    own = own_weights(width, channels)
    first, last = share(batch * height)
    fill_borders(room, x, x, first, last, height, width, channels, how)
    for row in range(first, last):
        rows = around(room, x, x, row, first, last, height, width, channels, how)
        out = row * width * channels
        for start in range(0, width, AT_ONCE):
            for c in range(0, channels, WIDTH):
                a, b, d = kernel_of(room, own + c, channels)
                shift = load(bias, c)
                i = start * channels + c
                left, middle = column(room, rows, i), column(room, rows, i + channels)
                for w in range(start, min(start + AT_ONCE, width)):
                    i = w * channels + c
                    right = column(room, rows, i + 2 * channels)
                    value = (dot(a, left) + shift) + (dot(b, middle) + dot(d, right))
                    store(y, out + i, value)
                    if behind:
                        store(active, out + i, silu(value)[0])
                    left, middle = middle, right


@njit(**OPTIONS)
def finish(gradients, room, width, channels):
    """Add up what the threads summed; the first of them does it."""
    sums = own_sums(width, channels)
    for i in range(0, SUMS * channels, WIDTH):
        value = summed(room, room_size(width, channels), sums + i)
        if i < 9 * channels:
            store(room, sums + i, value)
        else:
            store(gradients, i, value)
    for c in range(channels):
        for k in range(9):
            put(gradients, c * 9 + by_column(k, True), get(room, sums + k * channels + c))


@kernel
def backward(table):
    dy, x, z, weights = array(table, 0), array(table, 1), array(table, 2), array(table, 3)
    gradients, room = array(table, 4), array(table, 5)  # the weights' (C, 9), both biases' (C)
    batch, height, width, channels = number(table, 6), number(table, 7), number(table, 8), number(table, 9)
    before, how = number(table, 10), number(table, 11)
    lay_out(room, weights, width, channels, True)
    clear_edges(room, width, channels)
    own, sums = own_weights(width, channels), own_sums(width, channels)
    clear(room, sums, SUMS * channels)
    first, last = share(batch * height)
    fill_borders(room, dy, z, first, last, height, width, channels, how)
    barrier()  # from here on dy is written over
    for row in range(first, last):
        rows = around(room, dy, z, row, first, last, height, width, channels, how)
        out = row * width * channels
        for start in range(0, width, AT_ONCE):
            for c in range(0, channels, WIDTH):
                at = sums + c
                a, b, d = kernel_of(room, own + c, channels)
                da, db, dd = kernel_of(room, at, channels)
                shift, added_before = load(room, at + 9 * channels), load(room, at + 10 * channels)
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
                    store(dy, out + i, change)
                    da, db, dd = added(da, value, left), added(db, value, middle), added(dd, value, right)
                    shift += middle[1]
                    added_before += change
                    left, middle = middle, right
                keep(room, at, channels, da)
                keep(room, at + 3 * channels, channels, db)
                keep(room, at + 6 * channels, channels, dd)
                store(room, at + 9 * channels, shift)
                store(room, at + 10 * channels, added_before)
    barrier()
    if thread() == 0:
        finish(gradients, room, width, channels)
