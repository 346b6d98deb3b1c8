"""The recurrence as Triton kernels: many lanes, each walking its own stretch of the sequence, step by step.

B batch, L length, C channels. A sequence is cut into K chunks of N blocks of T = STEPS steps. A row is one chunk of one
sequence, R = B*K; a lane is one row of one channel; a program holds a tile of lanes, [ROWS, WIDTH].

d_t = softplus(dt_t + dt_bias);  a_t = exp(d_t A);  h_t = a_t h_{t-1} + d_t B_t u_t;  y_t = C_t h_t + D u_t

1. Every lane sums the d of its chunk, since exp(A sum d) is the chunk's decay, and finds its last h, from h = 0.
2. A scan over the K chunks gives the h before each of them.
3. Every lane walks its chunk again, from the h it now knows, and writes. If K = 1 this is the only phase.

Backward, r_t = C_t dy_t + w_{t+1} is the gradient of h_t, and w_t = a_t r_t: the recurrence from right to left, with
the same decays. Phase 1 finds a chunk's first w while it walks to the right, as sum_t (a_first ... a_t) C_t dy_t.
Phase 3 takes the chunk's blocks from right to left; in a block it walks right with h, keeps T steps in registers, and
walks left with r. The h before a block follows from the sums that phase 1 writes at the end of each block, so that no
state per step goes through memory. Of streams (B, L, C), the forward reads u, dt twice and writes y; the backward reads
u, dt, dy twice and writes du, ddt. The second reading starts where the first ended, with what the L2 cache still holds.

Inside, everything is float32. No atomics: sums over rows and channels are added in a fixed order, from partial sums.
Parts of sums over channels lie in whole blocks, past a sequence's end too: stored at multiples of T, they keep the
layout they were summed in; stored at any step, they would go through shared memory, with barriers, to another layout.
"""

from typing import NamedTuple

from torch import Tensor

from damamba.ops.triton_needs import jit

try:
    import triton
    import triton.language as tl
    from triton.language import constexpr
except ImportError:  # then triton_launch.why_not says so, and no kernel is ever called
    triton = None
    constexpr = object


class Strided(NamedTuple):
    """A tensor (B, L, C) as the kernels take it, with its strides; B's and C's are plain arguments, which may vary."""

    data: Tensor
    batch: int
    time: int
    channel: int


@jit
def _log1p_exp(x):
    """log(1 + exp(-|x|)), to 3e-7 of its value: log1p(e) / e is nearly a polynomial on [0, 1]."""
    e = tl.exp2(tl.abs(x) * -1.4426950408889634)
    p = -0.008539206348359585 * e + 0.04408962279558182
    p = p * e - 0.10768169909715652
    p = p * e + 0.17745240032672882
    p = p * e - 0.24495463073253632
    p = p * e + 0.33275479078292847
    p = p * e - 0.4999740421772003
    p = p * e + 0.9999998211860657
    return p * e


@jit
def _softplus(x):
    """softplus(x) and its derivative, the logistic function."""
    rest = _log1p_exp(x)
    return tl.maximum(x, 0.0) + rest, tl.exp2((tl.minimum(x, 0.0) - rest) * 1.4426950408889634)


@jit
def _per_channel(x, channel, channels):
    return tl.load(x + channel, channel < channels, 0.0).to(tl.float32)


@jit
def _rate(A, channel, channels):
    """A / log(2): exp(d A) is exp2(d rate)."""
    return _per_channel(A, channel, channels) * 1.4426950408889634


@jit
def _lanes(program, length, chunks, rows, blocks, channels, STEPS: constexpr, ROWS: constexpr, WIDTH: constexpr):
    """Row, sequence, first step and number of steps, all [ROWS, 1]; and channel, [1, WIDTH]."""
    across = tl.cdiv(channels, WIDTH)
    row = program // across * ROWS + tl.arange(0, ROWS)[:, None]
    sequence = row // chunks
    first = (row - sequence * chunks).to(tl.int64) * blocks * STEPS
    rest = tl.where(row < rows, tl.minimum(length - first, blocks * STEPS), 0).to(tl.int32)
    channel = program % across * WIDTH + tl.arange(0, WIDTH)[None, :]
    return row.to(tl.int64), sequence.to(tl.int64), first, rest, channel


