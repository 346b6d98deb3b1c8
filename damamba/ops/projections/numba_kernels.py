"""Offsets of what was looked at, step sizes of what was sampled, and the derivatives of both; a row is one pixel.

P rows of C channels, R the rank of the step sizes. Products of so narrow matrices are not worth a library's
preparations: here they are done while their rows lie in the caches, together with what lies around them.
"""

import math

from numba import float32, njit
from numba.extending import register_jitable

from damamba.ops.cpu.entry import array, barrier, get, kernel, number, put, share, thread, threads
from damamba.ops.cpu.lanes import OPTIONS, gelu, load, splat, store, total
from damamba.ops.cpu.products import (
    BLOCK,
    ROWS,
    add,
    apart,
    at_once,
    blocks,
    clear,
    gather,
    outer,
    product,
    summed,
    turn,
    wide,
    write,
)
from damamba.ops.cpu.threads import WIDE, WIDTH
from damamba.ops.projections import EPS

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
    clear(room, down, channels * narrow)  # what pads it might be slow to compute with
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


@njit(**OPTIONS)
def pull_back(room, draw, down, ddt, dby_step, project, du, begin, end, pixels, channels, rank):
    """The gradient of a block's raw rows, and what of du comes from it."""
    narrow, row = wide(rank + 2), begin
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


@kernel
def steps_backward(table):
    ddt, dby_step, u, raw = array(table, 0), array(table, 1), array(table, 2), array(table, 3)
    project, expand, du = array(table, 4), array(table, 5), array(table, 6)  # du is added to
    dproject, dexpand, room = array(table, 7), array(table, 8), array(table, 9)
    pixels, channels, rank = number(table, 10), number(table, 11), number(table, 12)
    narrow, size = wide(rank + 2), steps_backward_room(channels, rank)
    own = thread() * size  # sums of the projection's gradient, then of the expansion's
    draw = own + 2 * narrow * channels
    down = draw + BLOCK * narrow
    clear(room, own, size)
    gather(room, down, narrow, expand, channels, rank)
    first, last = blocks(pixels)
    for begin in range(first * BLOCK, min(last * BLOCK, pixels), BLOCK):
        end, at = min(begin + BLOCK, pixels), begin * channels
        pull_back(room, draw, down, ddt, dby_step, project, du, begin, end, pixels, channels, rank)
        outer(room, own, room, draw, narrow, u, at, channels, rank + 2, end - begin)
        outer(room, own + narrow * channels, raw, begin * narrow, narrow, ddt, at, channels, rank, end - begin)
    barrier()
    first, last = share(channels // WIDTH)
    for c in range(first * WIDTH, last * WIDTH, WIDTH):
        for n in range(rank + 2):
            store(dproject, n * channels + c, summed(room, size, n * channels + c))
        for n in range(rank):
            at = (narrow + n) * channels + c
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
        value += load(x, c) - mean
    mean += total(value) / float32(channels)  # its rounding would be all that is left of a constant row
    value = splat(float32(0.0))
    for c in range(at, at + channels, WIDTH):
        centred = load(x, c) - mean
        value += centred * centred
    return mean, float32(1.0) / float32(math.sqrt(total(value) / float32(channels) + float32(EPS)))


@register_jitable(**OPTIONS)
def look_room(channels, count):
    return (channels + ROWS) * wide(count) + ROWS * channels


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
    clear(room, down, channels * narrow)  # what pads it might be slow to compute with
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


@njit(**OPTIONS)
def take_rows(room, narrowed, bias, doffset, begin, end, count):
    """A block's rows of doffset, padded, and their sums."""
    for n in range(count):
        value = float32(0.0)
        for row in range(begin, end):
            put(room, narrowed + (row - begin) * wide(count) + n, get(doffset, row * count + n))
            value += get(doffset, row * count + n)
        put(room, bias + n, get(room, bias + n) + value)


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
        row, end = begin, min(begin + BLOCK, pixels)
        take_rows(room, narrowed, bias, doffset, begin, end, count)
        while row < end:
            rows, at = at_once(row, end), narrowed + (row - begin) * narrow
            for c in range(0, channels, WIDE):
                tile = product(room, at, apart(rows, narrow), 1, weight, c, channels, count)
                write(dx, row * channels + c, channels, rows, tile)
            for k in range(row, row + rows):
                kept = looks + (k - begin) * channels
                look_row(dx, x, k * channels, get(mean, k), get(scale, k), norm, shift, room, kept, sums, channels)
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
                value += get(room, k * size + bias + n)
            put(gradients, (2 + count) * channels + n, value)
