"""Which backend runs: the argument, then DAMAMBA_BACKEND, then the first that can; each can say why it can't."""

import importlib
import pkgutil
from types import SimpleNamespace

import pytest

import damamba.ops
from damamba.ops.backend import choose
from tests.ops.helpers import PACKAGES, make

each_operator = pytest.mark.parametrize('operator', PACKAGES)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv('DAMAMBA_BACKEND', raising=False)


BACKENDS = {
    'broken': SimpleNamespace(why_not=lambda *args: 'there is no GPU'),
    'picky': SimpleNamespace(why_not=lambda *args: None if args else 'there is nothing'),
    'easy': SimpleNamespace(why_not=lambda *args: None),
}


def chosen(*args, wish=None):
    found = choose('op', BACKENDS, args, wish)
    return next(name for name, backend in BACKENDS.items() if backend is found)


def test_the_argument_goes_before_the_environment_and_that_before_the_first_that_can(monkeypatch):
    assert chosen(1) == 'picky' and chosen() == 'easy'
    monkeypatch.setenv('DAMAMBA_BACKEND', 'easy')
    assert chosen(1) == 'easy' and chosen(1, wish='picky') == 'picky'
    monkeypatch.setenv('DAMAMBA_BACKEND', '')  # no wish
    assert chosen(1) == 'picky'


def test_a_forced_backend_that_cannot_run_raises_with_its_reason(monkeypatch):
    with pytest.raises(RuntimeError, match=r"op: backend='broken' .*there is no GPU"):
        chosen(wish='broken')
    monkeypatch.setenv('DAMAMBA_BACKEND', 'broken')
    with pytest.raises(RuntimeError, match=r"op: DAMAMBA_BACKEND='broken' .*there is no GPU"):
        chosen()


def test_where_none_can_run_every_reason_is_given():
    only = {name: BACKENDS[name] for name in ('broken', 'picky')}
    with pytest.raises(RuntimeError, match=r'op: no backend can run.*broken: there is no GPU; picky: there is nothing'):
        choose('op', only, ())


@each_operator
def test_an_unknown_backend_is_an_error_that_lists_those_there_are(operator, monkeypatch):
    call = getattr(damamba.ops, operator)
    with pytest.raises(ValueError, match=rf"{operator}: backend='cuda' is unknown.*vectorized, reference"):
        call(*make(operator), backend='cuda')
    monkeypatch.setenv('DAMAMBA_BACKEND', 'cuda')
    with pytest.raises(ValueError, match=rf"{operator}: DAMAMBA_BACKEND='cuda' is unknown"):
        call(*make(operator))


@each_operator
def test_both_directions_obey_argument_and_environment(operator, monkeypatch):
    backends, ran = PACKAGES[operator].BACKENDS, []
    first = next(name for name, module in backends.items() if module.why_not(*make(operator)) is None)
    for name, module in backends.items():
        for step in ('forward', 'backward'):
            monkeypatch.setattr(module, step, spy(ran, name, step, getattr(module, step)))
    for wish, wanted, name in (
        (None, '', first),
        (None, 'vectorized', 'vectorized'),
        ('reference', first, 'reference'),
    ):
        monkeypatch.setenv('DAMAMBA_BACKEND', wanted)
        args = [t.requires_grad_() for t in make(operator)]
        getattr(damamba.ops, operator)(*args, backend=wish).sum().backward()
        assert ran == [(name, 'forward'), (name, 'backward')]
        ran.clear()


def spy(ran, name, step, function):
    return lambda *args: ran.append((name, step)) or function(*args)


@each_operator
def test_wrong_arguments_are_refused_before_a_backend_sees_them(operator, monkeypatch):
    for module in PACKAGES[operator].BACKENDS.values():
        monkeypatch.setattr(module, 'why_not', lambda *args: pytest.fail('a backend was asked'))
    first, *others = make(operator)
    with pytest.raises(ValueError, match=operator):
        getattr(damamba.ops, operator)(first[0], *others)


def test_importing_any_submodule_leaves_the_operators_their_names():
    before = {name: getattr(damamba.ops, name) for name in PACKAGES}
    for module in pkgutil.walk_packages(damamba.ops.__path__, 'damamba.ops.'):
        importlib.import_module(module.name)
    for name, call in before.items():
        assert callable(call) and getattr(importlib.import_module('damamba.ops'), name) is call
