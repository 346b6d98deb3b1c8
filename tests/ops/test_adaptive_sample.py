"""adaptive_sample: against torchvision, and where a position or a number is not usual.

Held to the loop in float64 in test_both.py.
"""

import itertools
import math

import pytest
import torch
from torchvision.ops import deform_conv2d

from tests.ops import helpers
from tests.ops.helpers import BACKENDS, PACKAGES, make_sample, widest


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def results(x, offset, backend, upstream):
    """The output and both gradients."""
    return helpers.results('adaptive_sample', (x, offset), backend, upstream)


@pytest.mark.parametrize('at_pixels', [False, True])
def test_values_and_gradients_are_those_of_torchvisions_deformable_convolution(at_pixels, backend, device, close):
    x, offset = (t.to(device, widest(backend)) for t in make_sample(2, 5, 7, 33, group=11, spread=4))
    b, h, w, c = x.shape
    if at_pixels:  # not at -1 exactly, where torchvision gives a gradient: it has no strict rule
        offset = offset.round()
        offset[..., 0::2] = torch.maximum(offset[..., 0::2], -torch.arange(w, device=device).view(1, 1, w, 1))
        offset[..., 1::2] = torch.maximum(offset[..., 1::2], -torch.arange(h, device=device).view(1, h, 1, 1))
    upstream = torch.randn_like(x)
    values = results(x, offset, backend, upstream)

    x, offset = (t.cpu().double().requires_grad_() for t in (x, offset))
    rows_first = offset.view(b, h, w, -1, 2).flip(-1).flatten(3).permute(0, 3, 1, 2)  # torchvision wants (dy, dx)
    planes = deform_conv2d(x.permute(0, 3, 1, 2), rows_first, torch.eye(c, dtype=x.dtype).view(c, c, 1, 1))
    truth = planes.permute(0, 2, 3, 1)
    truth.backward(upstream.cpu().double())
    for name, value, true in zip(('y', 'dx', 'doffset'), values, (truth, x.grad, offset.grad), strict=True):
        close(value, true, name)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_position_outside_or_on_the_border_gives_zero_and_no_gradient(dtype, backend, device):
    """Of the middle of 3 x 3 pixels: columns first, then rows."""
    positions = [-1.0, 3.0, -1.5, 3.5, 301.0, -301.0, 1e30, -1e30, math.inf, -math.inf, math.nan]
    positions = torch.tensor([*positions, torch.finfo(dtype).max, torch.finfo(dtype).min])
    count = len(positions)
    x = 1 + torch.rand(2 * count, 3, 3, 2)
    offset, upstream = torch.zeros_like(x), torch.zeros_like(x)
    offset[:count, 1, 1, 0] = offset[count:, 1, 1, 1] = positions - 1
    upstream[:, 1, 1] = 1
    y, dx, doffset = results(*(t.to(device, dtype) for t in (x, offset)), backend, upstream.to(device, dtype))
    assert not (y[:, 1, 1].any() or dx.any() or doffset.any())


def broken(*size):
    """Numbers of which one in five is NaN or infinite."""
    values = torch.randn(size)
    where = torch.rand(size) < 0.2
    values[where] = torch.tensor([math.nan, math.inf, -math.inf])[torch.randint(3, size)][where]
    return values


@pytest.mark.filterwarnings('ignore:invalid value encountered')  # by NumPy, in Triton's interpreter
@pytest.mark.parametrize('deterministic', [False, True], ids=['as it comes', 'deterministic'])
@pytest.mark.parametrize('step', [0.0, 1.0, 0.5])
def test_what_is_broken_reaches_no_further_than_weights_do(step, deterministic, backend, device, request):
    """At integers a sample is one pixel, whatever lies beside it; between two rows or columns it is two pixels."""
    if deterministic:
        request.getfixturevalue('deterministic_algorithms')
    x, upstream = broken(2, 5, 6, 20), broken(2, 5, 6, 20)
    offset = step * torch.randint(-3, 4, (2, 5, 6, 8)).float()
    offset[0, 0, 0, 0], offset[0, 0, 1, 0] = math.nan, 50.0
    y, dx, doffset = results(*(t.to(device) for t in (x, offset)), backend, upstream.to(device))
    truth, dtruth = torch.zeros_like(x), torch.zeros_like(x)
    for b, h, w, g in itertools.product(*map(range, (2, 5, 6, 4))):
        at, (px, py) = slice(5 * g, 5 * g + 5), (offset[b, h, w, 2 * g :][:2] + torch.tensor([w, h])).tolist()
        for row, column in itertools.product(range(5), range(6)):
            weight = (1 - abs(px - column)) * (1 - abs(py - row))
            if abs(px - column) < 1 and abs(py - row) < 1:
                truth[b, h, w, at] += weight * x[b, row, column, at]
                dtruth[b, row, column, at] += weight * upstream[b, h, w, at]
    torch.testing.assert_close(y.cpu(), truth, equal_nan=True)
    torch.testing.assert_close(dx.cpu(), dtruth, equal_nan=True)
    assert not doffset[0, 0, :2, 0].any()  # outside, beside what is broken


def test_plain_torch_compiles_as_one_graph_which_gives_the_same(close):
    plain = PACKAGES['adaptive_sample'].BACKENDS['vectorized']
    x, offset, grad = torch.randn(2, 9, 7, 32), 4 * torch.randn(2, 9, 7, 4), torch.randn(2, 9, 7, 32)
    torch.compiler.reset()
    found = [torch.compile(f, backend='aot_eager', fullgraph=True) for f in (plain.forward, plain.backward)]
    close(found[0](x, offset), plain.forward(x, offset))
    for value, truth in zip(found[1](grad, x, offset), plain.backward(grad, x, offset), strict=True):
        close(value, truth)
    torch.compiler.reset()
