"""Products of narrow matrices within Numba's kernels for the CPU, while their rows lie in the caches.

C channels, a multiple of WIDE. Kernels share blocks of BLOCK rows among their threads. Narrow rows are padded to
``wide(N)`` numbers; a weight whose rows are narrow, or that is read by columns, is first copied to the thread's own
memory, its room.
"""

from numba import float32, njit
from numba.extending import register_jitable

from damamba.ops.cpu.entry import get, put, share, threads
from damamba.ops.cpu.lanes import OPTIONS, load, splat, store
from damamba.ops.cpu.threads import WIDE, WIDTH

ROWS = 4  # what a product computes at once, of WIDE columns
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
    """Add what :func:`product` gave to what is there; all of its rows, or the first."""
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
    """Fill with 0; the count is a multiple of WIDTH."""
    for i in range(first, first + count, WIDTH):
        store(room, i, splat(float32(0.0)))


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
