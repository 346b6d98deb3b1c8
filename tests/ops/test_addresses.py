"""Batches of more than 2**31 elements: Triton's kernels find their addresses in them.

The tensors are files without content, of which only the pages that are touched take room, and of each launch only the
last program runs, in Triton's interpreter, whose numbers overflow as a GPU's. What it writes last is held against the
same of a small batch. A wrong address may end the process.
"""

import pytest
import torch

from damamba.ops.adaptive_sample import triton_kernels as kernels
from damamba.ops.adaptive_sample import triton_launch as sample_launch
from damamba.ops.selective_scan import triton_launch as launch
from tests.ops.helpers import make_scan

interpreter_module = pytest.importorskip('triton.runtime.interpreter')
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='Triton compiles here, it does not interpret')

LARGE = 2**31  # elements


@pytest.fixture
def vast(tmp_path, monkeypatch):
    """A function that allocates tensors of zeros that take no memory; torch.empty does too."""
    file = tmp_path / 'tensor'

    def allocate(*size, dtype=torch.float32, **_):
        size = torch.Size(size[0] if isinstance(size[0], tuple) else size)
        tensor = torch.from_file(str(file), shared=True, size=size.numel(), dtype=dtype)
        file.unlink()  # the tensor keeps what it needs
        return tensor.view(size)

    monkeypatch.setattr(torch, 'empty', allocate)
    monkeypatch.setattr(torch, 'empty_like', lambda t, **_: allocate(t.shape, dtype=t.dtype))
    return allocate


@pytest.fixture
def ends_of_launches(monkeypatch):
    """A function after which only the first and the last programs of a launch run, along each axis."""

    class Ends(interpreter_module.GridExecutor):
        def __call__(self, *args, **kwargs):
            full, builder = (*self.grid, 1, 1)[:3], interpreter_module.interpreter_builder
            self.grid = tuple(min(n, 2) for n in full)
            dimensions, index = builder.set_grid_dim, builder.set_grid_idx
            with monkeypatch.context() as patch:
                patch.setattr(builder, 'set_grid_dim', lambda *_: dimensions(*full))
                patch.setattr(
                    builder, 'set_grid_idx', lambda *at: index(*(i * (n - 1) for i, n in zip(at, full, strict=True)))
                )
                super().__call__(*args, **kwargs)

        def _restore_args_dev(self, *_):
            """Nothing to copy from the CPU to the CPU."""

    return lambda: monkeypatch.setattr(interpreter_module, 'GridExecutor', Ends)


def last_of(batch, t, vast):
    """A vast batch that ends with t."""
    whole = vast(batch, *t.shape[1:], dtype=t.dtype)
    whole[-1:] = t
    return whole


def test_the_last_of_many_sequences_is_scanned_as_on_its_own(vast, ends_of_launches, monkeypatch):
    monkeypatch.setattr(launch, 'LANES', 2**40)  # else so large a batch is not cut into chunks
    monkeypatch.setattr(launch, '_run_total', lambda *_: None)  # sums over all programs
    length, channels = 80, 16
    batch = LARGE // (length * channels) // 16 * 16 + 16  # the last sequence's chunks lie in one program
    one = [t.half() for t in make_scan(1, length, channels)]
    dy = torch.randn(1, length, channels, dtype=torch.float16)
    truths = launch.forward(*one), *launch.backward(dy, *one)[:2]  # y, du, ddt
    many = [t if t.ndim == 1 else last_of(batch, t, vast) for t in one]
    ends_of_launches()
    values = launch.forward(*many), *launch.backward(last_of(batch, dy, vast), *many)[:2]
    for value, truth in zip(values, truths, strict=True):
        assert value.numel() > LARGE
        assert torch.equal(value[-1:], truth)


def sample_back(doffset, dx, dy, x, offset):
    """As in its launch, which then turns dx into x's dtype."""
    tables, steps = (dy.flatten(0, 2), x.flatten(0, 2)), (x.shape[3],) * 2
    span = sample_launch._span(x, offset)
    sample_launch._launch(kernels._backward_kernel, x, offset, span, doffset, dx, *tables, offset, *steps)
    return doffset, dx


def test_the_last_line_of_many_maps_is_sampled_as_on_its_own(vast, ends_of_launches):
    size = _, height, width, channels = 1, 5, 64, 16
    batch = LARGE // (height * width * channels) + 1
    x, dy = torch.randn(2, *size).half()
    offset = 3 * torch.randn(1, height, width, 2)
    dy[:, :-1] = 0  # so that the last line gives all of the gradient of x
    y, (doffset, dx) = (
        sample_launch.forward(x, offset),
        sample_back(*map(torch.zeros_like, (offset, x.float())), dy, x, offset),
    )
    x, dy, offset = (last_of(batch, t, vast) for t in (x, dy, offset))
    ends_of_launches()
    assert x.numel() > LARGE
    assert torch.equal(sample_launch.forward(x, offset)[-1, -1], y[-1, -1])
    many_doffset, many_dx = sample_back(vast(*offset.shape), vast(*x.shape), dy, x, offset)
    assert torch.equal(many_doffset[-1, -1], doffset[-1, -1])
    assert torch.equal(many_dx[-1], dx[-1])
    assert dx[-1].any() and doffset[-1, -1].any()
