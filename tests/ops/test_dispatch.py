"""Which backend runs: the argument, then DAMAMBA_BACKEND, then the first that can; each can say why it can't."""

import importlib
import pkgutil

import pytest
import torch

import damamba.ops
from damamba.ops import adaptive_sample, selective_scan
from damamba.ops.backend import Backend, choose

OPERATORS = {
    'adaptive_sample': (adaptive_sample, lambda: (torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 2))),
    'selective_scan': (
        selective_scan,
        lambda: (
            *(torch.zeros(1, 3, 4), torch.zeros(1, 3, 4), torch.zeros(4), torch.zeros(1, 3)),
            *(torch.zeros(1, 3), torch.zeros(4), torch.zeros(4)),
        ),
    ),
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv('DAMAMBA_BACKEND', raising=False)


@pytest.fixture(params=OPERATORS)
def operator(request):
    return request.param


def no_backward(*args):
    raise AssertionError('choosing a backend runs no backward')


def answering(name, reason=None):
    """A backend that returns its own name."""
    return Backend(name, lambda *args: name, lambda *args: reason, no_backward)


FAST, SLOW, BROKEN = answering('fast'), answering('slow'), answering('broken', 'there is no GPU')


def test_without_a_wish_the_first_that_can_is_taken():
    assert choose('op', [BROKEN, FAST, SLOW], None, ()).name == 'fast'


def test_the_environment_variable_goes_before_the_order(monkeypatch):
    monkeypatch.setenv('DAMAMBA_BACKEND', 'slow')
    assert choose('op', [FAST, SLOW], None, ()).name == 'slow'


def test_the_argument_goes_before_the_environment_variable(monkeypatch):
    monkeypatch.setenv('DAMAMBA_BACKEND', 'slow')
    assert choose('op', [FAST, SLOW], 'fast', ()).name == 'fast'


def test_an_empty_environment_variable_is_no_wish(monkeypatch):
    monkeypatch.setenv('DAMAMBA_BACKEND', '')
    assert choose('op', [FAST, SLOW], None, ()).name == 'fast'


def test_a_backend_decides_by_the_arguments_it_would_run_on():
    picky = Backend('picky', lambda x: x, lambda x: None if x > 0 else 'x is not positive', no_backward)
    assert choose('op', [picky, SLOW], None, (1,)).name == 'picky'
    assert choose('op', [picky, SLOW], None, (-1,)).name == 'slow'


def test_a_forced_backend_that_cannot_run_raises_with_its_reason():
    with pytest.raises(RuntimeError, match=r"op: backend='broken' .*there is no GPU"):
        choose('op', [BROKEN, FAST], 'broken', ())


def test_a_backend_forced_by_the_environment_raises_with_the_variables_name(monkeypatch):
    monkeypatch.setenv('DAMAMBA_BACKEND', 'broken')
    with pytest.raises(RuntimeError, match=r"op: DAMAMBA_BACKEND='broken' .*there is no GPU"):
        choose('op', [BROKEN, FAST], None, ())


def test_where_none_can_run_every_reason_is_given():
    with pytest.raises(RuntimeError, match=r'op: no backend can run.*broken: there is no GPU; lost: no reason'):
        choose('op', [BROKEN, answering('lost', 'no reason')], None, ())


def test_an_unknown_backend_is_an_error_that_lists_those_there_are(operator):
    call, make = OPERATORS[operator]
    with pytest.raises(ValueError, match=rf"{operator}: backend='cuda' is unknown.*vectorized, reference"):
        call(*make(), backend='cuda')


def test_an_unknown_backend_in_the_environment_is_an_error_that_names_the_variable(operator, monkeypatch):
    monkeypatch.setenv('DAMAMBA_BACKEND', 'cuda')
    call, make = OPERATORS[operator]
    with pytest.raises(ValueError, match=rf"{operator}: DAMAMBA_BACKEND='cuda' is unknown"):
        call(*make())


def test_both_operators_obey_argument_and_environment(operator, monkeypatch):
    monkeypatch.setattr(importlib.import_module(f'damamba.ops.{operator}'), 'BACKENDS', (FAST, SLOW))
    call, make = OPERATORS[operator]
    assert call(*make()) == 'fast'
    monkeypatch.setenv('DAMAMBA_BACKEND', 'slow')
    assert call(*make()) == 'slow'
    assert call(*make(), backend='fast') == 'fast'


def test_wrong_arguments_are_refused_before_a_backend_sees_them(operator, monkeypatch):
    seen = []
    spy = Backend('spy', lambda *args: seen.append(args), lambda *args: seen.append(args), no_backward)
    monkeypatch.setattr(importlib.import_module(f'damamba.ops.{operator}'), 'BACKENDS', (spy,))
    call, make = OPERATORS[operator]
    with pytest.raises(ValueError, match=operator):
        call(make()[0][0], *make()[1:])
    assert not seen


@pytest.mark.parametrize('name', ['reference', 'vectorized'])
def test_the_plain_torch_backends_run_everything(name, operator):
    backends = {b.name: b for b in importlib.import_module(f'damamba.ops.{operator}').BACKENDS}
    assert backends[name].why_not(*OPERATORS[operator][1]()) is None


def test_importing_any_submodule_leaves_the_operators_their_names():
    for module in pkgutil.walk_packages(damamba.ops.__path__, 'damamba.ops.'):
        importlib.import_module(module.name)
    for name, (call, _) in OPERATORS.items():
        assert callable(getattr(damamba.ops, name))
        assert getattr(importlib.import_module('damamba.ops'), name) is call
