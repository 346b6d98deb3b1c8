"""Offsets of what was looked at, step sizes of what was sampled, and the derivatives of both; a row is one pixel.

P rows of C channels, a multiple of WIDE. Products of so narrow matrices are not worth a library's preparations: here
they are done while their rows lie in the caches, and their weights, in the order of their use, in the thread's room.
The threads share the blocks of BLOCK rows. Narrow rows are padded to ``wide(N)`` numbers.
"""

import math

from numba import float32, njit
from numba.extending import register_jitable

from damamba.ops.cpu.entry import array, barrier, get, kernel, number, put, share, thread, threads
from damamba.ops.cpu.lanes import OPTIONS, gelu, load, splat, store, total
from damamba.ops.cpu.threads import WIDTH
from damamba.ops.projections import EPS

ROWS, WIDE = 4, 2 * WIDTH  # what a product computes at once
BLOCK = 32  # rows


@register_jitable(**OPTIONS)
def wide(count):
    """The next multiple of WIDE."""
    return (count + WIDE - 1) // WIDE * WIDE


@njit(**OPTIONS)
def product(x, at, by_row, by_step, w, begin, stride, steps):
    """ROWS rows of WIDE columns: the sums over the steps of x[row, step] w[step, column].

    From ``at`` on, rows and steps of x are ``by_row`` and ``by_step`` apart; from ``begin`` on, steps of w ``stride``.
    """
    zero = splat(float32(0.0))
    a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
    for _ in range(steps):
        left, right = load(w, begin), load(w, begin + WIDTH)
        first, second = get(x, at), get(x, at + by_row)
        third, fourth = get(x, at + 2 * by_row), get(x, at + 3 * by_row)
        a += left * first
        b += right * first
        c += left * second
        d += right * second
        e += left * third
        f += right * third
        g += left * fourth
        h += right * fourth
        at += by_step
        begin += stride
    return (a, b), (c, d), (e, f), (g, h)


@njit(**OPTIONS)
def write(y, at, by_row, rows, tile):
    """Store what :func:`product` gave; all of its rows, or the first."""
    store(y, at, tile[0][0])
    store(y, at + WIDTH, tile[0][1])
    if rows == ROWS:
        store(y, at + by_row, tile[1][0])
        store(y, at + by_row + WIDTH, tile[1][1])
        store(y, at + 2 * by_row, tile[2][0])
        store(y, at + 2 * by_row + WIDTH, tile[2][1])
        store(y, at + 3 * by_row, tile[3][0])
        store(y, at + 3 * by_row + WIDTH, tile[3][1])


@njit(**OPTIONS)
def add(y, at, by_row, rows, tile):
    """The same, to what is there."""
    first = load(y, at) + tile[0][0], load(y, at + WIDTH) + tile[0][1]
    if rows == ROWS:
        i, j, k = at + by_row, at + 2 * by_row, at + 3 * by_row
        second = load(y, i) + tile[1][0], load(y, i + WIDTH) + tile[1][1]
        third = load(y, j) + tile[2][0], load(y, j + WIDTH) + tile[2][1]
        fourth = load(y, k) + tile[3][0], load(y, k + WIDTH) + tile[3][1]
        write(y, at, by_row, rows, (first, second, third, fourth))
    else:
        write(y, at, by_row, rows, (first, first, first, first))


@njit(**OPTIONS)
def at_once(row, last):
    """How many rows the next product takes."""
    return ROWS if row + ROWS <= last else 1


@njit(**OPTIONS)
def apart(rows, stride):
    """The distance of its rows in memory; one row alone is taken ROWS times."""
    return stride if rows == ROWS else 0


@njit(**OPTIONS)
def clear(room, first, count):
    for i in range(first, first + count):
        put(room, i, float32(0.0))


@njit(**OPTIONS)
def turn(room, at, stride, w, rows, columns):
    """A matrix [rows, columns], with rows and columns exchanged."""
    for i in range(rows):
        for j in range(columns):
            put(room, at + j * stride + i, get(w, i * columns + j))


@njit(**OPTIONS)
def gather(room, at, stride, w, rows, columns):
    """A matrix [rows, columns], its rows ``stride`` apart."""
    for i in range(rows):
        for j in range(columns):
            put(room, at + i * stride + j, get(w, i * columns + j))


@njit(**OPTIONS)
def outer(sums, at, x, from_x, narrow, y, from_y, channels, count, rows):
    """Add x^T y to sums [count, C]: x [rows, count], its rows ``narrow`` apart, and y [rows, C]."""
    for c in range(0, channels, WIDE):
        for n in range(0, count, ROWS):
            tile = product(x, from_x + n, 1, narrow, y, from_y + c, channels, rows)
            add(sums, at + n * channels + c, channels, ROWS, tile)


@njit(**OPTIONS)
def summed(room, size, i):
    """Eight numbers at the same place of all threads' rooms, added up in one order."""
    value = load(room, i)
    for k in range(1, threads()):
        value += load(room, k * size + i)
    return value