@jit
def _left(rest, channel, channels, STEPS: constexpr):
    """How many of a block's steps there are, for each row and for each lane."""
    left = tl.minimum(rest, STEPS).to(tl.int32)
    return left, tl.where(channel < channels, left, 0)


@jit
def _steps(start, stride, left, other, STEPS: constexpr):
    """T tiles in float32, `stride` apart; `other` where fewer are left."""
    values = ()
    for i in tl.static_range(STEPS):
        values += (tl.load(start, i < left, other).to(tl.float32),)
        start += stride
    return values


@jit
def _read(x, sequence, time, channel, left, other, STEPS: constexpr):
    """T steps of x."""
    start = x.data + sequence * x.batch + time * x.time + channel * x.channel
    return _steps(start, x.time, left, other, STEPS)


@jit
def summarise(
    u, dt, dy, A, B, B_batch, B_time, C, C_batch, C_time, dt_bias, sums, ends, tails,
    length, chunks, rows, blocks, channels,
    BACKWARD: constexpr, STEPS: constexpr, ROWS: constexpr, WIDTH: constexpr,
):  # fmt: skip
    """Phase 1: each lane's sum of d and last h, from h = 0; for the backward at every block's end, and its first w."""
    row, sequence, first, rest, channel = _lanes(
        tl.program_id(0), length, chunks, rows, blocks, channels, STEPS, ROWS, WIDTH
    )
    there = (rest > 0) & (channel < channels)
    rate, bias = _rate(A, channel, channels), _per_channel(dt_bias, channel, channels)
    h = tl.zeros([ROWS, WIDTH], tl.float32)
    total = tl.zeros([ROWS, WIDTH], tl.float32)
    tail = tl.zeros([ROWS, WIDTH], tl.float32)
    decay = tl.full([ROWS, WIDTH], 1.0, tl.float32)
    for block in range(blocks):
        time = first + block * STEPS
        left, lanes_left = _left(rest - block * STEPS, channel, channels, STEPS)
        xs = _read(dt, sequence, time, channel, lanes_left, float('-inf'), STEPS)  # past the end, d = 0 and a = 1
        us = _read(u, sequence, time, channel, lanes_left, 0.0, STEPS)
        Bs = _steps(B + sequence * B_batch + time * B_time, B_time, left, 0.0, STEPS)
        if BACKWARD:
            dys = _read(dy, sequence, time, channel, lanes_left, 0.0, STEPS)
            Cs = _steps(C + sequence * C_batch + time * C_time, C_time, left, 0.0, STEPS)
        for i in tl.static_range(STEPS):
            d, _ = _softplus(xs[i] + bias)
            a = tl.exp2(d * rate)
            h = a * h + d * us[i] * Bs[i]
            total += d
            if BACKWARD:
                decay *= a
                tail += decay * (Cs[i] * dys[i])
        if BACKWARD:
            mark = (row * blocks + block) * channels + channel
            tl.store(sums + mark, total, there)
            tl.store(ends + mark, h, there)
    lane = row * channels + channel
    if BACKWARD:
        tl.store(tails + lane, tail, there)
    else:
        tl.store(sums + lane, total, there)
        tl.store(ends + lane, h, there)


@jit
def _after(decay, h, next_decay, next_h):
    return decay * next_decay, next_decay * h + next_h


