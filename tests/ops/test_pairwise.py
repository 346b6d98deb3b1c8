"""Both operators, every backend, over sizes, types, layouts: values and every gradient against the truth in float64.

All combinations would take hours in Triton's interpreter: of any two values of two factors, one meets both.
"""

from itertools import combinations, product

import pytest
import torch
import torch.nn.functional as F

from damamba.ops.selective_scan import triton_launch as launch
from damamba.ops.selective_scan import vectorized
from damamba.ops.triton_needs import triton
from tests.ops import test_adaptive_sample as sampling
from tests.ops import test_selective_scan as scanning
from tests.ops.helpers import HALVES, LAYOUTS, held, pairs_of, pairwise, widest

CHANNELS = [16, 80, 160]
LONGEST = 2049  # steps: three chunks for each lane that joins them in Triton's kernels, and one step more
SCANS = {
    'channels': CHANNELS,
    'length': [1, 64, 1023, LONGEST],
    'layout': LAYOUTS,
    'batch': [1, 2],
    'weights': ['as the sequence', 'float32'],
}
SAMPLES = {
    'channels': CHANNELS,
    'height': [3, 1],
    'width': [11, 1],
    'layout': LAYOUTS,
    'batch': [1, 2],
    'offsets': ['as the map', 'float32'],
    'deterministic': [False, True],
}


def affordable(case):
    """Whether a combination takes seconds at most."""
    return 'length' not in case or case['batch'] * case['length'] <= LONGEST or case['channels'] == 16


def cases(factors, backends):
    """Parameters (backend, combination)."""
    for backend in backends:
        for case in pairwise({**factors, 'dtype': [widest(backend), *HALVES]}, affordable):
            yield pytest.param(backend, case, id='-'.join([backend, *(str(v) for v in case.values())]))


@pytest.mark.parametrize('factors', [SCANS, SAMPLES], ids=['scan', 'sample'])
def test_any_two_values_of_two_factors_meet(factors):
    chosen = [p.values[1] for p in cases(factors, ['triton'])]
    met = set().union(*map(pairs_of, chosen))
    values = {**factors, 'dtype': [torch.float32, *HALVES]}
    for a, b in combinations(values, 2):
        assert met >= {((a, x), (b, y)) for x, y in product(values[a], values[b])}
    assert len(chosen) <= 16


def walked(u, dt, A, B, C, D, dt_bias):
    """The recurrence as in the reference's loop, but for what makes its backward take the square of the length."""
    d = F.softplus(dt + dt_bias)
    h, states = torch.zeros_like(u[:, 0]), []
    for decay, x in zip(torch.exp(d * A).unbind(1), (d * B.unsqueeze(2) * u).unbind(1), strict=True):
        h = decay * h + x
        states.append(h)
    return C.unsqueeze(2) * torch.stack(states, dim=1) + D * u


def compare(names, values, truth, args, upstream, close):
    """Hold the output and all gradients against those of a function of the arguments in float64."""
    exact = [t.detach().double().cpu().requires_grad_() for t in args]
    y = truth(*exact)
    truths = y, *torch.autograd.grad(y, exact, upstream.double().cpu())
    for name, value, true, like in zip(('y', *names), values, truths, (upstream, *args), strict=True):
        assert value.dtype == like.dtype, name
        close(value, true, name)


@pytest.fixture
def large_programs(monkeypatch, interpreter):
    """In the interpreter a program of the scan takes as long whatever its size: have few, large ones."""

    def plan(u):
        divided = divide(u)
        width = max(64, launch.TILE // triton.next_power_of_2(divided.rows))
        width = min(width, 512, triton.next_power_of_2(u.shape[2]))
        programs = triton.cdiv(divided.rows, launch.TILE // width), triton.cdiv(u.shape[2], width)
        return divided._replace(width=width, programs=programs)

    divide = launch.plan
    if launch.INTERPRETED:
        monkeypatch.setattr(launch, 'TILE', 2**13)
        monkeypatch.setattr(launch, 'plan', plan)


@pytest.fixture
def short_segments(monkeypatch):
    """Let plain torch do a long sequence in several segments, as it does one of a hundred thousand steps."""
    monkeypatch.setattr(vectorized, 'SEGMENT', 2**16)


@pytest.mark.parametrize(('backend', 'case'), cases(SCANS, scanning.OTHERS))
def test_the_scan_is_the_loop_in_float64(backend, case, device, close, large_programs, short_segments, poisoned_memory):
    size = case['batch'], case['length'], case['channels']
    kept = case['weights'] == 'float32'
    args = [t if kept and t.ndim == 1 else t.to(case['dtype']) for t in scanning.make(*size, device=device)]
    args = [held(t, case['layout']) for t in args]
    upstream = held(torch.randn(size).to(device, case['dtype']), case['layout'])
    values = scanning.results(args, backend, upstream)
    compare(scanning.NAMES, values, walked, args, upstream, close)


@pytest.mark.parametrize(('backend', 'case'), cases(SAMPLES, sampling.OTHERS))
def test_the_sampling_is_the_loop_in_float64(backend, case, device, close, poisoned_memory, request):
    if case['deterministic']:
        request.getfixturevalue('deterministic_algorithms')
    size = case['batch'], case['height'], case['width'], case['channels']
    x, upstream = (held(torch.randn(size).to(device, case['dtype']), case['layout']) for _ in range(2))
    offset = 2 * torch.randn(*size[:3], size[3] // 8)
    offset = held(offset.to(device, torch.float32 if case['offsets'] == 'float32' else x.dtype), case['layout'])
    values = sampling.results(x, offset, backend, upstream)
    loop = lambda x, offset: sampling.adaptive_sample(x, offset, backend='reference')  # noqa: E731
    compare(('x', 'offset'), values, loop, (x, offset), upstream, close)
