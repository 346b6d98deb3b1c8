"""adaptive_sample: every backend against the plain loop in float64, against torchvision, and against cases by hand.

A backend that is added to `damamba.ops.adaptive_sample.BACKENDS` is tested with the others.
"""

import importlib
import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck
from torchvision.ops import deform_conv2d

from damamba.ops import adaptive_sample
from tests.ops.helpers import HALVES, doubles, widest

BACKENDS = importlib.import_module('damamba.ops.adaptive_sample').BACKENDS
OTHERS = [name for name in BACKENDS if name != 'reference']  # the loop itself is held to what is known by hand

MAPS = {  # B, H, W, C, G
    'one pixel': (1, 1, 1, 16, 1),
    'one row': (1, 1, 13, 32, 2),
    'one column': (2, 5, 1, 16, 1),
    'groups of 16': (2, 6, 5, 48, 3),
    'primes': (2, 5, 7, 33, 3),
    'one channel a group': (1, 4, 3, 5, 5),
}
OFFSETS = {
    'some outside': lambda *size: 4 * torch.randn(size),
    'far outside': lambda *size: 1e6 * torch.randn(size),
    'exact integers': lambda *size: torch.randint(-3, 4, size).float(),
    'zero': lambda *size: torch.zeros(size),
}

PAIRS = [(name, 'some outside') for name in MAPS]
PAIRS += [('primes', name) for name in ('far outside', 'exact integers')]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(params=OTHERS)
def other(request):
    return request.param


def run(x, offset, backend):
    """Sample with this backend, or skip the test with the backend's own reason."""
    reason = BACKENDS[backend].why_not(x, offset)
    if reason is not None:
        pytest.skip(f'{backend}: {reason}')
    return adaptive_sample(x, offset, backend=backend)


def results(x, offset, backend, upstream):
    """The output and both gradients; zeros for a gradient that autograd found no way to."""
    x, offset = x.detach().requires_grad_(), offset.detach().requires_grad_()
    y = run(x, offset, backend)
    grads = torch.autograd.grad(y, (x, offset), upstream, allow_unused=True, materialize_grads=True)
    return y, *grads


def compare(x, offset, backend, close, upstream=None):
    """Hold the output and both gradients against the loop in float64."""
    upstream = torch.randn(x.shape, dtype=x.dtype).to(x.device) if upstream is None else upstream
    values = results(x, offset, backend, upstream)
    truths = results(*(t.double().cpu() for t in (x, offset)), 'reference', upstream.double().cpu())
    for name, value, truth, like in zip(('y', 'dx', 'doffset'), values, truths, (x, x, offset), strict=True):
        assert value.dtype == like.dtype
        close(value, truth, name)


def make(map_name, offset_name, dtype=torch.float32, device='cpu'):
    b, h, w, c, g = MAPS[map_name]
    offset = OFFSETS[offset_name](b, h, w, 2 * g)
    return torch.randn(b, h, w, c).to(device, dtype), offset.to(device, dtype)


@pytest.mark.parametrize(('map_name', 'offset_name'), PAIRS)
def test_values_and_gradients_are_those_of_the_loop_in_float64(map_name, offset_name, other, device, close):
    compare(*make(map_name, offset_name, widest(other), device), other, close)


@pytest.mark.parametrize(('dtype', 'offset_dtype'), zip(HALVES, ['float32', 'as the map'], strict=True), ids=str)
def test_half_precision_maps_are_sampled_within_tolerance(dtype, offset_dtype, other, device, close):
    x, offset = make('primes', 'some outside', dtype, device)
    compare(x, offset.float() if offset_dtype == 'float32' else offset, other, close)


@pytest.mark.parametrize('offset_name', ['some outside', 'exact integers'])
def test_values_and_gradients_are_those_of_torchvisions_deformable_convolution(offset_name, backend, device, close):
    x, offset = (t.to(widest(backend)) for t in make('primes', offset_name, device=device))
    b, h, w, c = x.shape
    if offset_name == 'exact integers':  # not at -1 exactly, where torchvision gives a gradient: it has no strict rule
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


