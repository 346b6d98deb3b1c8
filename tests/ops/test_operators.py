"""What torch knows of the operators: one of each, whatever runs it, for autograd, compilers, modes and counters."""

import io

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

import damamba.ops
from damamba.ops.backend import ENV
from tests.ops.helpers import FAST_RUNS, PACKAGES, RUNS, call, leaves, make, results

OPERATIONS = {'adaptive_sample': (8, 16), 'selective_scan': (8, 22)}  # for an element, forward and backward
KINDS = [(torch.bfloat16, 'transposed'), (torch.float32, 'with gaps')]
each_operator = pytest.mark.parametrize('operator', PACKAGES)


def overloads(operator):
    """The operator and its derivative, in torch's own list of operators."""
    return [getattr(torch.ops.damamba, operator + suffix).default for suffix in ('', '_backward')]


def public(operator):
    return getattr(damamba.ops, operator)


@pytest.mark.parametrize(('dtype', 'layout'), KINDS, ids=str)
@pytest.mark.parametrize(('operator', 'backend'), FAST_RUNS)
def test_opcheck_passes(operator, backend, dtype, layout, device):
    args = make(operator, dtype, device, layout)
    if layout == 'with gaps' and operator == 'adaptive_sample':
        args = [t[..., :size] for t, size in zip(args, (5, 2), strict=True)]  # an odd number of channels
    call(operator, args, backend)  # skips where it can't run
    forward, backward = overloads(operator)
    torch.library.opcheck(forward, tuple(leaves(args)), dict(backend=backend))
    torch.library.opcheck(backward, (torch.randn_like(args[0]), *args), dict(backend=backend))


@each_operator
def test_an_exported_graph_runs_each_machines_own_backend(operator, monkeypatch):
    class Model(torch.nn.Module):
        def forward(self, *args):
            return public(operator)(*args)

    args = make(operator)
    torch.export.save(torch.export.export(Model(), tuple(args)), file := io.BytesIO())
    file.seek(0)
    again = torch.export.load(file).module()
    for backend in ('numba', 'vectorized'):
        monkeypatch.setenv(ENV, backend)
        assert torch.equal(again(*args), public(operator)(*args, backend=backend))


@pytest.mark.parametrize(('operator', 'backend'), RUNS)
def test_a_mode_such_as_a_flop_counter_sees_every_call_once(operator, backend, device):
    args = make(operator, device=device)
    watched = leaves(args)
    with FlopCounterMode(display=False) as counter:
        results(operator, args, backend, torch.randn_like(args[0]))
        for without_gradients in (torch.no_grad(), torch.inference_mode()):
            with without_gradients:
                call(operator, watched, backend)
    counted = counter.get_flop_counts()['Global']
    found = [counted[overload._overloadpacket] for overload in overloads(operator)]
    assert found == [calls * n * args[0].numel() for calls, n in zip((3, 1), OPERATIONS[operator], strict=True)]


def differentiated_twice(function, args):
    args = leaves(args)
    gradients = torch.autograd.grad(function(*args).square().sum(), args, create_graph=True)
    return torch.autograd.grad(gradients[0].square().sum(), args, allow_unused=True)


def forward_mode(function, args):
    with forward_ad.dual_level():
        return function(forward_ad.make_dual(args[0], args[0]), *args[1:])


UNSUPPORTED = {
    'a second derivative': differentiated_twice,
    'forward-mode': forward_mode,
    'jvp': lambda f, args: torch.func.jvp(f, tuple(args), tuple(args)),
    'torch.func': lambda f, args: torch.func.grad(lambda *args: f(*args).sum())(*args),
    'torch.func ': lambda f, args: torch.func.jacrev(f)(*args),
    'torch.func.vmap': lambda f, args: torch.func.vmap(lambda x: f(x, *args[1:]))(torch.stack([args[0]] * 2)),
}


@pytest.mark.parametrize('what', UNSUPPORTED)
@each_operator
def test_what_is_not_supported_is_one_sentence_with_the_operators_name(operator, what):
    with pytest.raises(NotImplementedError, match=f'{operator} does not support .*{what.strip()}.*: it') as error:
        UNSUPPORTED[what](public(operator), make(operator))
    assert len(str(error.value).splitlines()) == 1


@each_operator
def test_a_graph_of_the_derivative_may_be_made(operator):
    args, gradients = make(operator), []
    for create in (False, True):
        inputs = leaves(args)
        gradients.append(torch.autograd.grad(public(operator)(*inputs).square().sum(), inputs, create_graph=create))
    assert all(map(torch.equal, *gradients)) and gradients[1][0].requires_grad
