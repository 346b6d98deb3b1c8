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
from damamba.ops.depthwise import numba_launch as depthwise
from damamba.ops.projections import numba_launch as projections
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

for module in (sampling, depthwise, projections, scanning):
    for name in ('empty', 'room', 'zeros'):
        if hasattr(module, name):
            setattr(module, name, guarded if name != 'zeros' else lambda *shape: guarded(*shape).zero_())

def results(batch, height, width, channels):
    rank, groups, length = math.ceil(channels / 16), channels // 16, height * width
    x, shape = drawn(batch, height, width, channels), (batch, height, width, channels)
    norm, shift, weight, bias = drawn(channels), drawn(channels), drawn(2 * groups, channels), drawn(2 * groups)
    offset, stats = projections.look(x, norm, shift, weight, bias)
    yield offset
    yield from projections.look_backward(offset, x, stats, norm, shift, weight)
    yield (u := sampling.forward(x, offset))
    yield from sampling.backward(x, u, offset)
    project, expand, du = drawn(rank + 2, channels), drawn(channels, rank), drawn(*shape)
    raw, dt, by_step = projections.steps(x, project, expand)
    yield from (dt, by_step, *projections.steps_backward(dt, by_step, x, raw, project, expand, du), du)
    inputs = x.flatten(1, 2), dt, -drawn(channels).exp(), *by_step, drawn(channels), drawn(channels)
    y, starts = scanning.scan(*inputs)
    yield from (y, *scanning.gradients(drawn(*y.shape), *inputs, starts=starts))
    maps, kernel = x.permute(0, 3, 1, 2), drawn(channels, 1, 3, 3)
    z, active = depthwise.with_silu(maps, kernel, shift)
    yield from (z, active, depthwise.of_gelu(maps, kernel, shift))
    for options in (dict(gelu=True), dict(silu=z)):
        yield from depthwise.backward(drawn(*shape).permute(0, 3, 1, 2), maps, kernel, **options)

for at_end in (False, True):
    for threads in (1, 3, 16):
        torch.set_num_threads(threads)
        for channels in (16, 48, 80, 320, 512):
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
