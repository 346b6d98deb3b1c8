"""Both operators, every backend: values and every gradient against the loop in float64, and what is true of each."""

import numpy as np
import pytest
import torch
from torch import zeros

import damamba.ops
from tests.ops.helpers import (
    DOUBLES,
    FAST_RUNS,
    FLOAT32,
    LAYOUTS,
    PACKAGES,
    RUNS,
    call,
    cast,
    compare,
    held,
    leaves,
    make,
    make_sample,
    make_scan,
    pairwise,
    results,
    widest,
)  # fmt: skip

LONGEST = 2049  # steps: three chunks for each lane that joins them in Triton's kernels, and one step more
FACTORS = {
    'selective_scan': {
        'channels': [16, 80, 5, 83],
        'length': [1, 2, 16, 65, 257, LONGEST],
        'layout': LAYOUTS,
        'batch': [1, 3],
        'weights': ['as the sequence', 'float32'],
        'autocast': [False, True],
    },
    'adaptive_sample': {
        'channels': [(16, 16), (80, 16), (160, 16), (33, 11), (5, 1)],  # all, and of a group
        'height': [5, 1],
        'width': [11, 1],
        'layout': LAYOUTS,
        'batch': [1, 2],
        'weights': ['as the map', 'float32'],
        'where': ['near', 'far', 'at pixels', 'on one pixel'],
        'deterministic': [False, True],
        'autocast': [False, True],
    },
}


def affordable(case):
    """Whether a combination takes seconds at most, in Triton's interpreter too."""
    return 'length' not in case or case['batch'] * case['length'] * case['channels'] <= 40_000


def cases():
    """Parameters (operator, backend, combination): of any two values of two factors, one meets both."""
    for operator, backend in FAST_RUNS:
        dtypes = [widest(backend), torch.bfloat16, torch.float16]
        for case in pairwise({**FACTORS[operator], 'dtype': dtypes}, affordable):
            yield pytest.param(operator, backend, case, id='-'.join(map(str, (operator, backend, *case.values()))))


def meeting(offset):
    """Lead every sample of a map between the same four pixels."""
    height, width = offset.shape[1:3]
    offset = offset.unflatten(3, (-1, 2))
    offset[..., 0] = width // 2 + 0.25 - torch.arange(width).view(1, 1, -1, 1)
    offset[..., 1] = height // 2 + 0.75 - torch.arange(height).view(1, -1, 1, 1)
    return offset.flatten(3)


def inputs(operator, case):
    if operator == 'selective_scan':
        return make_scan(case['batch'], case['length'], case['channels'])
    channels, group = case['channels']
    x, offset = make_sample(case['batch'], case['height'], case['width'], channels, group=group)
    change = {'near': lambda t: t, 'far': lambda t: 1e6 * t, 'at pixels': torch.round, 'on one pixel': meeting}
    return [x, change[case['where']](offset)]


@pytest.mark.parametrize(('operator', 'backend', 'case'), cases())
def test_values_and_gradients_are_those_of_the_loop_in_float64(
    operator, backend, case, device, close, poisoned_memory, request
):
    if case.get('deterministic'):
        request.getfixturevalue('deterministic_algorithms')
    keep = FLOAT32 if case['weights'] == 'float32' else ()
    args = cast(operator, inputs(operator, case), case['dtype'], device, keep)
    upstream = torch.randn(args[0].shape).to(args[0])
    args, upstream = [held(t, case['layout']) for t in args], held(upstream, case['layout'])
    with torch.autocast(device, torch.bfloat16, enabled=case['autocast']):  # changes nothing
        compare(operator, args, backend, close, upstream)


@pytest.mark.parametrize(('operator', 'backend'), [run for run in RUNS if run[1] in DOUBLES])
def test_gradients_pass_gradcheck(operator, backend, device):
    args = make_scan(2, 7, 3) if operator == 'selective_scan' else make_sample(1, 3, 4, 4, group=2)
    if operator == 'adaptive_sample':
        args[1] = args[1].floor() + 0.2 + 0.6 * torch.rand_like(args[1])  # away from the kinks
    args = leaves(cast(operator, args, torch.float64, device))
    assert torch.autograd.gradcheck(lambda *args: call(operator, args, backend), args)


@pytest.mark.parametrize(('operator', 'backend'), RUNS)
def test_an_empty_input_gives_an_empty_result_with_gradients(operator, backend, device):
    sizes = [(0, 7, 16), (2, 0, 16)] if operator == 'selective_scan' else [(0, 3, 5, 32), (2, 0, 5, 32), (2, 3, 0, 32)]
    for size in sizes:
        make_one = make_scan if operator == 'selective_scan' else make_sample
        args = [t.to(device) for t in make_one(*size)]
        y, *grads = results(operator, args, backend, torch.randn_like(args[0]))
        assert [t.shape for t in (y, *grads)] == [t.shape for t in (args[0], *args)]
        assert not any(g.any() for g in grads)


@pytest.mark.parametrize(('operator', 'backend'), RUNS)
def test_one_gradient_alone_is_as_with_the_others_and_the_arguments_stay_as_they_are(operator, backend, device, close):
    args = make(operator, device=device)
    before = [t.clone() for t in args]
    truths = results(operator, args, backend, torch.ones_like(args[0]))[1:]
    for i, truth in enumerate(truths):
        alone = [t.detach().requires_grad_(k == i) for k, t in enumerate(args)]
        call(operator, alone, backend).sum().backward()  # whose gradient is one number, expanded
        close(alone[i].grad, truth, PACKAGES[operator].INPUTS[i])
    assert all(map(torch.equal, args, before))


