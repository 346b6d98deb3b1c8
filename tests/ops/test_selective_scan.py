"""selective_scan: every backend against the plain loop in float64, against closed forms, and against cases by hand.

A backend that is added to `damamba.ops.selective_scan.BACKENDS` is tested with the others.
"""

import importlib
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from damamba.ops import selective_scan
from tests.ops.helpers import HALVES, doubles, widest

BACKENDS = importlib.import_module('damamba.ops.selective_scan').BACKENDS
OTHERS = [name for name in BACKENDS if name != 'reference']  # the loop itself is held to what is known by hand
NAMES = ('u', 'dt', 'A', 'B', 'C', 'D', 'dt_bias')
LENGTHS = [1, 2, 5, 16, 64, 257]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(params=OTHERS)
def other(request):
    return request.param


def make(batch, length, channels, dtype=torch.float32, device='cpu'):
    args = (
        torch.randn(batch, length, channels),  # u
        torch.randn(batch, length, channels),  # dt
        -torch.rand(channels) - 0.1,  # A
        torch.randn(batch, length),  # B
        torch.randn(batch, length),  # C
        torch.randn(channels),  # D
        torch.randn(channels) - 1,  # dt_bias
    )
    return [t.to(device, dtype) for t in args]


def run(args, backend):
    """Scan with this backend, or skip the test with the backend's own reason."""
    reason = BACKENDS[backend].why_not(*args)
    if reason is not None:
        pytest.skip(f'{backend}: {reason}')
    return selective_scan(*args, backend=backend)


def results(args, backend, upstream):
    """The output and the seven gradients; zeros for a gradient that autograd found no way to."""
    args = [t.detach().requires_grad_() for t in args]
    y = run(args, backend)
    return y, *torch.autograd.grad(y, args, upstream, allow_unused=True, materialize_grads=True)


def compare(args, backend, close, upstream=None):
    """Hold the output and every gradient against the loop in float64."""
    u = args[0]
    upstream = torch.randn(u.shape, dtype=u.dtype).to(u.device) if upstream is None else upstream
    values = results(args, backend, upstream)
    truths = results([t.double().cpu() for t in args], 'reference', upstream.double().cpu())
    for name, value, truth, like in zip(('y', *NAMES), values, truths, (u, *args), strict=True):
        assert value.dtype == like.dtype, name
        close(value, truth, name)


@pytest.mark.parametrize('length', LENGTHS)
def test_values_and_gradients_are_those_of_the_loop_in_float64(length, other, device, close):
    compare(make(2, length, 5, widest(other), device), other, close)


@pytest.mark.parametrize('size', [(1, 7, 1), (3, 11, 16), (1, 9, 83)], ids=str)
def test_any_number_of_batches_and_channels_will_do(size, other, device, close):
    compare(make(*size, device=device), other, close)


@pytest.mark.parametrize(('dtype', 'weights'), zip(HALVES, ['float32', 'as the sequence'], strict=True), ids=str)
def test_half_precision_sequences_are_scanned_within_tolerance(dtype, weights, other, device, close):
    args = make(2, 24, 5, dtype, device)
    if weights == 'float32':
        args = [t.float() if name in ('A', 'D', 'dt_bias') else t for name, t in zip(NAMES, args, strict=True)]
    compare(args, other, close)


@pytest.mark.parametrize('backend', doubles(BACKENDS))
def test_gradients_pass_gradcheck(backend, device):
    args = [t.requires_grad_() for t in make(2, 7, 3, torch.float64, device)]
    assert gradcheck(lambda *args: run(args, backend), args)


def test_one_step_and_two_are_as_by_hand(backend, device, close):
    dt = math.log(math.expm1(0.5))  # softplus(dt) = 0.5
    numbers = ([[[2.0], [6.0]]], [[[dt], [dt]]], [-2 * math.log(2)], [[3.0, 1.0]], [[1.0, 10.0]], [0.25], [0.0])
    args = [torch.tensor(n, device=device, dtype=widest(backend)) for n in numbers]
    # decay exp(-2 log 2 * 0.5) = 1/2;  h = 0.5*3*2 = 3, then 3/2 + 0.5*1*6 = 4.5;  y = 3 + 0.25*2, 45 + 0.25*6
    close(run(args, backend), torch.tensor([[[3.5], [46.5]]]))


