"""torch.compile takes the whole backbone as one graph, and this graph takes every image size."""

import copy
import re
import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from tests.models.helpers import SHORT, mini, statistics

SIZES = [(64, 96), (160, 128), (93, 61)]


@pytest.fixture(autouse=True)
def one_compilation():
    """Begin with nothing compiled; compiling anew because of another size is an error."""
    torch.compiler.reset()
    counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield
    assert counters['stats']['unique_graphs'] == 1
    torch.compiler.reset()


def make(device, **options):
    """A backbone and the copy that is compiled."""
    model = mini(arch=SHORT, out_indices=(0, 1), **options).to(device)
    return model, copy.deepcopy(model)


def compiled(model, backend, **options):
    return torch.compile(model, backend=backend, fullgraph=True, dynamic=True, **options)


def hold_inference(device, close, backend, **options):
    model, copied = (m.eval() for m in make(device))
    fast = compiled(copied, backend, **options)
    with torch.no_grad():
        for size in SIZES:
            x = torch.randn(2, 3, *size, device=device)
            for value, truth in zip(fast(x), model(x), strict=True):
                close(value, truth)


def test_one_graph_infers_every_size(device, close):
    hold_inference(device, close, 'aot_eager')


@pytest.mark.e2e
@pytest.mark.skipif(not shutil.which('g++'), reason='there is no C++ compiler for what Inductor writes')
@pytest.mark.parametrize('mode', ['default', 'reduce-overhead'])  # on a GPU, the second one records CUDA graphs
def test_inductors_program_infers_every_size(mode, device, close):
    hold_inference(device, close, 'inductor', mode=mode)


BEFORE_BATCH_NORM = re.compile(r'(stem\.[0369]|downsample\.0)\.bias$')


def gradients(model, function, x):
    """Outputs and the gradients of what is trained; apart, those that are 0 but for rounding.

    The latter are of biases that a batch normalisation takes away again. The loss is no sum of squares: behind a layer
    normalisation that is constant, and all gradients are rounding.
    """
    outs = function(x)
    ramps = [torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out) for out in outs]
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    grads = dict(zip(named, torch.autograd.grad(outs, list(named.values()), ramps), strict=True))
    zeros = [grads.pop(name) for name in named if BEFORE_BATCH_NORM.search(name)]
    return [*outs, *grads.values()], zeros


@pytest.mark.parametrize('with_cp', [False, True])
def test_one_graph_trains_on_every_size(with_cp, device, close):
    model, copied = (m.train() for m in make(device, with_cp=with_cp))
    fast = compiled(copied, 'aot_eager')
    for size in SIZES:
        x = torch.randn(2, 3, *size, device=device)
        values, zeros = gradients(copied, fast, x)
        truths, more_zeros = gradients(model, model, x)
        for value, truth in zip(values, truths, strict=True):
            close(value, truth)
        largest = max(truth.abs().max() for truth in truths)
        assert len(zeros) == 5 and all(zero.abs().max() < 1e-5 * largest for zero in (*zeros, *more_zeros))
    for name, value in statistics(model).items():
        torch.testing.assert_close(statistics(copied)[name], value)
