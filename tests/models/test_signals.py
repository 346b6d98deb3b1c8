"""A signal may come while oneDNN computes: of a data loader's worker that ended, of a scheduler that wants the machine.

oneDNN's own matrix product, up to 3.11, then has its stack pointer in the heap, which the signal's handler overwrites.
"""

import ctypes
import os
import platform
import signal
import subprocess
import sys
import time

import pytest
import torch

from damamba.models import DAMamba
from tests.models.helpers import mini

SHAPES = [(1, 3, 128, 128), (2, 3, 160, 192)]
BACKENDS = ['numba', 'vectorized']
END = 'that was all of a backend'


def use(model, x):
    """A training step, and an inference."""
    features = model.train()(x)
    torch.autograd.backward(features, [torch.ones_like(f) for f in features])
    with torch.no_grad():
        model.eval()(x)


def run(**environment) -> str:
    """What this file prints when it is run."""
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), **environment}
    done = subprocess.run([sys.executable, __file__], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.skipif(platform.machine() not in ('x86_64', 'AMD64'), reason='the matrix product is one for x86')
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason='torch has no oneDNN here')
@pytest.mark.parametrize('instructions', ['ALL', 'AVX2'])
def test_onednns_matrix_product_is_not_used(instructions):
    printed = run(ONEDNN_VERBOSE='1', ONEDNN_MAX_CPU_ISA=instructions)
    for backend, part in zip(BACKENDS, printed.split(END)[:-1], strict=True):
        lines = [line for line in part.splitlines() if line.startswith('onednn_verbose') and ',exec,' in line]
        assert any('convolution' in line for line in lines), backend
        assert [line for line in lines if 'gemm:jit' in line] == [], backend


@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='no timers on this system')
def test_a_training_under_signals_ends_well():
    assert 'seconds under signals' in run(SIGNALS='1')


if __name__ == '__main__':
    if 'SIGNALS' in os.environ:
        signal.signal(signal.SIGALRM, lambda *given: None)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        model, x, start = DAMamba('tiny'), torch.randn(SHAPES[0]), time.perf_counter()
        while time.perf_counter() - start < 6:
            use(model, x)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(f'{time.perf_counter() - start:.0f} seconds under signals')
    else:
        for backend in BACKENDS:
            os.environ['DAMAMBA_BACKEND'] = backend
            for shape in SHAPES:
                use(mini(), torch.randn(shape))
                use(DAMamba('tiny'), torch.randn(shape))
            ctypes.CDLL(None).fflush(None)  # oneDNN prints through C's buffer
            print(END, flush=True)
