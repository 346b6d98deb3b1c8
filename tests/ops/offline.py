"""Compile, without a GPU, what the Triton backends launch on one; print each launch as a line of JSON.

Triton's own way from arguments to a binary runs, up to the launch. Tensors are on `meta`: they have no memory.
"""

import json
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from damamba.ops.adaptive_sample import triton_launch as sample
from damamba.ops.selective_scan import triton_launch as scan

CHANNELS, GROUPS = 80, 5
TARGETS = [(80, 'float16'), (90, 'bfloat16'), (90, 'float32')]
MAPS = [(2, 200, 336), (1, 1, 1), (1, 9, 7), (3, 101, 167), (8, 25, 42)]  # B, H, W
SEQUENCES = [(2, 4099), (1, 1), (1, 31), (1, 64), (3, 1024), (2, 67200)]  # B, L
DUMP = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'


def compiling_for(arch: int) -> SimpleNamespace:
    """As much of Triton's driver as compiling needs."""
    target = GPUTarget('cuda', arch, 32)
    return SimpleNamespace(
        get_current_target=lambda: target,
        get_current_device=lambda: arch,
        get_current_stream=lambda device: 0,
        get_active_torch_device=lambda: torch.device('cpu'),
    )


def passes(dtype: torch.dtype):
    """Every pass over every size, as (operator, pass, function)."""
    for size in MAPS:
        x = torch.empty(*size, CHANNELS, dtype=dtype, device='meta')
        offset = torch.empty(*size, 2 * GROUPS, device='meta')
        yield 'adaptive_sample', 'forward', lambda x=x, offset=offset: sample.forward(x, offset)
        yield 'adaptive_sample', 'backward', lambda x=x, offset=offset: sample.backward(x, x, offset)
    for size in SEQUENCES:
        u, dt = (torch.empty(*size, CHANNELS, dtype=dtype, device='meta') for _ in range(2))
        _, B, C = torch.empty(*size, GROUPS + 2, dtype=dtype, device='meta').split((GROUPS, 1, 1), dim=2)
        A, D, bias = (torch.empty(CHANNELS, device='meta') for _ in range(3))
        args = u, dt, A, B.squeeze(2), C.squeeze(2), D, bias
        yield 'selective_scan', 'forward', lambda args=args: scan.forward(*args)
        yield 'selective_scan', 'backward', lambda args=args: scan.backward(args[0], *args)


def usage(binary: bytes) -> dict:
    """Registers, stack and local memory of a kernel; nothing where this Triton brings no cuobjdump."""
    if not DUMP.is_file():
        return {}
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(binary)
        file.flush()
        text = subprocess.run([DUMP, '-res-usage', file.name], capture_output=True, text=True, check=True).stdout
    return {name: int(re.search(rf'{name.upper()}:(\d+)', text)[1]) for name in ('reg', 'stack', 'local')}


def barriers(ptx: str) -> list[int]:
    """How often each loop waits for a program's other threads, in one pass."""
    labels = {label[1]: label.start() for label in re.finditer(r'^(\$\w+):', ptx, re.MULTILINE)}
    jumps = [(labels[jump[1]], jump.start()) for jump in re.finditer(r'\bbra(?:\.uni)?\s+(\$\w+);', ptx)]
    return [len(re.findall(r'\bbar(?:rier)?\.', ptx[to:at])) for to, at in jumps if to < at]


def main() -> None:
    compiled, described = [], {}
    JITFunction.__getitem__ = lambda kernel, grid: (
        lambda *args, **options: compiled.append(
            (kernel.__name__, kernel.run(*args, grid=grid, warmup=True, **options))
        )
    )
    for arch, dtype in TARGETS:
        driver.set_active(compiling_for(arch))
        for operator, step, function in passes(getattr(torch, dtype)):
            compiled.clear()
            function()
            seen = Counter()
            for name, kernel in compiled:
                if kernel.hash not in described:
                    atomics = bool(re.search(r'\b(atom|red)\.global', kernel.asm['ptx']))
                    loops = barriers(kernel.asm['ptx'])
                    described[kernel.hash] = {'atomics': atomics, 'barriers': loops, **usage(kernel.asm['cubin'])}
                row = {'arch': arch, 'dtype': dtype, 'operator': operator, 'pass': step, 'kernel': name}
                print(json.dumps({**row, 'nth': seen[name], 'hash': kernel.hash, **described[kernel.hash]}))
                seen[name] += 1


if __name__ == '__main__':
    main()