@pytest.mark.parametrize('backend', doubles(BACKENDS))
def test_gradients_pass_gradcheck_away_from_the_kinks(backend, device):
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, device=device, requires_grad=True)
    away = 0.2 + 0.6 * torch.rand(1, 3, 4, 4, dtype=torch.float64, device=device)
    offset = (torch.randint(-2, 3, away.shape, device=device) + away).requires_grad_()
    assert gradcheck(lambda x, offset: run(x, offset, backend), (x, offset))


def square(device):
    """The map  1 2 / 3 5  of one channel, and offsets of zero."""
    x = torch.tensor([[1.0, 2.0], [3.0, 5.0]], device=device).view(1, 2, 2, 1)
    return x, torch.zeros(1, 2, 2, 2, device=device)


def test_half_a_pixel_to_the_right_is_the_mean_of_two_columns_and_fades_at_the_border(backend, device):
    x, offset = square(device)
    offset[..., 0] = 0.5
    y, dx, doffset = results(x, offset, backend, torch.ones_like(x))
    assert y.flatten().tolist() == [1.5, 1.0, 4.0, 2.5]  # (1+2)/2, 2/2, (3+5)/2, 5/2
    assert dx.flatten().tolist() == [0.5, 1.0, 0.5, 1.0]
    assert doffset[..., 0].flatten().tolist() == [1.0, -2.0, 2.0, -5.0]  # right minus left
    assert doffset[..., 1].flatten().tolist() == [2.5, 1.5, -4.0, -2.5]  # below minus here, both at x + 0.5


def test_a_sample_between_four_pixels_takes_a_share_of_each(backend, device):
    x, offset = square(device)
    offset[0, 0, 0] = torch.tensor([0.25, 0.5])
    y, _, doffset = results(x, offset, backend, torch.ones_like(x))
    assert y[0, 0, 0].item() == 0.5 * (0.75 * 1 + 0.25 * 2) + 0.5 * (0.75 * 3 + 0.25 * 5)
    assert doffset[0, 0, 0].tolist() == [0.5 * (2 - 1) + 0.5 * (5 - 3), 0.75 * (3 - 1) + 0.25 * (5 - 2)]


def test_offsets_are_ordered_column_first_group_by_group(backend, device):
    x = torch.arange(24.0, device=device).view(1, 2, 3, 4)  # groups: channels 0 1, channels 2 3
    offset = torch.zeros(1, 2, 3, 4, device=device)
    offset[0, 0, 0] = torch.tensor([2.0, 0.0, 0.0, 1.0])  # group 0 two columns to the right, group 1 one row down
    y = run(x, offset, backend)
    assert y[0, 0, 0].tolist() == [*x[0, 0, 2, :2].tolist(), *x[0, 1, 0, 2:].tolist()]


def test_no_offset_returns_the_map_and_its_gradient_bit_for_bit(backend, device):
    x, offset = make('groups of 16', 'zero', device=device)
    upstream = torch.randn_like(x)
    y, dx, _ = results(x, offset, backend, upstream)
    assert torch.equal(y, x)
    assert torch.equal(dx, upstream)


def test_at_an_integer_the_derivative_looks_to_the_right_and_down(backend, device):
    x, offset = square(device)
    _, _, doffset = results(x, offset, backend, torch.ones_like(x))
    assert doffset[..., 0].flatten().tolist() == [2 - 1, 0 - 2, 5 - 3, 0 - 5]  # nothing lies right of the last column
    assert doffset[..., 1].flatten().tolist() == [3 - 1, 5 - 2, 0 - 3, 0 - 5]


def at(positions, device):
    """Maps of 3 x 3 pixels, the sample of each middle at one of the positions of 0, 1, 2: columns first, then rows."""
    count = len(positions)
    x = 1 + torch.rand(2 * count, 3, 3, 2, device=device)
    offset, upstream = torch.zeros_like(x), torch.zeros_like(x)
    offset[:count, 1, 1, 0] = offset[count:, 1, 1, 1] = torch.tensor(positions, device=device) - 1
    upstream[:, 1, 1] = 1
    return x, offset, upstream


