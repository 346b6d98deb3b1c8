"""What the Triton backends launch on a GPU compiles, without one: registers, atomics, barriers; one for all sizes."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytest.importorskip('triton')

KERNELS = {
    ('adaptive_sample', 'forward'): {'_forward_kernel'},
    ('adaptive_sample', 'backward'): {'_backward_kernel'},
    ('selective_scan', 'forward'): {'summarise', 'carry', 'scan'},
    ('selective_scan', 'backward'): {'summarise', 'carry', 'scan_back', 'total'},
}
TARGETS = (80, 'float16'), (90, 'bfloat16'), (90, 'float32')  # as in offline.py: Ampere and Hopper
SPILLED = 72  # bytes of a thread's stack in scan_back, at its cap of 168 registers


@pytest.fixture(scope='module')
def launches():
    """What offline.py compiled, a dictionary for each launch."""
    root = Path(__file__).resolve().parents[2]
    env = {name: value for name, value in os.environ.items() if name != 'TRITON_INTERPRET'}
    env.update(PYTHONPATH=str(root), OMP_NUM_THREADS='1')
    command = [sys.executable, str(Path(__file__).with_name('offline.py'))]
    done = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kernel_compiles_for_ampere_and_hopper(launches):
    found = defaultdict(set)
    for row in launches:
        found[row['arch'], row['dtype'], row['operator'], row['pass']].add(row['kernel'])
    assert found == {(*target, *step): names for target in TARGETS for step, names in KERNELS.items()}


def test_nothing_is_compiled_anew_because_the_size_changes(launches):
    binaries = defaultdict(set)
    for row in launches:
        binaries[tuple(row[key] for key in ('arch', 'dtype', 'operator', 'pass', 'kernel', 'nth'))].add(row['hash'])
    assert {key: len(found) for key, found in binaries.items() if len(found) > 1} == {}


def test_registers_hold_what_the_kernels_need(launches):
    if 'stack' not in launches[0]:
        pytest.skip('this Triton brings no cuobjdump, which tells what a kernel uses')
    for row in launches:
        assert row['stack'] <= (SPILLED if row['kernel'] == 'scan_back' else 0), row
        assert row['local'] == 0, row


def test_no_loop_of_the_scan_has_a_barrier(launches):
    for row in launches:
        if row['operator'] == 'selective_scan':
            assert row['barriers'], ('no loop found', row)
            assert not any(row['barriers']), row


def test_only_the_samplings_backward_adds_atomically(launches):
    atomic = {(row['operator'], row['pass'], row['kernel']) for row in launches if row['atomics']}
    assert atomic == {('adaptive_sample', 'backward', '_backward_kernel')}
