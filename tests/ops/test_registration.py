"""What torch knows of the operators: opcheck, operations, derivatives on their own, the same bits every time."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from damamba.ops import adaptive_sample_backward, selective_scan_backward
from tests.ops import test_adaptive_sample as sampling
from tests.ops import test_selective_scan as scanning
from tests.ops.helpers import held

OPERATORS = {
    'adaptive_sample': (sampling, adaptive_sample_backward),
    'selective_scan': (scanning, selective_scan_backward),
}
REGISTERED = [(name, backend) for name, (tests, _) in OPERATORS.items() for backend in tests.OTHERS]
DERIVED = [(*case, torch.bfloat16) for case in REGISTERED]
DERIVED += [(name, backend, torch.float32) for name in OPERATORS for backend in ('vectorized', 'reference')]
KINDS = [(torch.bfloat16, 'transposed'), (torch.float32, 'with gaps')]
each_registered = pytest.mark.parametrize(('operator', 'backend'), REGISTERED)


def make(operator, dtype=torch.float32, device='cpu', layout='contiguous'):
    """Inputs of the operator; weights and offsets stay float32."""
    if operator == 'selective_scan':
        args = scanning.make(1, 10, 5, device=device)
    else:
        args = [torch.randn(1, 2, 3, 32, device=device), 2 * torch.randn(1, 2, 3, 4, device=device)]
    kept = [t.ndim == 1 or t.shape[-1] == 4 for t in args]
    return [held(t if keep else t.to(dtype), layout) for t, keep in zip(args, kept, strict=True)]


def checked(operator, backend, *args, **options):
    """Skip where the backend can't run; else check the operator and its derivative."""
    tests, _ = OPERATORS[operator]
    if reason := tests.BACKENDS[backend].why_not(*args):
        pytest.skip(f'{backend}: {reason}')
    function = getattr(torch.ops.damamba, f'{operator}_{backend}').default
    torch.library.opcheck(function, tuple(t.detach().requires_grad_() for t in args), **options)
    derivative = getattr(torch.ops.damamba, f'{operator}_{backend}_backward').default
    torch.library.opcheck(derivative, (torch.randn_like(args[0]), *args), **options)


@pytest.mark.parametrize(('dtype', 'layout'), KINDS, ids=str)
@each_registered
def test_opcheck_passes(operator, backend, dtype, layout, device):
    checked(operator, backend, *make(operator, dtype, device, layout))


@pytest.mark.parametrize('backend', sampling.OTHERS)
def test_opcheck_passes_with_odd_channels(backend, device):
    for groups in (1, 5):
        offset = torch.randn(1, 2, 3, 2 * groups).to(device)
        checked('adaptive_sample', backend, torch.randn(1, 2, 3, 5).to(device), offset)


WRONG_GRADIENTS = {
    'shape': (lambda grad: grad[:, :1], ValueError, 'grad must be'),
    'dtype': (lambda grad: grad.double(), TypeError, 'grad must be torch.float32'),
    'no tensor': (lambda grad: None, TypeError, 'grad must be a tensor'),
}


@pytest.mark.parametrize('wrong', WRONG_GRADIENTS)
@pytest.mark.parametrize('operator', OPERATORS)
def test_a_derivative_refuses_a_wrong_gradient_and_wrong_inputs(operator, wrong):
    args, derivative = make(operator), OPERATORS[operator][1]
    change, kind, text = WRONG_GRADIENTS[wrong]
    with pytest.raises(kind, match=text):
        derivative(change(torch.randn_like(args[0])), *args)
    with pytest.raises(ValueError, match=f'{operator}: .* must be'):
        derivative(torch.randn_like(args[0]), args[0], args[1][:, :1], *args[2:])


def results(operator, args, backend, upstream):
    """The output and every gradient by autograd; skips where the backend can't run."""
    tests, _ = OPERATORS[operator]
    return tests.results(*((args,) if tests is scanning else args), backend, upstream)


@pytest.mark.parametrize(('operator', 'backend', 'dtype'), DERIVED, ids=str)
def test_the_derivative_on_its_own_gives_autograds_gradients(operator, backend, dtype, device, close):
    args = make(operator, dtype, device, 'transposed')
    upstream = torch.randn(args[0].shape).to(args[0])
    truths = results(operator, args, backend, upstream)[1:]
    values = OPERATORS[operator][1](upstream, *args, backend=backend)
    for value, truth, like in zip(values, truths, args, strict=True):
        assert value.dtype == like.dtype
        close(value, truth)


OPERATIONS = {'adaptive_sample': (8, 16), 'selective_scan': (8, 22)}  # for an element, forward and backward


@each_registered
def test_flop_counters_see_both_directions(operator, backend, device):
    args = make(operator, device=device)
    with FlopCounterMode(display=False) as counter:
        results(operator, args, backend, torch.randn_like(args[0]))
    forward, backward = (getattr(torch.ops.damamba, f'{operator}_{backend}{suffix}') for suffix in ('', '_backward'))
    counted = counter.get_flop_counts()['Global']
    assert (counted[forward], counted[backward]) == tuple(n * args[0].numel() for n in OPERATIONS[operator])


def same_bits(operator, args, backend):
    """Assert that two runs give the same bits; returns the gradients."""
    upstream = torch.randn_like(args[0])
    first, second = (results(operator, args, backend, upstream) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    return first[1:]


@pytest.mark.parametrize('backend', scanning.OTHERS)
def test_the_scan_gives_the_same_bits_every_time(backend, device):
    size = (2, 4099, 80) if device == 'cuda' else (2, 77, 5)
    same_bits('selective_scan', scanning.make(*size, device=device), backend)


def meeting(size, groups, device):
    """A map, and offsets that lead every sample of it between the same four pixels."""
    batch, height, width, _ = size
    offset = torch.empty(batch, height, width, groups, 2, device=device)
    offset[..., 0] = width // 2 + 0.25 - torch.arange(width, device=device).view(1, 1, -1, 1)
    offset[..., 1] = height // 2 + 0.75 - torch.arange(height, device=device).view(1, -1, 1, 1)
    return torch.randn(size, device=device), offset.flatten(3)


@pytest.mark.parametrize('where', ['anywhere', 'on one pixel'])
@pytest.mark.parametrize('backend', sampling.OTHERS)
def test_the_sampling_gives_the_same_bits_when_it_is_told_to(backend, where, device, deterministic_algorithms):
    size = (2, 65, 67, 80) if device == 'cuda' else (2, 5, 7, 32)
    args = meeting(size, size[3] // 16, device)
    if where == 'anywhere':
        args[1].normal_(std=3)
    same_bits('adaptive_sample', args, backend)


@pytest.mark.parametrize('deterministic', [False, True], ids=['as it comes', 'deterministic'])
@pytest.mark.parametrize('backend', sampling.OTHERS)
def test_samples_that_meet_on_one_pixel_add_up(backend, deterministic, device, close, request):
    if deterministic:
        request.getfixturevalue('deterministic_algorithms')
    sampling.compare(*meeting((2, 5, 7, 32), 2, device), backend, close)
