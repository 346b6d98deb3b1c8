"""What torch knows of the operators: one of each, whatever runs it, for autograd, compilers, modes and counters."""

import io
from functools import partial

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode

import damamba.ops
from damamba.ops.backend import ENV
from tests.ops.helpers import FAST_RUNS, PACKAGES, RUNS, call, leaves, make, make_sample, make_scan, results

OPERATIONS = {'adaptive_sample': (8, 16), 'selective_scan': (8, 22)}  # for an element, forward and backward
KINDS = [(torch.bfloat16, 'transposed'), (torch.float32, 'with gaps')]
each_operator = pytest.mark.parametrize('operator', PACKAGES)


def overloads(operator):
    """The operator and its derivative, in torch's own list of operators."""
    return [getattr(torch.ops.damamba, operator + suffix).default for suffix in ('', '_backward')]


def public(operator):
    return getattr(damamba.ops, operator)


def sized(operator, batch, height, width):
    """Inputs of 16 channels."""
    if operator == 'selective_scan':
        return make_scan(batch, height * width, 16)
    return make_sample(batch, height, width, 16)


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


@pytest.mark.parametrize('strict', [True, False], ids=['strict', 'not strict'])
@each_operator
def test_an_exported_graph_names_the_operator_and_each_machine_runs_its_own_backend(operator, strict, monkeypatch):
    class Model(torch.nn.Module):
        def forward(self, *args):
            return public(operator)(*args).relu()

    args = sized(operator, 2, 3, 4)
    sizes = args[0].ndim - 1  # all but the channels
    shapes = tuple(dict.fromkeys(range(sizes), torch.export.Dim.AUTO) if t.ndim >= sizes else {} for t in args)
    program = torch.export.export(Model(), tuple(args), dynamic_shapes=(shapes,), strict=strict)
    ours = [str(node.target) for node in program.graph.nodes if 'damamba' in str(node.target)]
    assert ours == [f'damamba.{operator}.default']
    torch.export.save(program, file := io.BytesIO())
    file.seek(0)
    again, others = torch.export.load(file).module(), sized(operator, 3, 5, 2)
    for backend in ('numba', 'vectorized'):
        monkeypatch.setenv(ENV, backend)
        assert torch.equal(again(*others), public(operator)(*others, backend=backend).relu())


def both(x, offset, *others):
    """One operator after the other, as in the model."""
    return damamba.ops.selective_scan(damamba.ops.adaptive_sample(x, offset).flatten(1, 2), *others).square()


@pytest.mark.parametrize('dynamic', [False, True], ids=['static', 'dynamic'])
def test_compiled_into_one_graph_they_give_the_same_values_and_gradients(dynamic, close):
    torch.compiler.reset()
    compiled = torch.compile(both, fullgraph=True, dynamic=dynamic)
    for size in ((2, 3, 4), (3, 5, 2)):
        args = [*sized('adaptive_sample', *size), *sized('selective_scan', *size)[1:]]
        values, truths = (
            [y := f(*inputs), *torch.autograd.grad(y.sum(), inputs)]
            for f, inputs in ((compiled, leaves(args)), (both, leaves(args)))
        )
        for value, truth in zip(values, truths, strict=True):
            close(value, truth)
    torch.compiler.reset()


@each_operator
def test_on_meta_there_are_shapes_and_no_numbers(operator):
    args = leaves([t.to('meta') for t in make(operator, torch.bfloat16, layout='transposed')])
    y = public(operator)(*args)
    y.sum().backward()
    for value, like in zip((y, *(t.grad for t in args)), (args[0], *args), strict=True):
        assert (value.shape, value.dtype, value.device.type) == (like.shape, like.dtype, 'meta')
    assert y.is_contiguous()


@pytest.mark.parametrize(('operator', 'backend'), RUNS)
def test_flop_counters_see_both_directions(operator, backend, device):
    args = make(operator, device=device)
    with FlopCounterMode(display=False) as counter:
        results(operator, args, backend, torch.randn_like(args[0]))
    counted = counter.get_flop_counts()['Global']
    found = [counted[overload._overloadpacket] for overload in overloads(operator)]
    assert found == [n * args[0].numel() for n in OPERATIONS[operator]]


class Seen(TorchDispatchMode):
    """Notes what is called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls.append(func)
        return func(*args, **kwargs or {})


@each_operator
def test_a_mode_sees_every_call_once(operator):
    args, (forward, backward) = make(operator), overloads(operator)
    with Seen() as seen:
        public(operator)(*args)
        with torch.no_grad():
            public(operator)(*leaves(args))
        with torch.inference_mode():
            public(operator)(*args)
        assert [f for f in seen.calls if f in (forward, backward)] == [forward] * 3
        public(operator)(*leaves(args)).sum().backward()
    assert [f for f in seen.calls if f in (forward, backward)] == [forward] * 4 + [backward]


@each_operator
def test_selective_checkpointing_keeps_the_result_if_it_is_told_to(operator, monkeypatch):
    kernels = PACKAGES[operator].BACKENDS['vectorized']
    forward, calls = kernels.forward, []
    monkeypatch.setattr(kernels, 'forward', lambda *args: calls.append(args) or forward(*args))
    args, gradients = make(operator), []
    step = lambda *args: public(operator)(*(t.tanh() for t in args), backend='vectorized').tanh()  # noqa: E731
    for kept, runs in ((None, 1), ([overloads(operator)[0]], 1), ([], 2)):
        calls.clear()
        inputs = leaves(args)
        options = dict(context_fn=partial(create_selective_checkpoint_contexts, kept), use_reentrant=False)
        y = step(*inputs) if kept is None else checkpoint(step, *inputs, **options)
        gradients.append(torch.autograd.grad(y.sum(), inputs))
        assert len(calls) == runs
    for value in gradients[1:]:
        assert all(map(torch.equal, value, gradients[0]))


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
