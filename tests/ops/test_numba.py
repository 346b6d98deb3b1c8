"""What Numba's kernels stand on: eight numbers at once, and torch's own threads."""

import errno
import math
import os
import runpy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from damamba.ops import adaptive_sample, selective_scan
from damamba.ops.cpu import threads
from tests.detection import ROOT
from tests.ops.helpers import make_sample, make_scan, results

FUNCTIONS = """
import torch
from damamba.ops.cpu.lanes import exp, load, softplus, store
from damamba.ops.cpu.entry import array, kernel, number, share
from damamba.ops.cpu.threads import run

@kernel
def functions(table):
    x, exps, steps, slopes = array(table, 0), array(table, 1), array(table, 2), array(table, 3)
    first, last = share(number(table, 4) // 8)
    for i in range(first * 8, last * 8, 8):
        store(exps, i, exp(load(x, i)))
        step, slope = softplus(load(x, i))
        store(steps, i, step)
        store(slopes, i, slope)

def all_of(x):
    values = [torch.full_like(x, torch.nan) for _ in range(3)]
    run(functions, 2, x, *values, len(x))
    return values
"""


def test_exp_and_softplus_are_right_to_a_few_roundings_and_finite_far_out(tmp_path):
    (tmp_path / 'lane_functions.py').write_text(FUNCTIONS)
    all_of = runpy.run_path(str(tmp_path / 'lane_functions.py'))['all_of']
    x = torch.linspace(-120, 88, 80_000)
    exact = x.double()
    truths = exact.exp(), torch.nn.functional.softplus(exact, threshold=1000), exact.sigmoid()
    number = torch.finfo(torch.float32)
    for value, truth in zip(all_of(x), truths, strict=True):
        assert ((value - truth).abs() <= 4 * number.eps * truth + number.tiny).all()
    x = torch.tensor([-3e38, -1000, 1000, 3e38, 0, -0.0, math.nan, 5])
    exps, steps, slopes = values = all_of(x)
    assert exps[0] == exps[1] == 0 and 1e38 < exps[2] == exps[3] < math.inf
    assert steps[:4].tolist() == [0, 0, 1000, x[3]] and slopes[:4].tolist() == [0, 0, 1, 1]
    assert all(value[6].isnan() and value[7].isfinite() for value in values)


def both(backend='numba'):
    """Results and gradients of both operators: y, dx, doffset, y, du, ddt, dA, dB, dC, dD, dbias."""
    torch.manual_seed(1)
    for operator, args in (
        ('adaptive_sample', make_sample(2, 9, 7, 15, group=5)),
        ('selective_scan', make_scan(2, 150, 27)),
    ):
        yield from results(operator, args, backend, torch.randn_like(args[0]))


def test_any_number_of_threads_gives_the_same(with_threads, close):
    with_threads(1)
    alone = list(both())
    for count in (2, 3, 16):
        with_threads(count)
        values = list(both())
        assert all(map(torch.equal, values[:6], alone))
        for value, truth in zip(values[6:], alone[6:], strict=True):  # sums over channels and over time
            close(value, truth)


def test_a_thread_beside_the_main_one_may_run_them():
    args = make_scan(2, 150, 24)
    alone = selective_scan(*args, backend='numba')
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda _: selective_scan(*args, backend='numba'), range(16)))
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
    inputs = make_scan(1, 5, 8)
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
    args = make_scan(2, 90, 24), make_sample(2, 9, 7, 24, group=8)

    def run():
        yield from results('selective_scan', args[0], 'numba', args[0][0])
        yield from results('adaptive_sample', args[1], 'numba', args[1][0])

    usual = list(run())
    defaults(getattr(torch, dtype), device)
    assert all(map(torch.equal, run(), usual))


@pytest.mark.parametrize(
    'value', [torch.zeros(2, dtype=torch.float64), torch.zeros(2, 2).t(), torch.zeros(2, device='meta')]
)
def test_a_kernel_refuses_what_it_would_misread(value):
    with pytest.raises(TypeError, match='contiguous float32 on the CPU'):
        threads.run(None, 1, value)


def test_a_change_of_the_sources_is_a_new_name_in_the_cache(tmp_path, monkeypatch):
    from damamba.ops.cpu import entry

    shared, own = tmp_path / 'cpu', tmp_path / 'selective_scan'
    before = entry._digest(ROOT / 'damamba/ops/selective_scan')
    for folder in (shared, own):
        shutil.copytree(ROOT / 'damamba/ops' / folder.name, folder, ignore=shutil.ignore_patterns('__pycache__'))
    monkeypatch.setattr(entry, '__file__', str(shared / 'entry.py'))
    assert entry._digest.__wrapped__(own) == before
    for changed in (shared / 'lanes.py', own / 'numba_kernels.py'):
        text = changed.read_text()
        changed.write_text('changed')
        assert entry._digest.__wrapped__(own) != before
        changed.write_text(text)
