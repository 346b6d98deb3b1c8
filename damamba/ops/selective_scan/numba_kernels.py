"""The recurrence for the CPU, in Numba: each thread walks the sequence for its channels, eight at a time.

h_t = a_t h_{t-1} + d_t B_t u_t, y_t = C_t h_t + D u_t, with d_t = softplus(dt_t + dt_bias), a_t = exp(d_t A).
With r_t the gradient of h_t and w_t = a_t r_t:  r_t = C_t dy_t + w_{t+1}.

Sequences (N, L, C). All channels go through SEGMENT steps before any goes on, so that what they share stays in the
caches. The forward keeps the states at the segments' beginnings; the backward computes the others anew in each.
"""

from numba import float32, int64

from damamba.ops.cpu.entry import array, kernel, share, thread
from damamba.ops.cpu.lanes import exp, load, softplus, splat, store, total
from damamba.ops.cpu.threads import WIDTH

SEGMENT = 64  # steps


@kernel
def forward(table):
    u, dt, A, B, C = array(table, 0), array(table, 1), array(table, 2), array(table, 3), array(table, 4)
    D, dt_bias, y = array(table, 5), array(table, 6), array(table, 7)
    starts = array(table, 8)  # states [segments + 1, N, C]; 0 at first
    batch, length, channels = table[9], table[10], table[11]
    first, last = share(batch * channels // WIDTH)
    for segment in range((length + SEGMENT - 1) // SEGMENT):
        for block in range(first, last):
            image, c = divmod(block * WIDTH, channels)
            decay, skip, bias = load(A, c), load(D, c), load(dt_bias, c)
            h = load(starts, (segment * batch + image) * channels + c)
            begin = image * length + segment * SEGMENT
            for t in range(begin, min(begin + SEGMENT, (image + 1) * length)):
                i = t * channels + c
                x = load(u, i)
                d, _ = softplus(load(dt, i) + bias)
                h = exp(d * decay) * h + d * B[t] * x
                store(y, i, h * C[t] + skip * x)
            store(starts, ((segment + 1) * batch + image) * channels + c, h)


@kernel
def backward(table):
    dy, u, dt, A, B = array(table, 0), array(table, 1), array(table, 2), array(table, 3), array(table, 4)
    C, D, dt_bias = array(table, 5), array(table, 6), array(table, 7)
    du, ddt = array(table, 8), array(table, 9)
    by_channel = array(table, 10)  # [4, N, C], 0 at first: dA, dD, dbias, w
    by_step = array(table, 11)  # [threads, 2, N, L], 0 at first: dB, dC
    starts, steps = array(table, 12), array(table, 13)  # states [segments + 1, N, C]; [threads, 4, SEGMENT + 1, WIDTH]
    batch, length, channels = table[14], table[15], table[16]
    segments = (length + SEGMENT - 1) // SEGMENT
    first, last = share(batch * channels // WIDTH)
    row = SEGMENT * WIDTH + WIDTH
    me = int64(thread())
    size = me * 4 * row
    slope, decay, state = size + row, size + 2 * row, size + 3 * row
    dB = me * 2 * batch * length
    dC = dB + batch * length
    stride = batch * channels

    for segment in range(segments - 1, -1, -1):
        for block in range(first, last):
            image, c = divmod(block * WIDTH, channels)
            rate, skip, bias = load(A, c), load(D, c), load(dt_bias, c)
            h = load(starts, (segment * batch + image) * channels + c)
            begin = image * length + segment * SEGMENT
            count = min(SEGMENT, length - segment * SEGMENT)
            store(steps, state, h)
            for k in range(count):
                t = begin + k
                i = t * channels + c
                d, dd = softplus(load(dt, i) + bias)
                a = exp(d * rate)
                h = a * h + d * B[t] * load(u, i)
                store(steps, size + k * WIDTH, d)
                store(steps, slope + k * WIDTH, dd)
                store(steps, decay + k * WIDTH, a)
                store(steps, state + (k + 1) * WIDTH, h)
            sums = image * channels + c
            w = load(by_channel, sums + 3 * stride)
            sum_A, sum_D, sum_bias = splat(float32(0.0)), splat(float32(0.0)), splat(float32(0.0))
            for k in range(count - 1, -1, -1):
                t = begin + k
                i = t * channels + c
                x, g, d = load(u, i), load(dy, i), load(steps, size + k * WIDTH)
                r = g * C[t] + w
                w = load(steps, decay + k * WIDTH) * r
                log_slope = w * load(steps, state + k * WIDTH)  # gradient of d A
                rx = r * x
                store(du, i, g * skip + r * d * B[t])
                dd = (log_slope * rate + rx * B[t]) * load(steps, slope + k * WIDTH)
                store(ddt, i, dd)
                by_step[dB + t] += total(rx * d)
                by_step[dC + t] += total(g * load(steps, state + (k + 1) * WIDTH))
                sum_A += log_slope * d
                sum_D += g * x
                sum_bias += dd
            store(by_channel, sums, load(by_channel, sums) + sum_A)
            store(by_channel, sums + stride, load(by_channel, sums + stride) + sum_D)
            store(by_channel, sums + 2 * stride, load(by_channel, sums + 2 * stride) + sum_bias)
            store(by_channel, sums + 3 * stride, w)
