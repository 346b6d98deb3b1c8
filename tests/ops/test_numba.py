"""What Numba's kernels stand on: eight numbers at once, and torch's own threads."""

import errno
import math
import os
import runpy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from damamba.ops import selective_scan
from damamba.ops.cpu import threads
from tests.detection import ROOT
from tests.ops.helpers import make_sample, make_scan, results

FUNCTIONS = """
import torch
from damamba.ops.cpu.lanes import exp, load, softplus, store
from damamba.ops.cpu.entry import array, kernel, share
from damamba.ops.cpu.threads import run

@kernel
def functions(table):
    x, exps, steps, slopes = array(table, 0), array(table, 1), array(table, 2), array(table, 3)
    first, last = share(table[4] // 8)
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


def both():
    """Results and gradients of both operators: y, dx, doffset, y, du, ddt, dA, dB, dC, dD, dbias."""
    torch.manual_seed(1)
    for operator, args in (
        ('adaptive_sample', make_sample(2, 9, 7, 15, group=5)),
        ('selective_scan', make_scan(2, 150, 27)),
    ):
        yield from results(operator, args, 'numba', torch.randn_like(args[0]))


def test_any_number_of_threads_gives_the_same(close, request):
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(1)
    alone = list(both())
    for count in (2, 3, 16):
        torch.set_num_threads(count)
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


def raising(error):
    def function(*args, **kwargs):
        raise error

    return function


LACKS = {  # what does not load, or None for torch's threads, and the reason that is given
    'Numba is not installed': ModuleNotFoundError("No module named 'numba'", name='numba'),
    'Numba does not load: Numba needs NumPy 2.3 or less': ImportError('Numba needs NumPy 2.3 or less'),
    "Numba does not load: No module named 'llvmlite'": ModuleNotFoundError(
        "No module named 'llvmlite'", name='llvmlite'
    ),
    'torch does not use libgomp': None,
}


@pytest.mark.parametrize('reason', LACKS)
def test_without_numba_or_the_threads_of_torch_another_backend_runs(reason, monkeypatch):
    if LACKS[reason]:
        monkeypatch.setattr(threads.importlib, 'import_module', raising(LACKS[reason]))
        monkeypatch.setattr(threads, '_without_numba', threads._without_numba.__wrapped__)
    else:
        monkeypatch.setattr(threads, 'openmp', lambda: None)
    inputs = make_scan(1, 5, 8)
    assert selective_scan(*inputs).shape == (1, 5, 8)
    with pytest.raises(RuntimeError, match=reason):
        selective_scan(*inputs, backend='numba')


FORKED = """
import os, sys
import torch
from damamba.ops import selective_scan
print('numba' in sys.modules, 'torch._dynamo' in sys.modules)
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


def test_numba_and_dynamo_are_loaded_when_they_are_needed_and_a_forked_process_may_run_the_kernels():
    ours = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='2')
    done = subprocess.run([sys.executable, '-c', FORKED], capture_output=True, text=True, env=ours)
    assert done.stdout.split() == ['False', 'False', 'True', '0'], done.stderr


SEVEN = """
from damamba.ops.cpu.entry import array, kernel

@kernel
def seven(table):
    array(table, 0)[0] = 7
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


def hollow(content):
    """As a lost machine leaves a file: as long as it was, and not all of it written."""
    third = len(content) // 3
    return content[:third] + bytes(third) + content[2 * third :]


BREAK = {
    'is cut off': lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    'is garbage': lambda path: path.write_bytes(b'garbage' * 99),
    'has zeros inside': lambda path: path.write_bytes(hollow(path.read_bytes())),
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
    assert (kernel.cache_hits, said) == (0, [])
    assert compiled()[0].cache_hits == 1


UNWRITABLE = {
    'no folder will do': lambda patch: patch.setattr('numba.core.caching.CacheImpl._locator_classes', []),
    'the folder is read-only': lambda patch: patch.setattr('os.makedirs', raising(OSError(errno.EROFS, 'read-only'))),
    'the disk is full': lambda patch: patch.setattr(
        'numba.core.caching.IndexDataCacheFile._open_for_write', raising(OSError(errno.ENOSPC, 'full'))
    ),
}


@pytest.mark.parametrize('what', UNWRITABLE)
def test_a_kernel_runs_though_its_cache_cannot_be_written(what, compiled, monkeypatch):
    UNWRITABLE[what](monkeypatch)
    assert ["Numba's cache fails" in text for text in compiled()[1]] == [True]


@pytest.mark.parametrize(('dtype', 'device'), [('bfloat16', 'cpu'), ('float64', 'cpu'), ('float32', 'meta')])
def test_torchs_defaults_do_not_reach_a_kernels_memory(dtype, device, request):
    args, usual = make_scan(2, 90, 24), []
    for _ in range(2):
        usual.append(results('selective_scan', args, 'numba', args[0]))
        usual.append(results('adaptive_sample', [args[0][None], args[1][None]], 'numba', args[0][None]))
        request.addfinalizer(lambda: (torch.set_default_dtype(torch.float32), torch.set_default_device(None)))
        torch.set_default_dtype(getattr(torch, dtype))
        torch.set_default_device(device)
    assert all(map(torch.equal, usual[0] + usual[1], usual[2] + usual[3]))


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
