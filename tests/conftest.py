"""What tests of several parts share: seeds, devices, one table of tolerances, the folder beside the checkout."""

import signal
from functools import cache, wraps
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

with pytest.MonkeyPatch.context() as patch:
    # Without a GPU, define Triton's kernels for its interpreter: Triton asks for this when a kernel is defined, and
    # never again. The variable does not stay, for processes that tests start.
    if not torch.cuda.is_available():
        patch.setenv('TRITON_INTERPRET', '1')
    from damamba.ops.adaptive_sample import triton_launch as sampling
    from damamba.ops.selective_scan import triton_launch as scanning

# The interpreter is a thousand times slower: nobody takes it by default. Tests in tests/ops do.
sampling.INTERPRETED = scanning.INTERPRETED = False

# The largest error, relative to the largest value of the truth: a few roundings of the dtype.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]

torch.set_num_threads(1)  # on a busy machine the threads of small operators wait for each other longer than they work


@pytest.fixture(scope='session', autouse=True)
def quick_configs():
    """Spare MMEngine's configs what takes longer than a training of four pictures, and changes no setting.

    Each runner has the text of its config laid out by yapf about five times, and a config that builds on one of
    MMDetection's has all of its metafiles parsed anew. The commands that the end-to-end tests start do both.
    """
    if not find_spec('mmengine'):
        yield
        return
    from mmengine.config import utils
    from yapf.yapflib import yapf_api

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', wraps(yapf_api.FormatCode)(lambda text, **style: (text, True)))
        patch.setattr(utils, 'load', cache(utils.load))
        yield


@pytest.fixture
def laid_out(quick_configs, monkeypatch):
    """Have yapf lay out the texts of configs, as it does for users."""
    from yapf.yapflib import yapf_api

    monkeypatch.setattr(yapf_api, 'FormatCode', yapf_api.FormatCode.__wrapped__)


@pytest.fixture(autouse=True)
def seed():
    """Start every test from the same random state."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def handlers():
    """Take back what a command does on signals: processes that later tests fork would do the same."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.gpu] if name == 'cuda' else []) for name in DEVICES])
def device(request):
    """Every kind of device that this machine has."""
    return request.param


@pytest.fixture
def close():
    """Assert that a tensor is the truth (any dtype, any device), within the tolerance of the tensor's dtype."""

    def check(value, truth, name='value'):
        assert value.shape == truth.shape, name
        value64, truth = value.detach().double().cpu(), truth.detach().double().cpu()
        assert value64.isfinite().all(), f'{name} is not finite'
        error = (value64 - truth).abs().max().item() if truth.numel() else 0.0
        scale = max(truth.abs().max().item(), 1e-30) if truth.numel() else 1.0
        limit = TOLERANCES[value.dtype]
        assert error <= limit * scale, f'{name}: relative error {error / scale:.1e}, {value.dtype} allows {limit:.0e}'

    return check


@pytest.fixture
def poisoned_memory(monkeypatch):
    """Fill every tensor of floats that Python allocates and nobody wrote with NaN.

    Torch does so itself under deterministic algorithms, but then operators may take other ways.
    """
    for module, name in ((torch, 'empty'), (torch, 'empty_like'), (torch.Tensor, 'new_empty')):
        monkeypatch.setattr(module, name, _poisoned(getattr(module, name)))
    assert torch.empty(3).isnan().all()


def _poisoned(allocate):
    def poisoned(*args, **kwargs):
        tensor = allocate(*args, **kwargs)
        return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

    return poisoned


@pytest.fixture
def deterministic_algorithms():
    """Have torch use deterministic algorithms, and raise where there is none."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@pytest.fixture
def shared():
    """The folder `shared` beside the checkout, where the files of the published model may lie."""
    folder = Path(__file__).resolve().parents[2] / 'shared'
    if not folder.is_dir():
        pytest.skip('there is no folder `shared` beside the checkout, with the files of the published model')
    return folder


@pytest.fixture(scope='session')
def coco(tmp_path_factory):
    """The folder of a tiny data set in COCO's layout: 4 pictures to train on, 3 to validate on."""
    from tests.detection import write_coco

    return write_coco(tmp_path_factory.mktemp('coco'))


@pytest.fixture
def small_config(tmp_path, coco):
    """A config of ours, narrowed for the CPU, on the tiny data set."""
    from tests.detection import write_config

    return write_config(tmp_path / 'small.py', coco)
