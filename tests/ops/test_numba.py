"""What Numba's kernels stand on: eight numbers at once, and torch's own threads."""

import errno
import importlib
import math
import os
import runpy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from damamba.ops import adaptive_sample, adaptive_sample_backward, selective_scan, selective_scan_backward
from damamba.ops.cpu import threads
from damamba.ops.selective_scan import numba_launch
from tests.detection import ROOT
from tests.ops import test_selective_scan as scanning

FUNCTIONS = """
import torch
from damamba.ops.cpu.lanes import exp, gelu, load, silu, softplus, store
from damamba.ops.cpu.entry import array, kernel, number, share
from damamba.ops.cpu.threads import run

@kernel
def functions(table):
    x, exps, steps, slopes = array(table, 0), array(table, 1), array(table, 2), array(table, 3)
    gelus, gelu_slopes, silus, silu_slopes = array(table, 4), array(table, 5), array(table, 6), array(table, 7)
    first, last = share(number(table, 8) // 8)
    for i in range(first * 8, last * 8, 8):
        store(exps, i, exp(load(x, i)))
        step, slope = softplus(load(x, i))
        store(steps, i, step)
        store(slopes, i, slope)
        value, slope = gelu(load(x, i))
        store(gelus, i, value)
        store(gelu_slopes, i, slope)
        value, slope = silu(load(x, i))
        store(silus, i, value)
        store(silu_slopes, i, slope)

def all_of(x):
    values = [torch.full_like(x, torch.nan) for _ in range(7)]
    run(functions, 2, x, *values, len(x))
    return values
"""


@pytest.fixture(scope='module')
def functions(tmp_path_factory):
    """Call exp of the lanes on a vector; softplus, GELU and SiLU, and the derivative of each."""
    folder = tmp_path_factory.mktemp('kernels')
    (folder / 'lane_functions.py').write_text(FUNCTIONS)
    sys.path.insert(0, str(folder))
    yield importlib.import_module('lane_functions').all_of
    sys.path.remove(str(folder))


def test_the_functions_are_right_to_a_few_roundings(functions):
    x = torch.linspace(-120, 88, 80_000)
    exact = x.double()
    truths = exact.exp(), torch.nn.functional.softplus(exact, threshold=1000), exact.sigmoid()
    for value, truth in zip(functions(x)[:3], truths, strict=True):
        tiny = torch.finfo(torch.float32).tiny
        assert ((value - truth).abs() <= 4 * torch.finfo(torch.float32).eps * truth + tiny).all()


def test_gelu_and_its_derivative_are_the_exact_ones_not_those_by_tanh(functions):
    x = torch.cat([torch.linspace(-20, 20, 80_000), torch.linspace(-1e-3, 1e-3, 8_000)])
    exact = x.double().requires_grad_()
    truth = torch.nn.functional.gelu(exact)
    slope = torch.autograd.grad(truth.sum(), exact)[0]
    value, derivative = functions(x)[3:5]
    eps = torch.finfo(torch.float32).eps
    assert ((value - truth).abs() <= 4 * eps * exact.abs()).all()
    assert ((derivative - slope).abs() <= 8 * eps).all()
    by_tanh = torch.nn.functional.gelu(exact, approximate='tanh')
    assert (value - truth).abs().max() < (by_tanh - truth).abs().max() / 100


def test_silu_and_its_derivative_are_right_to_a_few_roundings(functions):
    x = torch.linspace(-120, 120, 80_000)
    exact = x.double().requires_grad_()
    truth = torch.nn.functional.silu(exact)
    slope = torch.autograd.grad(truth.sum(), exact)[0]
    value, derivative = functions(x)[5:]
    eps = torch.finfo(torch.float32).eps
    assert ((value - truth).abs() <= 4 * eps * truth.abs() + 1e-35).all()
    assert ((derivative - slope).abs() <= 8 * eps).all()


def test_the_functions_far_out_are_finite_and_nan_stays_nan(functions):
    x = torch.tensor([-3e38, -1000, 1000, 3e38, 0, -0.0, math.nan, 5])
    exps, steps, slopes, gelus, gelu_slopes, silus, silu_slopes = values = functions(x)
    assert exps[0] == exps[1] == 0 and 1e38 < exps[2] == exps[3] < math.inf
    assert steps[:4].tolist() == [0, 0, 1000, x[3]] and slopes[:4].tolist() == [0, 0, 1, 1]
    assert gelus[:4].tolist() == [0, 0, 1000, x[3]] and gelu_slopes[:4].tolist() == [0, 0, 1, 1]
    assert silus[:2].abs().max() < 1e-35 and silus[2:4].tolist() == [1000, x[3]]
    assert silu_slopes[:2].abs().max() < 1e-35 and silu_slopes[2:4].tolist() == [1, 1]
    assert all(value[6].isnan() and value[7].isfinite() for value in values)


