"""What is kept for the backward, and that what is not kept is computed anew, exactly and only once."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode
from torch.autograd import gradcheck

from damamba.models import DAMamba, layers
from damamba.models import lean as module
from damamba.models.backbone import Block
from damamba.models.drop_path import DropPath
from damamba.models.lean import SAMPLE, SCAN, Branches, Conv, Linear, lean
from tests.models.helpers import mini


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    """Recompute for small maps too."""
    monkeypatch.setattr(module, 'WORTH', 0)


def kept_tensors(function):
    """What autograd keeps in a call."""
    tensors = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: tensors.append(t) or t, lambda t: t):
        function()
    return tensors


def kept(function):
    """The shapes of it."""
    return sorted(tuple(t.shape) for t in kept_tensors(function))


def made(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def test_only_inputs_and_weights_are_kept():
    x, weight, bias = made(1, 4, 5, 6), made(7, 4, 1, 1), made(7)
    plain = kept(lambda: F.conv2d(F.gelu(F.silu(x)), weight, bias))
    few = kept(lambda: lean(lambda x: (F.gelu(F.silu(x)),), (x,), Conv(), (weight, bias)))
    assert few == [(1, 4, 5, 6), (7,), (7, 4, 1, 1)]
    assert len(plain) > len(few)


def test_the_cheap_part_runs_once_more_in_the_backward_and_the_dear_one_does_not():
    calls = {'cheap': 0, 'dear': 0}

    class Counted(Linear):
        def forward(self, *inputs):
            calls['dear'] += 1
            return super().forward(*inputs)

    def cheap(x):
        calls['cheap'] += 1
        return (x.sin(),)

    out = lean(cheap, (made(3, 4),), Counted(), (made(2, 4), made(2)))
    assert calls == {'cheap': 1, 'dear': 1}
    out.sum().backward()
    assert calls == {'cheap': 2, 'dear': 1}


def scan_inputs():
    return made(1, 6, 3), made(1, 6, 3), -made(3).exp(), made(1, 6), made(1, 6), made(3), made(3)


CASES = {
    'convolution': (Conv(), lambda: ((made(2, 4, 5, 6),), (made(3, 4, 3, 3), made(3)))),
    'convolution with a stride': (Conv(stride=2), lambda: ((made(2, 4, 5, 6),), (made(3, 4, 3, 3), made(3)))),
    'convolution without a bias': (Conv(), lambda: ((made(2, 4, 5, 6),), (made(3, 4, 1, 1),))),
    'depthwise convolution': (Conv(), lambda: ((made(1, 4, 5, 6),), (made(4, 1, 3, 3), made(4)))),
    'linear': (Linear(), lambda: ((made(2, 3, 4),), (made(5, 4), made(5)))),
    'scan': (SCAN, lambda: (scan_inputs(), ())),
    'sampling': (SAMPLE, lambda: ((made(1, 4, 5, 4), 0.2 + 0.1 * made(1, 4, 5, 2).tanh()), ())),
}


@pytest.mark.parametrize('case', CASES)
def test_gradients_pass_gradcheck(case):
    dear, make = CASES[case]
    inputs, weights = make()

    def run(*tensors):
        return lean(
            lambda *inputs: (inputs[0].sin(), *inputs[1:]), tensors[: len(inputs)], dear, tensors[len(inputs) :]
        )

    leaves = [t.detach().requires_grad_() for t in (*inputs, *weights)]
    assert gradcheck(run, leaves)


def test_two_branches_and_what_they_branch_from_pass_gradcheck():
    def run(x, *weights):
        return lean(lambda x: (x.sin(), x.cos()), (x,), Branches(), weights)

    assert gradcheck(run, (made(1, 4, 3, 5), made(3, 4, 1, 1), made(4, 1, 3, 3), made(4)))


@pytest.mark.parametrize('frozen', ['input', 'weight', 'everything'])
def test_what_is_frozen_gets_no_gradient_and_the_rest_its_own(frozen):
    x, weight, bias = made(2, 4), made(3, 4), made(3)
    lean(lambda x: (x.sin(),), (x,), Linear(), (weight, bias)).sum().backward()
    truths = [t.grad.clone() for t in (x, weight, bias)]
    tensors = [t.detach().requires_grad_() for t in (x, weight, bias)]
    for index in {'input': [0], 'weight': [1], 'everything': [0, 1, 2]}[frozen]:
        tensors[index].requires_grad_(False)
    out = lean(lambda x: (x.sin(),), tensors[:1], Linear(), tensors[1:])
    assert out.requires_grad == (frozen != 'everything')
    if out.requires_grad:
        out.sum().backward()
    for tensor, truth in zip(tensors, truths, strict=True):
        assert (tensor.grad is not None) == tensor.requires_grad
        assert tensor.grad is None or torch.equal(tensor.grad, truth)


def test_without_gradients_nothing_is_kept():
    x, weight, bias = made(2, 4), made(3, 4), made(3)
    with torch.no_grad():
        assert kept(lambda: lean(lambda x: (x.sin(),), (x,), Linear(), (weight, bias))) == []


def test_small_maps_are_kept_as_usual(monkeypatch):
    x, weight, bias = made(1, 4, 5, 6), made(7, 4, 1, 1), made(7)
    monkeypatch.setattr(module, 'WORTH', x.numel() + 1)
    plain = kept(lambda: F.conv2d(F.gelu(F.silu(x)), weight, bias))
    assert kept(lambda: lean(lambda x: (F.gelu(F.silu(x)),), (x,), Conv(), (weight, bias))) == plain


def test_a_backward_inside_autocast_computes_as_one_outside():
    x, weight, bias = (torch.randn(*size, requires_grad=True) for size in ((3, 4), (2, 4), (2,)))
    grads = []
    for inside in (False, True):
        out = lean(lambda x: (x.sin(),), (x,), Linear(), (weight, bias))
        with torch.autocast('cpu', torch.bfloat16, enabled=inside):
            grads.append(torch.autograd.grad(out.square().sum(), (x, weight, bias)))
    for value, truth in zip(*grads, strict=True):
        assert value.dtype == torch.float32 and value.equal(truth)


@pytest.mark.parametrize(('with_cp', 'huge'), [(False, 0), (False, 10**9), (True, 0)])
def test_the_backbones_gradients_are_those_of_the_plain_one(with_cp, huge, monkeypatch, close):
    monkeypatch.setattr(layers, 'HUGE', huge)
    model = mini(with_cp=with_cp, drop_path_rate=0.0).double().train()
    picture = torch.randn(2, 3, 65, 97, dtype=torch.float64)
    grads = []
    for worth in (0, 10**9):
        monkeypatch.setattr(module, 'WORTH', worth)
        model.zero_grad()
        sum(out.square().mean() for out in model(picture)).backward()
        grads.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, value in grads[0].items():
        assert (value - grads[1][name]).abs().max() <= 1e-9 * grads[1][name].abs().max().clamp(min=1e-6), name


@pytest.mark.parametrize('kept', [[], [1]], ids=str)
@pytest.mark.parametrize('huge', [0, 10**9], ids=['huge maps', 'others'])
def test_what_stochastic_depth_leaves_out_goes_through_it_too(kept, huge, monkeypatch, close):
    monkeypatch.setattr(layers, 'HUGE', huge)
    monkeypatch.setattr(DropPath, 'draw', lambda self, batch: torch.tensor(kept, dtype=torch.long))
    block = Block(16, 2, 0.5, False, dict(type='BN')).double().train()
    x, grads = torch.randn(2, 16, 5, 6, dtype=torch.float64), []
    for worth in (0, 10**9):
        monkeypatch.setattr(module, 'WORTH', worth)
        weights = [p for p in block.parameters() if p.requires_grad]
        grads.append(torch.autograd.grad(block(x).square().sum(), weights))
    for value, truth in zip(*grads, strict=True):
        close(value, truth)


SWIN_T = 2270 * 2**20  # bytes that MMDetection's Swin-T keeps for the backward of a 1x3x800x1344 picture


@pytest.mark.parametrize(
    ('mode', 'with_cp', 'share'),
    [(FakeTensorMode, False, 1.2), (FakeTensorMode, True, 0.3), (nullcontext, False, 1.2)],
    ids=['sizes alone', 'with_cp, sizes alone', 'by hand'],
)
def test_a_training_keeps_little_beside_a_swins(mode, with_cp, share, monkeypatch):
    monkeypatch.undo()
    with mode():
        model = DAMamba('tiny', drop_path_rate=0.0, with_cp=with_cp).train()
        picture = torch.zeros(1, 3, 800, 1344)
        tensors = kept_tensors(lambda: model(picture))
    own = {p.untyped_storage()._cdata for p in model.parameters()}
    sizes = {s._cdata: s.nbytes() for s in (t.untyped_storage() for t in tensors)}
    total = sum(size for storage, size in sizes.items() if storage not in own)
    assert 0.1 * SWIN_T < total <= share * SWIN_T