def test_a_constant_step_is_a_convolution_with_powers_of_the_decay(backend, device, close):
    length = 1024
    u, dt, A, B, C, D, dt_bias = make(2, length, 3, torch.float64)
    dt.zero_()
    step = np.log1p(np.exp(dt_bias.numpy()))
    truth = np.empty(u.shape)
    for b in range(2):
        for c in range(3):
            powers = np.exp(step[c] * A[c].item() * np.arange(length))
            h = np.convolve(powers, step[c] * (B[b] * u[b, :, c]).numpy())[:length]
            truth[b, :, c] = C[b].numpy() * h + D[c].item() * u[b, :, c].numpy()
    args = [t.to(device, widest(backend)) for t in (u, dt, A, B, C, D, dt_bias)]
    close(run(args, backend), torch.from_numpy(truth))


def test_without_decay_the_state_is_a_running_sum(backend, device, close):
    u, dt, A, B, C, D, dt_bias = make(2, 61, 3, torch.float64)
    A.zero_()
    step = np.log1p(np.exp((dt + dt_bias).numpy()))
    h = np.cumsum(step * (B.unsqueeze(2) * u).numpy(), axis=1)
    truth = C.unsqueeze(2).numpy() * h + (D * u).numpy()
    args = [t.to(device, widest(backend)) for t in (u, dt, A, B, C, D, dt_bias)]
    close(run(args, backend), torch.from_numpy(truth))


def test_without_a_memory_every_step_stands_alone(backend, device, close):
    u, dt, A, B, C, D, dt_bias = make(2, 61, 3, torch.float64)
    A.fill_(-1e6)
    step = np.log1p(np.exp((dt + dt_bias).numpy()))
    truth = (C * B).unsqueeze(2).numpy() * step * u.numpy() + (D * u).numpy()
    args = [t.to(device, widest(backend)) for t in (u, dt, A, B, C, D, dt_bias)]
    close(run(args, backend), torch.from_numpy(truth))


def test_later_steps_change_nothing_before_them(backend, device):
    args = make(2, 77, 5, device=device)
    changed = [t.clone() for t in args]
    for name, t in zip(NAMES, changed, strict=True):
        if name in ('u', 'dt', 'B', 'C'):
            t[:, 30:] = torch.randn_like(t[:, 30:])
    before, after = run(args, backend), run(changed, backend)
    assert torch.equal(before[:, :30], after[:, :30])
    assert not torch.equal(before[:, 30:], after[:, 30:])


@pytest.mark.parametrize('level', [-20.0, 30.0])  # test_extremes.py goes further
def test_very_small_and_very_large_steps_stay_exact_and_finite(level, other, device, close):
    u, dt, A, B, C, D, dt_bias = make(2, 24, 3, device=device)
    dt[:, ::2] += level
    compare([u, dt, A, B, C, D, dt_bias], other, close)


def test_a_half_precision_sequence_keeps_its_state_in_float32(backend, device, close):
    u, dt, A, B, C, D, dt_bias = make(1, 64, 2, torch.float16, device)
    u.fill_(3e4)
    dt.fill_(2)
    A.fill_(-1e-3)
    B.fill_(2)
    C.fill_(1e-3)
    args = [u, dt, A, B, C, D, dt_bias]
    y = run(args, backend)
    close(y, run([t.double() for t in args], 'reference'))
    state = (y - D * u).double()[:, -1] / 1e-3
    assert (state > torch.finfo(torch.float16).max).all()  # the state itself has no place in float16


def test_every_element_of_output_and_gradients_is_written(other, device, close, poisoned_memory):
    compare(make(2, 77, 5, device=device), other, close)


def test_strided_arguments_are_read_by_their_strides(other, device, close):
    u = torch.randn(2, 5, 77, device=device).transpose(1, 2)
    projected = torch.randn(2, 77, 9, device=device)  # as the mixer makes them: one matrix product, then a split
    dt, B, C = projected[..., 2:7], projected[..., 7], projected[..., 8]
    A, D, dt_bias = -torch.rand(5, 3, device=device)[:, 1], torch.randn(10, device=device)[::2], torch.randn(5)
    upstream = torch.randn(1, 77, 1, device=device).expand(2, 77, 5)
    compare([u, dt, A, B, C, D, dt_bias.to(device)], other, close, upstream)