def test_a_position_outside_or_on_the_border_gives_zero_and_no_gradient(backend, device):
    positions = [-1.0, 3.0, -1.5, 3.5, -1e30, 1e30, math.inf, -math.inf, math.nan]
    x, offset, upstream = at(positions, device)
    y, dx, doffset = results(x, offset, backend, upstream)
    assert y[:, 1, 1].tolist() == [[0, 0]] * len(x)
    assert y.isfinite().all()
    assert torch.equal(dx, torch.zeros_like(dx))
    assert torch.equal(doffset, torch.zeros_like(doffset))


def test_where_every_sample_lies_outside_the_gradients_are_zeros_and_not_missing(backend, device):
    x, offset = make('primes', 'zero', device=device)
    x.requires_grad_()
    offset.add_(1e3).requires_grad_()
    run(x, offset, backend).sum().backward()
    for tensor in (x, offset):
        assert tensor.grad is not None
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))


def test_a_position_just_inside_the_border_takes_its_share_of_the_last_pixel(backend, device):
    x, offset, upstream = at([-0.75, 2.75], device)
    y, dx, doffset = results(x, offset, backend, upstream)
    for image, (axis, pixel, slope) in enumerate([(0, 0, 1), (0, 2, -1), (1, 0, 1), (1, 2, -1)]):
        row, column = (1, pixel) if axis == 0 else (pixel, 1)
        torch.testing.assert_close(y[image, 1, 1], 0.25 * x[image, row, column])
        assert dx[image, row, column].tolist() == [0.25, 0.25]
        torch.testing.assert_close(doffset[image, 1, 1, axis], slope * x[image, row, column].sum())


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


@pytest.mark.parametrize('offset_name', ['some outside', 'far outside'])
def test_every_element_of_output_and_gradients_is_written(offset_name, other, device, close, poisoned_memory):
    compare(*make('primes', offset_name, device=device), other, close)


def test_plain_torch_compiles_as_one_graph_which_gives_the_same(close):
    plain = importlib.import_module('damamba.ops.adaptive_sample.vectorized')
    x, offset, grad = torch.randn(2, 9, 7, 32), 4 * torch.randn(2, 9, 7, 4), torch.randn(2, 9, 7, 32)
    torch.compiler.reset()
    found = [torch.compile(f, backend='aot_eager', fullgraph=True) for f in (plain.forward, plain.backward)]
    close(found[0](x, offset), plain.forward(x, offset))
    for value, truth in zip(found[1](grad, x, offset), plain.backward(grad, x, offset), strict=True):
        close(value, truth)
    torch.compiler.reset()


def test_strided_maps_offsets_and_gradients_are_read_by_their_strides(other, device, close):
    x = torch.randn(2, 32, 5, 14, device=device)[..., ::2].permute(0, 2, 3, 1)  # [2, 5, 7, 32]
    offset = torch.randn(7, 5, 8, 2, device=device)[:, :, ::2].transpose(0, 3)  # [2, 5, 4, 7]
    offset = offset.permute(0, 1, 3, 2)  # [2, 5, 7, 4]
    upstream = torch.randn(1, 1, 7, 1, device=device).expand(2, 5, 7, 32)
    assert not (x.is_contiguous() or offset.is_contiguous())
    compare(x, offset, other, close, upstream)


def test_an_empty_map_gives_an_empty_result_with_gradients(backend, device):
    for size in ((0, 3, 5), (2, 0, 5), (2, 3, 0)):
        x, offset = torch.randn(*size, 32, device=device), torch.randn(*size, 4, device=device)
        y, dx, doffset = results(x, offset, backend, torch.randn_like(x))
        assert (y.shape, dx.shape, doffset.shape) == (x.shape, x.shape, offset.shape)