def test_any_number_of_threads_gives_the_same(with_threads, close):
    scan, map_and_offset = scanning.make(2, 150, 27), (torch.randn(2, 9, 7, 15), torch.randn(2, 9, 7, 6))
    dy, dmap = torch.randn(2, 150, 27), torch.randn(2, 9, 7, 15)  # channels that are filled up
    results = []
    for count in (1, 2, 3, 16):
        with_threads(count)
        gradients = selective_scan_backward(dy, *scan, backend='numba')
        sampled = adaptive_sample_backward(dmap, *map_and_offset, backend='numba')
        outputs = selective_scan(*scan, backend='numba'), adaptive_sample(*map_and_offset, backend='numba')
        results.append((*outputs, *sampled, *gradients))
    for other in results[1:]:
        for value, alone in zip(other[:6], results[0][:6], strict=True):  # y, y, dx, doffset, du, ddt
            assert value.equal(alone)
        for value, alone in zip(other[6:], results[0][6:], strict=True):
            close(value, alone)


def test_the_scans_derivative_takes_the_states_that_the_forward_gives(close):
    inputs, dy = scanning.make(2, 150, 24), torch.randn(2, 150, 24)
    y, starts = numba_launch.scan(*inputs)
    assert y.equal(numba_launch.forward(*inputs)) and starts.shape == (4, 2, 24) and not starts[0].any()
    given = numba_launch.gradients(dy, *inputs, starts=starts)
    for value, alone in zip(given, numba_launch.gradients(dy, *inputs), strict=True):
        assert value.equal(alone)
    with pytest.raises(AssertionError):  # and takes them indeed
        close(numba_launch.gradients(dy, *inputs, starts=1 + starts)[1], given[1])


def test_a_thread_beside_the_main_one_may_run_them():
    from concurrent.futures import ThreadPoolExecutor

    inputs = scanning.make(2, 150, 24)
    alone = selective_scan(*inputs, backend='numba')
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda _: selective_scan(*inputs, backend='numba'), range(16)))
    assert all(y.equal(alone) for y in beside)


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (ModuleNotFoundError("No module named 'numba'", name='numba'), 'Numba is not installed'),
        (ImportError('Numba needs NumPy 2.3 or less'), 'Numba does not load: Numba needs NumPy 2.3 or less'),
        (ModuleNotFoundError("No module named 'llvmlite'", name='llvmlite'), "Numba does not load: No module named 'l"),
    ],
)
def test_without_numba_another_backend_runs(error, reason, monkeypatch):
    def refuse(name):
        raise error

    monkeypatch.setattr(threads.importlib, 'import_module', refuse)
    threads._without_numba.cache_clear()
    inputs = scanning.make(1, 5, 8)
    try:
        assert selective_scan(*inputs).shape == (1, 5, 8)
        with pytest.raises(RuntimeError, match=reason):
            selective_scan(*inputs, backend='numba')
    finally:
        threads._without_numba.cache_clear()


def test_without_the_threads_of_torch_another_backend_runs(monkeypatch):
    monkeypatch.setattr(threads, 'openmp', lambda: None)
    inputs = torch.randn(1, 2, 3, 8), torch.randn(1, 2, 3, 2)
    assert adaptive_sample(*inputs).shape == (1, 2, 3, 8)
    with pytest.raises(RuntimeError, match='torch does not use libgomp'):
        adaptive_sample(*inputs, backend='numba')


def run_python(code, **environment):
    """Run code in a fresh interpreter in the checkout."""
    result = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


FORKED = """
import os, sys
import torch
from damamba.ops import selective_scan
print('numba' in sys.modules)
sequence, weights, channels = torch.ones(1, 9, 8), torch.ones(1, 9), torch.ones(8)
inputs = sequence, sequence, -channels, weights, weights, channels, channels
y = selective_scan(*inputs, backend='numba')
print('numba' in sys.modules, flush=True)
child = os.fork()
if not child:
    torch.set_num_threads(1)
    os._exit(0 if selective_scan(*inputs, backend='numba').equal(y) else 1)
print(os.waitpid(child, 0)[1])
"""


@pytest.fixture(scope='module')
def printed():
    """What a process says of Numba: whether it is loaded, before and after a scan; how a forked child has ended."""
    return run_python(FORKED, OMP_NUM_THREADS='2').split()


def test_importing_the_operators_does_not_load_numba(printed):
    assert printed[:2] == ['False', 'True']


SEVEN = """
from damamba.ops.cpu.entry import array, kernel, put

@kernel
def seven(table):
    put(array(table, 0), 0, 7)
"""