def test_an_empty_sequence_gives_an_empty_result_with_gradients(backend, device):
    for size in ((0, 7, 5), (2, 0, 5)):
        args = make(*size, device=device)
        y, *grads = results(args, backend, torch.randn_like(args[0]))
        assert y.shape == args[0].shape
        assert [g.shape for g in grads] == [t.shape for t in args]
        assert all(not g.any() for g in grads)


def test_the_arguments_stay_as_they_are(backend, device):
    args = make(2, 24, 5, device=device)
    before = [t.clone() for t in args]
    results(args, backend, torch.ones_like(args[0]))
    assert all(torch.equal(t, b) for t, b in zip(args, before, strict=True))


def test_one_gradient_alone_is_the_same_as_with_the_others(other, device, close):
    args = make(2, 13, 5, device=device)
    upstream = torch.randn_like(args[0])
    for i, (name, truth) in enumerate(zip(NAMES, results(args, other, upstream)[1:], strict=True)):
        alone = [t.detach().requires_grad_(k == i) for k, t in enumerate(args)]
        run(alone, other).backward(upstream)
        close(alone[i].grad, truth, name)


def test_autocast_does_not_change_the_float32_inside(backend, device, close):
    args = make(2, 24, 5, device=device)
    upstream = torch.randn_like(args[0])
    plain = results(args, backend, upstream)
    with torch.autocast(device, dtype=torch.bfloat16):
        under = results(args, backend, upstream)
    for value, truth in zip(under, plain, strict=True):
        assert value.dtype == torch.float32
        close(value, truth)


WRONG = {
    'u is an array': ('u', np.zeros((2, 7, 5)), TypeError, ['u must be a tensor', 'ndarray']),
    'u has two axes': ('u', torch.zeros(7, 5), ValueError, ['u must be (B, L, C)', '(7, 5)']),
    'u is of integers': ('u', torch.zeros(2, 7, 5).long(), TypeError, ['u must be float16', 'torch.int64']),
    'dt is of another length': ('dt', torch.zeros(2, 6, 5), ValueError, ['dt must be (2, 7, 5)', '(2, 6, 5)']),
    'dt is of another dtype': ('dt', torch.zeros(2, 7, 5).half(), TypeError, ['dt must be torch.float32', 'float16']),
    'A has a state axis': ('A', torch.zeros(5, 1), ValueError, ['A must be (5)', '(5, 1)']),
    'A is missing': ('A', None, TypeError, ['A must be a tensor', 'NoneType']),
    'B is per channel': ('B', torch.zeros(2, 7, 5), ValueError, ['B must be (2, 7)', '(2, 7, 5)']),
    'B is wider': ('B', torch.zeros(2, 7).double(), TypeError, ['B must be torch.float32', 'torch.float64']),
    'C is transposed': ('C', torch.zeros(7, 2), ValueError, ['C must be (2, 7)', '(7, 2)']),
    'C is elsewhere': ('C', torch.zeros(2, 7, device='meta'), ValueError, ['C must be on cpu like u', 'meta']),
    'D is too short': ('D', torch.zeros(4), ValueError, ['D must be (5)', '(4,)']),
    'D is wider': ('D', torch.zeros(5).double(), TypeError, ['D must be torch.float32', 'torch.float64']),
    'dt_bias is a number': ('dt_bias', 0.5, TypeError, ['dt_bias must be a tensor', 'float']),
    'dt_bias is elsewhere': ('dt_bias', torch.zeros(5, device='meta'), ValueError, ['dt_bias must be on cpu', 'meta']),
}


@pytest.mark.parametrize('case', WRONG)
def test_a_wrong_argument_is_an_error_that_names_it_and_says_what_it_should_be(case):
    name, value, kind, words = WRONG[case]
    args = dict(zip(NAMES, make(2, 7, 5), strict=True))
    args[name] = value
    with pytest.raises(kind) as error:
        selective_scan(**args)
    for word in ('selective_scan', *words):
        assert word in str(error.value)