@njit(**OPTIONS)
def blocks(rows):
    """This thread's share of the blocks."""
    return share((rows + BLOCK - 1) // BLOCK)


# Step sizes, B and C: raw = u project^T, and dt = raw expand^T of the first R of its columns.


@register_jitable(**OPTIONS)
def steps_room(channels, rank):
    return channels * (wide(rank + 2) + rank)


@kernel
def steps(table):
    u, project, expand = array(table, 0), array(table, 1), array(table, 2)  # [P, C], [R + 2, C], [C, R]
    raw, dt, by_step, room = array(table, 3), array(table, 4), array(table, 5), array(table, 6)  # by_step [2, P]
    pixels, channels, rank = number(table, 7), number(table, 8), number(table, 9)
    narrow = wide(rank + 2)
    down = thread() * steps_room(channels, rank)
    up = down + channels * narrow
    clear(room, down, channels * narrow)
    turn(room, down, narrow, project, rank + 2, channels)
    turn(room, up, channels, expand, channels, rank)
    first, last = blocks(pixels)
    row, last = first * BLOCK, min(last * BLOCK, pixels)
    while row < last:
        rows = at_once(row, last)
        for n in range(0, narrow, WIDE):
            tile = product(u, row * channels, apart(rows, channels), 1, room, down + n, narrow, channels)
            write(raw, row * narrow + n, narrow, rows, tile)
        for c in range(0, channels, WIDE):
            tile = product(raw, row * narrow, apart(rows, narrow), 1, room, up + c, channels, rank)
            write(dt, row * channels + c, channels, rows, tile)
        for k in range(row, row + rows):
            put(by_step, k, get(raw, k * narrow + rank))
            put(by_step, pixels + k, get(raw, k * narrow + rank + 1))
        row += rows


@register_jitable(**OPTIONS)
def steps_backward_room(channels, rank):
    return (3 * channels + BLOCK) * wide(rank + 2)


@kernel
def steps_backward(table):
    ddt, dby_step, u, raw = array(table, 0), array(table, 1), array(table, 2), array(table, 3)
    project, expand, du = array(table, 4), array(table, 5), array(table, 6)  # du is added to
    dproject, dexpand, room = array(table, 7), array(table, 8), array(table, 9)
    pixels, channels, rank = number(table, 10), number(table, 11), number(table, 12)
    narrow = wide(rank + 2)
    size = steps_backward_room(channels, rank)
    down = thread() * size
    draw = down + channels * narrow
    sums = draw + BLOCK * narrow  # of the projection, then of the expansion
    clear(room, down, size)
    gather(room, down, narrow, expand, channels, rank)
    first, last = blocks(pixels)
    for begin in range(first * BLOCK, min(last * BLOCK, pixels), BLOCK):
        end = min(begin + BLOCK, pixels)
        row = begin
        while row < end:
            rows, at = at_once(row, end), draw + (row - begin) * narrow
            for n in range(0, narrow, WIDE):
                tile = product(ddt, row * channels, apart(rows, channels), 1, room, down + n, narrow, channels)
                write(room, at + n, narrow, rows, tile)
            for k in range(rows):
                put(room, at + k * narrow + rank, get(dby_step, row + k))
                put(room, at + k * narrow + rank + 1, get(dby_step, pixels + row + k))
            for c in range(0, channels, WIDE):
                tile = product(room, at, apart(rows, narrow), 1, project, c, channels, rank + 2)
                add(du, row * channels + c, channels, rows, tile)
            row += rows
        outer(room, sums, room, draw, narrow, u, begin * channels, channels, rank + 2, end - begin)
        at = sums + narrow * channels
        outer(room, at, raw, begin * narrow, narrow, ddt, begin * channels, channels, rank, end - begin)
    barrier()
    first, last = share(channels // WIDTH)
    own = channels * narrow + BLOCK * narrow
    for c in range(first * WIDTH, last * WIDTH, WIDTH):
        for n in range(rank + 2):
            store(dproject, n * channels + c, summed(room, size, own + n * channels + c))
        for n in range(rank):
            at = own + (narrow + n) * channels + c
            store(room, at, summed(room, size, at))
            for k in range(WIDTH):
                put(dexpand, (c + k) * rank + n, get(room, at + k))


# Offsets: GELU(LayerNorm(x)) weight^T + bias.


@njit(**OPTIONS)
def moments(x, at, channels):
    """A row's mean and inverse deviation."""
    value = splat(float32(0.0))
    for c in range(at, at + channels, WIDTH):
        value += load(x, c)
    mean = total(value) / float32(channels)
    value = splat(float32(0.0))
    for c in range(at, at + channels, WIDTH):
        centred = load(x, c) - mean
        value += centred * centred
    return mean, float32(1.0) / float32(math.sqrt(total(value) / float32(channels) + float32(EPS)))


@register_jitable(**OPTIONS)
def look_room(channels, count):
    return (channels + ROWS + 1) * wide(count) + ROWS * channels


@kernel
def look(table):
    x, norm, shift = array(table, 0), array(table, 1), array(table, 2)
    weight, bias = array(table, 3), array(table, 4)  # [N, C], [N]
    offset, mean, scale, room = array(table, 5), array(table, 6), array(table, 7), array(table, 8)
    pixels, channels, count = number(table, 9), number(table, 10), number(table, 11)
    narrow = wide(count)
    down = thread() * look_room(channels, count)
    looks = down + channels * narrow
    result = looks + ROWS * channels
    clear(room, down, channels * narrow)
    turn(room, down, narrow, weight, count, channels)
    first, last = blocks(pixels)
    row, last = first * BLOCK, min(last * BLOCK, pixels)
    while row < last:
        rows = at_once(row, last)
        for k in range(rows):
            at = (row + k) * channels
            middle, factor = moments(x, at, channels)
            put(mean, row + k, middle)
            put(scale, row + k, factor)
            for c in range(0, channels, WIDTH):
                value = (load(x, at + c) - middle) * factor * load(norm, c) + load(shift, c)
                store(room, looks + k * channels + c, gelu(value)[0])
        for n in range(0, narrow, WIDE):
            tile = product(room, looks, apart(rows, channels), 1, room, down + n, narrow, channels)
            write(room, result + n, narrow, rows, tile)
        for k in range(rows):
            for n in range(count):
                put(offset, (row + k) * count + n, get(room, result + k * narrow + n) + get(bias, n))
        row += rows


@njit(**OPTIONS)
def look_row(dx, x, begin, mean, scale, norm, shift, room, looks, sums, channels):
    """One row: dx comes as the gradient of GELU's result, which is kept, and goes as that of x; sums are added to."""
    by_mean, by_scale = splat(float32(0.0)), splat(float32(0.0))
    for c in range(0, channels, WIDTH):
        centred = (load(x, begin + c) - mean) * scale
        value, slope = gelu(centred * load(norm, c) + load(shift, c))
        store(room, looks + c, value)
        grad = load(dx, begin + c) * slope
        store(room, sums + c, load(room, sums + c) + grad * centred)
        store(room, sums + channels + c, load(room, sums + channels + c) + grad)
        grad = grad * load(norm, c)
        store(dx, begin + c, grad)
        by_mean += grad
        by_scale += grad * centred
    a, b = total(by_mean) / float32(channels), total(by_scale) / float32(channels)
    for c in range(0, channels, WIDTH):
        centred = (load(x, begin + c) - mean) * scale
        store(dx, begin + c, (load(dx, begin + c) - a - centred * b) * scale)


@register_jitable(**OPTIONS)
def look_backward_room(channels, count):
    return (BLOCK + channels + 1) * wide(count) + (BLOCK + 2) * channels


@kernel
def look_backward(table):
    doffset, x, mean, scale = array(table, 0), array(table, 1), array(table, 2), array(table, 3)
    norm, shift, weight = array(table, 4), array(table, 5), array(table, 6)
    dx, gradients, room = array(table, 7), array(table, 8), array(table, 9)  # norm, shift [C], weight [N, C], bias [N]
    pixels, channels, count = number(table, 10), number(table, 11), number(table, 12)
    narrow, size = wide(count), look_backward_room(channels, count)
    sums = thread() * size  # of norm, shift and weight; then of the bias
    bias = sums + (2 + narrow) * channels
    narrowed = bias + narrow
    looks = narrowed + BLOCK * narrow
    clear(room, sums, size)
    first, last = blocks(pixels)
    for begin in range(first * BLOCK, min(last * BLOCK, pixels), BLOCK):
        end = min(begin + BLOCK, pixels)
        for row in range(begin, end):
            for n in range(count):
                value = get(doffset, row * count + n)
                put(room, narrowed + (row - begin) * narrow + n, value)
                put(room, bias + n, get(room, bias + n) + value)
        row = begin
        while row < end:
            rows = at_once(row, end)
            for c in range(0, channels, WIDE):
                at = narrowed + (row - begin) * narrow
                tile = product(room, at, apart(rows, narrow), 1, weight, c, channels, count)
                write(dx, row * channels + c, channels, rows, tile)
            for k in range(row, row + rows):
                at = looks + (k - begin) * channels
                look_row(dx, x, k * channels, get(mean, k), get(scale, k), norm, shift, room, at, sums, channels)
            row += rows
        outer(room, sums + 2 * channels, room, narrowed, narrow, room, looks, channels, count, end - begin)
    barrier()
    first, last = share((2 + count) * channels // WIDTH)
    for i in range(first * WIDTH, last * WIDTH, WIDTH):
        store(gradients, i, summed(room, size, i))
    if thread() == 0:
        for n in range(count):
            value = float32(0.0)
            for k in range(threads()):
                value += get(room, k * size + (2 + narrow) * channels + n)
            put(gradients, (2 + count) * channels + n, value)