@pytest.fixture
def compiled(tmp_path, monkeypatch, caplog):
    """Compile a kernel as a new process would, its cache in this folder, and run it; returns it and what was said."""
    from damamba.ops.cpu import entry

    monkeypatch.setattr('numba.config.CACHE_DIR', str(tmp_path / 'cache'))
    (tmp_path / 'seven.py').write_text(SEVEN)

    def compile_it():
        entry._complain.cache_clear()
        caplog.clear()
        kernel = runpy.run_path(str(tmp_path / 'seven.py'))['seven']
        threads.run(kernel, 1, value := torch.zeros(1))
        assert value.item() == 7
        return kernel, [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']

    return compile_it


def make_folder(path):
    path.unlink()
    path.mkdir()


BREAK = {
    'is cut off': lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    'is empty': lambda path: path.write_bytes(b''),
    'is garbage': lambda path: path.write_bytes(b'garbage' * 99),
    'is a folder': make_folder,
    'is gone': lambda path: path.unlink(),
}


@pytest.mark.parametrize('how', BREAK)
@pytest.mark.parametrize('suffix', ['nbi', 'nbc'])
def test_a_kernel_runs_though_a_file_of_its_cache_is_broken(suffix, how, compiled, tmp_path):
    assert compiled()[1] == []
    kernel, said = compiled()
    assert (kernel.cache_hits, said) == (1, [])
    (file,) = tmp_path.glob(f'cache/*/*.{suffix}')
    BREAK[how](file)
    kernel, said = compiled()
    assert kernel.cache_hits == 0
    assert len(said) == (how != 'is gone') and all("Numba's cache fails" in text for text in said)


def refuse(number):
    def raise_it(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return raise_it


UNWRITABLE = {
    'no folder will do': lambda patch: patch.setattr('numba.core.caching.CacheImpl._locator_classes', []),
    'the folder is read-only': lambda patch: patch.setattr('os.makedirs', refuse(errno.EROFS)),
    'the disk is full': lambda patch: patch.setattr(
        'numba.core.caching.IndexDataCacheFile._open_for_write', refuse(errno.ENOSPC)
    ),
}


@pytest.mark.parametrize('what', UNWRITABLE)
def test_a_kernel_runs_though_its_cache_cannot_be_written(what, compiled, monkeypatch):
    UNWRITABLE[what](monkeypatch)
    assert ["Numba's cache fails" in text for text in compiled()[1]] == [True]


def test_a_forked_process_may_run_them(printed):
    assert printed[2:] == ['0']


@pytest.fixture
def defaults():
    """Set torch's default type and device for a test."""
    yield lambda dtype, device: (torch.set_default_dtype(dtype), torch.set_default_device(device))
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.parametrize(('dtype', 'device'), [('bfloat16', 'cpu'), ('float64', 'cpu'), ('float32', 'meta')])
def test_torchs_defaults_do_not_reach_a_kernels_memory(dtype, device, defaults):
    scan, maps = scanning.make(2, 90, 24), (torch.randn(2, 9, 7, 24), torch.randn(2, 9, 7, 6))

    def run():
        return (
            selective_scan(*scan, backend='numba'),
            adaptive_sample(*maps, backend='numba'),
            *selective_scan_backward(scan[0], *scan, backend='numba'),
            *adaptive_sample_backward(maps[0], *maps, backend='numba'),
        )

    usual = run()
    defaults(getattr(torch, dtype), device)
    assert all(value.equal(alone) for value, alone in zip(run(), usual, strict=True))


@pytest.mark.parametrize(
    'value', [torch.zeros(2, dtype=torch.float64), torch.zeros(2, 2).t(), torch.zeros(2, device='meta')]
)
def test_a_kernel_refuses_what_it_would_misread(value):
    with pytest.raises(TypeError, match='contiguous float32 on the CPU'):
        threads.run(None, 1, value)


def test_a_change_of_the_sources_is_a_new_name_in_the_cache(tmp_path, monkeypatch):
    from damamba.ops.cpu import entry

    shared, own = tmp_path / 'cpu', tmp_path / 'depthwise'
    before = entry._digest(ROOT / 'damamba/ops/depthwise')
    for folder in (shared, own):
        shutil.copytree(ROOT / 'damamba/ops' / folder.name, folder, ignore=shutil.ignore_patterns('__pycache__'))
    monkeypatch.setattr(entry, '__file__', str(shared / 'entry.py'))
    assert entry._digest.__wrapped__(own) == before
    for changed in (shared / 'lanes.py', own / 'numba_kernels.py'):
        text = changed.read_text()
        changed.write_text('changed')
        assert entry._digest.__wrapped__(own) != before
        changed.write_text(text)


def test_a_thread_keeps_its_room_and_shares_it_with_none(monkeypatch):
    first = threads.room(3, 5)
    assert first.shape == (3, 5) and first.is_contiguous() and first.dtype == torch.float32
    assert threads.room(2, 4).data_ptr() == first.data_ptr()
    with ThreadPoolExecutor(1) as other:
        assert other.submit(threads.room, 3, 5).result().data_ptr() != threads.room(3, 5).data_ptr()
    monkeypatch.setattr(threads, 'MOST', 10)
    large = threads.room(11)
    assert large.data_ptr() != threads.room(10).data_ptr() == first.data_ptr()
