"""Both operators, every backend, where numbers end: values and gradients stay finite, and those of the loop in float64.

Where the truth itself has no place in the dtype there is nothing to hold: the cases leave it room.
"""

import math

import pytest
import torch

from tests.conftest import TOLERANCES
from tests.ops import helpers
from tests.ops.helpers import BACKENDS, FAST, FLOAT32, PACKAGES, call, cast, make_scan, pairwise, parametrize

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
HALVES = pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
LIMIT = 65504.0  # of float16
TINY = 2.0**-24  # its smallest number above 0


def meetings(**factors):
    """Each case meets each backend and each type, not all of them together."""
    return pairwise({'backend': FAST, 'dtype': DTYPES, **factors})


def near(value, truth, name):
    """As the fixture `close`, but a number may also be one of its dtype's smallest steps away."""
    number, largest = torch.finfo(value.dtype), truth.abs().max().item()
    assert largest <= number.max, f'{name}: the truth has no place in {value.dtype}: choose another case'
    limit = TOLERANCES[value.dtype] * largest + number.smallest_normal * number.eps
    error = (value.double().cpu() - truth).abs().max()
    assert error <= limit, f'{name}: error {error:.1e}'  # and it is a number


def hold(operator, args, backend):
    """Hold the output and every gradient against the loop in float64; upstream leaves the gradients room."""
    upstream = torch.randn(args[0].shape)
    truths = helpers.results(operator, [t.double().cpu() for t in args], 'reference', upstream.double())
    largest = max(g.abs().max().item() for g in truths[1:])
    helpers.compare(operator, args, backend, near, (upstream * min(1.0, 1e3 / max(largest, 1.0))).to(args[0]))


# The selective scan

SIGNS = torch.tensor([1.0, -1.0]).repeat(19)[:37].view(1, 37, 1)


def fill(value):
    return lambda t: torch.full_like(t, value)


def scale(factor):
    return lambda t: t * factor


SCANS = {  # the argument and what becomes of it; where steps are huge, what they multiply is small
    'the largest steps of float16': dict(dt=fill(6e4), B=scale(1e-4), dt_bias=fill(0.0), C=scale(1e-2)),
    'large steps and hardly a decay': dict(dt=fill(1000.0), A=fill(-1e-8), B=scale(1e-3), C=scale(0.1)),
    'the tiniest steps of float16': dict(dt=fill(-6e4)),
    'float16 both ways in turn': dict(dt=lambda t: 6e4 * SIGNS.expand_as(t), B=scale(1e-4), C=scale(1e-2)),
    'a large bias': dict(dt_bias=fill(1000.0), B=scale(1e-3)),
    'a tiny bias': dict(dt_bias=fill(-1000.0)),
    'bias and steps that cancel': dict(dt=fill(1000.0), dt_bias=fill(-1000.0)),
    'a huge decay': dict(A=fill(-1e6)),
    'a huge decay of tiny steps': dict(A=fill(-1e6), dt=fill(-1000.0)),
    'hardly a decay': dict(A=fill(-1e-8)),
    'inputs at the limit': dict(u=lambda t: LIMIT * SIGNS.expand_as(t), C=scale(1e-2), D=fill(0.5)),
    'inputs at the limit, all of one sign': dict(u=fill(LIMIT), B=scale(1e-2), C=scale(1e-2), D=fill(0.5)),
    'the smallest inputs': dict(u=fill(TINY)),
    'no inputs': dict(u=fill(0.0)),
    'input weights at the limit': dict(B=fill(LIMIT), u=scale(1e-4), C=scale(1e-2)),
    'states beyond float16': dict(u=fill(3e4), dt=fill(2.0), A=fill(-1e-3), B=fill(2.0), C=fill(1e-3)),
    'output weights at the limit': dict(C=fill(LIMIT), B=scale(1e-4), u=scale(1e-1)),
}


@parametrize(meetings(case=list(SCANS)))
def test_scans_of_extreme_inputs_are_finite_and_the_truth(backend, dtype, case, device):
    args = dict(zip(PACKAGES['selective_scan'].INPUTS, make_scan(2, 37, 5), strict=True))
    args.update({name: change(args[name]) for name, change in SCANS[case].items()})
    hold('selective_scan', cast('selective_scan', args.values(), dtype, device, FLOAT32), backend)


@HALVES
@pytest.mark.parametrize('backend', BACKENDS)
def test_steps_are_float32_after_bias_and_softplus(dtype, backend, device):
    """Steps that differ by less than half precision tells: 128 of them decay an input to what is measured."""
    u, dt, B = torch.zeros(1, 128, 64), torch.zeros(1, 128, 64), torch.ones(1, 128)
    u[:, 0] = 1000
    steps = torch.linspace(0.06, 0.0603, 64)
    D, bias = torch.zeros(64), steps.expm1().log()
    args = [t.to(device, dtype) for t in (u, dt)] + [-torch.ones(64, device=device)]
    args += [B.to(device, dtype), B.to(device, dtype), D.to(device), bias.to(device)]
    y = call('selective_scan', args, backend)
    slope = y[0, -1].double().cpu().log()
    truth = (1000 * steps.double()).log() - 127 * steps.double()
    assert (slope - truth).abs().max() < torch.finfo(dtype).eps


# The adaptive sampling

FAR = {
    'hundreds of pixels': lambda *size: 400 * torch.randn(size),
    'hundreds of pixels, but for one in two': lambda *size: torch.where(torch.rand(size) < 0.5, 300, 0.3),
    'as far as float32 goes': lambda *size: torch.finfo(torch.float32).max * torch.randn(size).sign(),
    'one in three infinite': lambda *size: torch.where(torch.rand(size) < 0.3, math.inf, 1) * torch.randn(size),
    'one in three no number': lambda *size: torch.where(torch.rand(size) < 0.3, math.nan, torch.randn(size)),
    'hardly any': lambda *size: 1e-30 * torch.randn(size),
    'just inside': lambda *size: torch.full(size, -1 + 2**-24),
}
MAPS = {
    'as usual': lambda *size: torch.randn(size),
    'at the limit': lambda *size: LIMIT * torch.randn(size).sign(),
    'at the limit, all of one sign': lambda *size: torch.full(size, LIMIT),
    'the smallest': lambda *size: TINY * torch.randn(size).sign(),
}
FAR_AND_NEAR = ('hundreds of pixels, but for one in two', 'one in three no number', 'just inside')
SAMPLES = [
    *meetings(map_name=['as usual'], offset_name=list(FAR)),
    *meetings(map_name=[name for name in MAPS if name != 'as usual'], offset_name=list(FAR_AND_NEAR)),
]
SIZE = (2, 3, 5, 32)  # B, H, W, C, in 2 groups


@parametrize(SAMPLES)
def test_samples_of_extreme_maps_and_offsets_are_finite_and_the_truth(backend, dtype, map_name, offset_name, device):
    x, offset = MAPS[map_name](*SIZE).to(device, dtype), FAR[offset_name](*SIZE[:3], 4).float().to(device)
    hold('adaptive_sample', (x, offset), backend)