@jit
def carry(
    A, sums, ends, tails, starts, chunks, marks, channels,
    STEPS: constexpr, ROWS: constexpr, WIDTH: constexpr,
):  # fmt: skip
    """Phase 2: h before every chunk; and in a second row of programs, where all goes from right to left, w after it.

    The chunks are dealt to ROWS lanes. Each goes through the share of the lane before it and finds that share's decay
    and end; a scan over the lanes makes that what each lane starts from; then it goes through its own share.
    """
    across, reverse = tl.cdiv(channels, WIDTH), tl.program_id(1)
    channel = tl.program_id(0) % across * WIDTH + tl.arange(0, WIDTH)[None, :]
    rate = _rate(A, channel, channels)
    origin = (tl.program_id(0) // across).to(tl.int64) * chunks + reverse * (chunks - 1)  # where the scan begins
    own = tails if reverse == 1 else ends
    own_marks = tl.where(reverse == 1, 1, marks)
    sums += ((origin + 1) * marks - 1) * channels + channel
    own += ((origin + 1) * own_marks - 1) * channels + channel
    starts += (reverse * (tl.num_programs(0) // across * chunks) + origin) * channels + channel
    stride = (1 - 2 * reverse) * channels
    share = tl.cdiv(chunks, ROWS)
    first = tl.arange(0, ROWS).to(tl.int64)[:, None] * share
    decay = tl.full([ROWS, WIDTH], 1.0, tl.float32)
    h = tl.zeros([ROWS, WIDTH], tl.float32)
    for i in range(0, share, STEPS):
        k = tl.maximum(first - share, 0) + i
        _, left = _left(tl.minimum(first, chunks) - k, channel, channels, STEPS)
        totals = _steps(sums + k * marks * stride, marks * stride, left, 0.0, STEPS)
        owns = _steps(own + k * own_marks * stride, own_marks * stride, left, 0.0, STEPS)
        for j in tl.static_range(STEPS):
            decay, h = _after(decay, h, tl.exp2(totals[j] * rate), owns[j])
    decay, h = tl.associative_scan((decay, h), 0, _after)
    for i in range(0, share, STEPS):
        k = first + i
        _, left = _left(tl.minimum(first + share, chunks) - k, channel, channels, STEPS)
        totals = _steps(sums + k * marks * stride, marks * stride, left, 0.0, STEPS)
        owns = _steps(own + k * own_marks * stride, own_marks * stride, left, 0.0, STEPS)
        place = starts + k * stride
        for j in tl.static_range(STEPS):
            tl.store(place, h, j < left)
            h = tl.exp2(totals[j] * rate) * h + owns[j]
            place += stride


@jit
def scan(
    u, dt, A, B, B_batch, B_time, C, C_batch, C_time, D, dt_bias, starts, y,
    length, chunks, rows, blocks, channels,
    STEPS: constexpr, ROWS: constexpr, WIDTH: constexpr,
):  # fmt: skip
    """Phase 3 of the forward: y."""
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    row, sequence, first, rest, channel = _lanes(program, length, chunks, rows, blocks, channels, STEPS, ROWS, WIDTH)
    rate, bias = _rate(A, channel, channels), _per_channel(dt_bias, channel, channels)
    skip = _per_channel(D, channel, channels)
    carried = (rest > 0) & (channel < channels) & (chunks > 1)
    h = tl.load(starts + row * channels + channel, carried, 0.0)
    for block in range(blocks):
        time = first + block * STEPS
        left, lanes_left = _left(rest - block * STEPS, channel, channels, STEPS)
        xs = _read(dt, sequence, time, channel, lanes_left, float('-inf'), STEPS)
        us = _read(u, sequence, time, channel, lanes_left, 0.0, STEPS)
        Bs = _steps(B + sequence * B_batch + time * B_time, B_time, left, 0.0, STEPS)
        Cs = _steps(C + sequence * C_batch + time * C_time, C_time, left, 0.0, STEPS)
        place = y + (sequence * length + time) * channels + channel
        for i in tl.static_range(STEPS):
            d, _ = _softplus(xs[i] + bias)
            h = tl.exp2(d * rate) * h + d * us[i] * Bs[i]
            tl.store(place, Cs[i] * h + skip * us[i], i < lanes_left)
            place += channels


@jit
def scan_back(
    u, dt, dy, A, B, B_batch, B_time, C, C_batch, C_time, D, dt_bias, sums, ends, starts,
    du, ddt, by_step, by_channel, length, chunks, rows, blocks, channels,
    STEPS: constexpr, ROWS: constexpr, WIDTH: constexpr,
):  # fmt: skip
    """Phase 3 of the backward: du, ddt, and this program's part of the other gradients."""
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    row, sequence, first, rest, channel = _lanes(program, length, chunks, rows, blocks, channels, STEPS, ROWS, WIDTH)
    there = (rest > 0) & (channel < channels)
    slope, rate = _per_channel(A, channel, channels), _rate(A, channel, channels)
    skip, bias = _per_channel(D, channel, channels), _per_channel(dt_bias, channel, channels)
    carried = starts + row * channels + channel
    start = tl.load(carried, there & (chunks > 1), 0.0)
    w = tl.load(carried + rows.to(tl.int64) * channels, there & (chunks > 1), 0.0)
    dA = tl.zeros([ROWS, WIDTH], tl.float32)
    dD = tl.zeros([ROWS, WIDTH], tl.float32)
    dbias = tl.zeros([ROWS, WIDTH], tl.float32)
    across, column = tl.cdiv(channels, WIDTH), tl.arange(0, WIDTH)[None, :]
    all_steps = rows.to(tl.int64) * blocks * STEPS
    by_step += program % across * all_steps
    for later in range(blocks):
        block = blocks - 1 - later
        time = first + block * STEPS
        left, lanes_left = _left(rest - block * STEPS, channel, channels, STEPS)
        xs = _read(dt, sequence, time, channel, lanes_left, float('-inf'), STEPS)
        us = _read(u, sequence, time, channel, lanes_left, 0.0, STEPS)
        dys = _read(dy, sequence, time, channel, lanes_left, 0.0, STEPS)
        Bs = _steps(B + sequence * B_batch + time * B_time, B_time, left, 0.0, STEPS)
        Cs = _steps(C + sequence * C_batch + time * C_time, C_time, left, 0.0, STEPS)
        mark = (row * blocks + block - 1) * channels + channel  # the end of the block before
        h = tl.exp2(tl.load(sums + mark, there & (block > 0), 0.0) * rate) * start
        h += tl.load(ends + mark, there & (block > 0), 0.0)
        factors = ()  # of w in a step's w and of r in its dA, du, dB, ddt
        dBs = tl.zeros([ROWS, WIDTH], tl.float32)  # of its T steps, each row's sums lie in its first T lanes
        dCs = tl.zeros([ROWS, WIDTH], tl.float32)
        for i in tl.static_range(STEPS):
            d, sigmoid = _softplus(xs[i] + bias)
            a = tl.exp2(d * rate)
            kept, gained = a * h, d * us[i]
            factors += ((a, d * kept, d * Bs[i], gained, sigmoid * (slope * kept + us[i] * Bs[i])),)
            h = kept + gained * Bs[i]
            dD += dys[i] * us[i]
            dCs = tl.where(column == i, tl.sum(dys[i] * h, 1, keep_dims=True), dCs)
        step = sequence * length + time
        place = (step + STEPS - 1) * channels + channel
        for i in tl.static_range(STEPS - 1, -1, -1):
            a, for_A, for_u, for_B, for_dt = factors[i]
            r = Cs[i] * dys[i] + w
            w = a * r
            dA += r * for_A
            dbias += r * for_dt
            dBs = tl.where(column == i, tl.sum(r * for_B, 1, keep_dims=True), dBs)
            tl.store(du + place, r * for_u + skip * dys[i], i < lanes_left)
            tl.store(ddt + place, r * for_dt, i < lanes_left)
            place -= channels
        in_block = (row * blocks + block) * STEPS + column
        tl.store(by_step + in_block, dBs, (rest > 0) & (column < STEPS))
        tl.store(by_step + across * all_steps + in_block, dCs, (rest > 0) & (column < STEPS))
    by_channel += program // across * channels + channel
    parts = tl.num_programs(0) // across * channels
    tl.store(by_channel, tl.sum(dA, 0, keep_dims=True), channel < channels)
    tl.store(by_channel + parts, tl.sum(dD, 0, keep_dims=True), channel < channels)
    tl.store(by_channel + 2 * parts, tl.sum(dbias, 0, keep_dims=True), channel < channels)


@jit
def total(partial, first, second, third, parts, size, stride, PARTS: constexpr, WIDTH: constexpr):
    """Add partial (outputs, parts, sequences, stride) over parts, PARTS at a time; of a sequence, the first `size`."""
    output, across = tl.program_id(1), tl.cdiv(size, WIDTH)
    sequence, sequences = (tl.program_id(0) // across).to(tl.int64), tl.num_programs(0) // across
    column = tl.program_id(0) % across * WIDTH + tl.arange(0, WIDTH)[None, :]
    partial += (output.to(tl.int64) * parts * sequences + sequence) * stride
    total = tl.zeros([PARTS, WIDTH], tl.float32)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)[:, None]
        place = part.to(tl.int64) * sequences * stride + column
        total += tl.load(partial + place, (part < parts) & (column < size), 0.0)
    total = tl.sum(total, 0, keep_dims=True)
    place = sequence * size + column
    if output == 0:
        tl.store(first + place, total, column < size)
    elif output == 1:
        tl.store(second + place, total, column < size)
    else:
        tl.store(third + place, total, column < size)
