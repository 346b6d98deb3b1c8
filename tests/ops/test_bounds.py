"""Numba's kernels take addresses: none may read or write beyond its arrays, whatever the sizes.

Every array ends, or begins, at a page that nobody may touch: a process that does dies of it.
"""

import os
import subprocess
import sys

from tests.detection import ROOT

GUARDED = """
import ctypes, math, mmap
import torch
from damamba.ops.adaptive_sample import numba_launch as sampling
from damamba.ops.selective_scan import numba_launch as scanning

libc = ctypes.CDLL(None)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE, kept = mmap.PAGESIZE, []

def guarded(*shape):
    size = 4 * math.prod(shape)
    body = -(-size // PAGE) * PAGE
    memory = mmap.mmap(-1, body + 2 * PAGE)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (begin, begin + PAGE + body):
        assert libc.mprotect(page, PAGE, 0) == 0
    kept.append(memory)
    start = PAGE + at_end * (body - size)
    numbers = torch.frombuffer(memory, dtype=torch.float32, count=math.prod(shape), offset=start)
    return numbers.view(shape).fill_(math.nan)

def drawn(*shape):
    return guarded(*shape).copy_(torch.randn(shape))

for module in (sampling, scanning):
    module.empty, module.zeros = guarded, lambda *shape: guarded(*shape).zero_()

def results(batch, height, width, channels):
    shape = batch, height, width, channels
    x, offset = drawn(*shape), drawn(batch, height, width, 2 * max(channels // 16, 1))
    yield (u := sampling.forward(x, offset))
    yield from sampling.backward(drawn(*shape), x, offset)
    sequence, step = (batch, height * width, channels), (batch, height * width)
    inputs = u.flatten(1, 2), drawn(*sequence), -drawn(channels).exp(), drawn(*step), drawn(*step), *drawn(2, channels)
    yield scanning.forward(*inputs)
    yield from scanning.backward(drawn(*sequence), *inputs)

for at_end in (False, True):
    for threads in (1, 3, 16):
        torch.set_num_threads(threads)
        for channels in (8, 16, 48, 80, 320, 512):
            for size in ((1, 1, 1), (2, 1, 3), (1, 5, 7), (3, 4, 9), (1, 8, 8), (1, 11, 6)):
                print(f'pages {"behind" if at_end else "before"}', threads, channels, size, flush=True)
                for result in results(*size, channels):
                    assert result.isfinite().all()
print('all of them')
"""


def test_no_kernel_leaves_its_arrays():
    """What is uninitialised is NaN, so that a result which is not stems from it."""
    ours = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, '-c', GUARDED], capture_output=True, text=True, env=ours, timeout=600)
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, (last, done.stderr[-2000:])
    assert last == ['all of them']
