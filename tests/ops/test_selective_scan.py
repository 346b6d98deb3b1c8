"""selective_scan: every backend against closed forms, and against a case by hand.

Held to the loop in float64 in test_both.py.
"""

import math

import numpy as np
import pytest
import torch

from tests.ops.helpers import BACKENDS, PACKAGES, call, cast, make_scan, widest

NAMES = PACKAGES['selective_scan'].INPUTS


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def run(args, backend):
    return call('selective_scan', args, backend)


def test_one_step_and_two_are_as_by_hand(backend, device, close):
    dt = math.log(math.expm1(0.5))  # softplus(dt) = 0.5
    numbers = ([[[2.0], [6.0]]], [[[dt], [dt]]], [-2 * math.log(2)], [[3.0, 1.0]], [[1.0, 10.0]], [0.25], [0.0])
    args = [torch.tensor(n, device=device, dtype=widest(backend)) for n in numbers]
    # decay exp(-2 log 2 * 0.5) = 1/2;  h = 0.5*3*2 = 3, then 3/2 + 0.5*1*6 = 4.5;  y = 3 + 0.25*2, 45 + 0.25*6
    close(run(args, backend), torch.tensor([[[3.5], [46.5]]]))


def long_memory(args):
    """Without decay the state is a running sum."""
    args['A'].zero_()
    u, B, C = (args[name].numpy() for name in 'uBC')
    return C[..., None] * np.cumsum(steps(args) * B[..., None] * u, axis=1) + args['D'].numpy() * u


def no_memory(args):
    """Every step stands alone."""
    args['A'].fill_(-1e6)
    u, B, C = (args[name].numpy() for name in 'uBC')
    return (C * B)[..., None] * steps(args) * u + args['D'].numpy() * u


def constant_step(args):
    """A convolution with powers of the decay."""
    args['dt'].zero_()
    args = {name: t.numpy() for name, t in args.items()}
    step, truth = np.log1p(np.exp(args['dt_bias'])), np.empty(args['u'].shape)
    length = truth.shape[1]
    for b, c in np.ndindex(truth.shape[0], truth.shape[2]):
        powers = np.exp(step[c] * args['A'][c] * np.arange(length))
        h = np.convolve(powers, step[c] * (args['B'][b] * args['u'][b, :, c]))[:length]
        truth[b, :, c] = args['C'][b] * h + args['D'][c] * args['u'][b, :, c]
    return truth


def steps(args):
    return np.log1p(np.exp((args['dt'] + args['dt_bias']).numpy()))


@pytest.mark.parametrize('closed_form', [long_memory, no_memory, constant_step])
def test_the_result_is_that_of_a_closed_form(closed_form, backend, device, close):
    args = dict(zip(NAMES, (t.double() for t in make_scan(2, 1024, 3)), strict=True))
    truth = torch.from_numpy(closed_form(args))
    close(run([t.to(device, widest(backend)) for t in args.values()], backend), truth)


def test_later_steps_change_nothing_before_them(backend, device):
    args = cast('selective_scan', make_scan(2, 77, 5), torch.float32, device)
    changed = [t.clone() for t in args]
    for name, t in zip(NAMES, changed, strict=True):
        if name in ('u', 'dt', 'B', 'C'):
            t[:, 30:] = torch.randn_like(t[:, 30:])
    before, after = run(args, backend), run(changed, backend)
    assert torch.equal(before[:, :30], after[:, :30])
    assert not torch.equal(before[:, 30:], after[:, 30:])


def test_a_half_precision_sequence_keeps_its_state_in_float32(backend, device, close):
    args = cast('selective_scan', make_scan(1, 64, 2), torch.float16, device)
    u, dt, A, B, C, D, _ = args
    u.fill_(3e4)
    dt.fill_(2)
    A.fill_(-1e-3)
    B.fill_(2)
    C.fill_(1e-3)
    y = run(args, backend)
    close(y, run([t.double() for t in args], 'reference'))
    state = (y - D * u).double()[:, -1] / 1e-3
    assert (state > torch.finfo(torch.float16).max).all()  # the state itself has no place in float16