@pytest.mark.parametrize(('operator', 'backend'), RUNS)
def test_the_result_may_be_written_to(operator, backend):
    """It is no view: autograd would refuse."""
    for args in (
        make(operator),
        make_scan(1, 1, 5) if operator == 'selective_scan' else make_sample(1, 1, 1, 5, group=5),
    ):
        upstream, inputs = torch.randn_like(args[0]), leaves(args)
        values = torch.autograd.grad(call(operator, inputs, backend).mul_(2), inputs, upstream)
        assert all(map(torch.equal, values, results(operator, args, backend, 2 * upstream)[1:]))
        with torch.no_grad():
            y = call(operator, args, backend)
        assert y.mul_(torch.ones(1, requires_grad=True)).requires_grad


@pytest.mark.parametrize(('operator', 'backend'), FAST_RUNS)
def test_the_same_bits_come_every_time(operator, backend, device, request):
    """Of the sampling where torch is told to, though all samples add to the same pixels."""
    large = device == 'cuda'
    if operator == 'selective_scan':
        args = make_scan(*((2, 4099, 80) if large else (2, 77, 5)))
    else:
        request.getfixturevalue('deterministic_algorithms')
        x, offset = make_sample(*((2, 65, 67, 80) if large else (2, 5, 7, 32)))
        args = x, meeting(offset)
    args = [t.to(device) for t in args]
    upstream = torch.randn_like(args[0])
    first, second = (results(operator, args, backend, upstream) for _ in range(2))
    assert all(map(torch.equal, first, second))


RIGHT = {
    'adaptive_sample': dict(x=zeros(1, 2, 3, 4), offset=zeros(1, 2, 3, 2)),
    'selective_scan': dict(
        u=zeros(2, 7, 5), dt=zeros(2, 7, 5), A=zeros(5), B=zeros(2, 7), C=zeros(2, 7), D=zeros(5), dt_bias=zeros(5)
    ),
}
HALF = zeros(2, 7, 5).half()
WRONG = [  # what another argument is, and what the error says
    (TypeError, dict(x=[1.0]), 'x must be a tensor, got list'),
    (ValueError, dict(x=zeros(2, 3, 4)), 'x must be (B, H, W, C), got (2, 3, 4)'),
    (TypeError, dict(x=zeros(1, 2, 3, 4).long()), 'x must be float16, bfloat16, float32 or float64, got torch.int64'),
    (ValueError, dict(offset=zeros(1, 3, 2, 2)), 'offset must be (1, 2, 3, 2G), got (1, 3, 2, 2)'),
    (ValueError, dict(offset=zeros(1, 2, 3, 3)), 'offset must be (B, H, W, 2G) with G from 1 on, got (1, 2, 3, 3)'),
    (ValueError, dict(offset=zeros(1, 2, 3, 0)), 'offset must be (B, H, W, 2G) with G from 1 on, got (1, 2, 3, 0)'),
    (ValueError, dict(offset=zeros(1, 2, 3, 6)), 'the 4 channels of x do not divide into 3 groups of offset'),
    (
        TypeError,
        dict(offset=zeros(1, 2, 3, 2).double()),
        'offset must be torch.float32 (the dtype of x), got torch.float64',
    ),
    (
        TypeError,
        dict(x=zeros(1, 2, 3, 4).half(), offset=zeros(1, 2, 3, 2).bfloat16()),
        'offset must be torch.float16 or torch.float32 (the dtype of x), got torch.bfloat16',
    ),
    (ValueError, dict(offset=zeros(1, 2, 3, 2, device='meta')), 'offset must be on cpu like x, got meta'),
    (TypeError, dict(u=np.zeros((2, 7, 5))), 'u must be a tensor, got ndarray'),
    (ValueError, dict(dt=zeros(2, 6, 5)), 'dt must be (2, 7, 5), got (2, 6, 5)'),
    (TypeError, dict(dt=HALF), 'dt must be torch.float32 (the dtype of u), got torch.float16'),
    (TypeError, dict(u=HALF), 'dt must be torch.float16 (the dtype of u), got torch.float32'),
    (ValueError, dict(A=zeros(5, 1)), 'A must be (5), got (5, 1)'),
    (ValueError, dict(B=zeros(2, 7, 5)), 'B must be (2, 7), got (2, 7, 5)'),
    (TypeError, dict(u=HALF, dt=HALF), 'B must be torch.float16 (the dtype of u), got torch.float32'),
    (ValueError, dict(C=zeros(7, 2)), 'C must be (2, 7), got (7, 2)'),
    (ValueError, dict(C=zeros(2, 7, device='meta')), 'C must be on cpu like u, got meta'),
    (ValueError, dict(D=zeros(4)), 'D must be (5), got (4,)'),
    (TypeError, dict(D=zeros(5).double()), 'D must be torch.float32 (the dtype of u), got torch.float64'),
    (TypeError, dict(dt_bias=0.5), 'dt_bias must be a tensor, got float'),
]


@pytest.mark.parametrize(('kind', 'wrong', 'text'), WRONG)
def test_a_wrong_argument_is_an_error_that_names_it_and_says_what_it_should_be(kind, wrong, text):
    """Before a backend is looked for."""
    operator = next(name for name, right in RIGHT.items() if set(wrong) <= set(right))
    with pytest.raises(kind) as error:
        getattr(damamba.ops, operator)(**{**RIGHT[operator], **wrong}, backend='none')
    assert str(error.value) == f'{operator}: {text}'