def test_the_arguments_stay_as_they_are(backend, device):
    x, offset = make('primes', 'far outside', device=device)
    before = x.clone(), offset.clone()
    results(x, offset, backend, torch.ones_like(x))
    assert torch.equal(x, before[0])
    assert torch.equal(offset, before[1])


def test_one_gradient_alone_is_the_same_as_with_the_other(other, device, close):
    x, offset = make('primes', 'some outside', device=device)
    upstream = torch.randn_like(x)
    _, dx, doffset = results(x, offset, other, upstream)
    alone = x.clone().requires_grad_(), offset.clone().requires_grad_()
    run(alone[0], offset, other).backward(upstream)
    run(x, alone[1], other).backward(upstream)
    close(alone[0].grad, dx)
    close(alone[1].grad, doffset)


def test_autocast_does_not_change_the_float32_inside(backend, device, close):
    x, offset = make('primes', 'some outside', device=device)
    upstream = torch.randn_like(x)
    plain = results(x, offset, backend, upstream)
    with torch.autocast(device, dtype=torch.bfloat16):
        under = results(x, offset, backend, upstream)
    for value, truth in zip(under, plain, strict=True):
        assert value.dtype == torch.float32
        close(value, truth)


def floats(*size, dtype=torch.float32, device='cpu'):
    return torch.zeros(size, dtype=dtype, device=device)


WRONG = {
    'x is a list': ([1.0], floats(1, 2, 3, 2), TypeError, ['x must be a tensor', 'list']),
    'x has three axes': (floats(2, 3, 4), floats(1, 2, 3, 2), ValueError, ['x must be (B, H, W, C)', '(2, 3, 4)']),
    'x is of integers': (
        floats(1, 2, 3, 4, dtype=torch.int64),
        floats(1, 2, 3, 2),
        TypeError,
        ['x must be float16, bfloat16, float32 or float64', 'torch.int64'],
    ),
    'offset is missing': (floats(1, 2, 3, 4), None, TypeError, ['offset must be a tensor', 'NoneType']),
    'offset has five axes': (
        floats(1, 2, 3, 4),
        floats(1, 2, 3, 1, 2),
        ValueError,
        ['offset must be (B, H, W, 2G)', '(1, 2, 3, 1, 2)'],
    ),
    'offset of another size': (
        floats(1, 2, 3, 4),
        floats(1, 3, 2, 2),
        ValueError,
        ['offset must be', '(1, 2, 3, 2G)', '(1, 3, 2, 2)'],
    ),
    'an odd number of offsets': (
        floats(1, 2, 3, 4),
        floats(1, 2, 3, 3),
        ValueError,
        ['offset must be', '2G', '(1, 2, 3, 3)'],
    ),
    'no offsets': (floats(1, 2, 3, 4), floats(1, 2, 3, 0), ValueError, ['offset must be', '2G', '(1, 2, 3, 0)']),
    'channels do not divide': (floats(1, 2, 3, 4), floats(1, 2, 3, 6), ValueError, ['4 channels of x', '3 groups']),
    'offset of a wider dtype': (
        floats(1, 2, 3, 4),
        floats(1, 2, 3, 2, dtype=torch.float64),
        TypeError,
        ['offset must be torch.float32', 'torch.float64'],
    ),
    'offset of another half': (
        floats(1, 2, 3, 4, dtype=torch.float16),
        floats(1, 2, 3, 2, dtype=torch.bfloat16),
        TypeError,
        ['offset must be torch.float16 or torch.float32', 'torch.bfloat16'],
    ),
    'offset on another device': (
        floats(1, 2, 3, 4),
        floats(1, 2, 3, 2, device='meta'),
        ValueError,
        ['offset must be on cpu like x', 'meta'],
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_a_wrong_argument_is_an_error_that_names_it_and_says_what_it_should_be(case):
    x, offset, kind, words = WRONG[case]
    with pytest.raises(kind) as error:
        adaptive_sample(x, offset)
    for word in ('adaptive_sample', *words):
        assert word in str(error.value)
