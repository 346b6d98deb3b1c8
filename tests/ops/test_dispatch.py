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


REFUSED = [
    ('broken', RuntimeError, 'was asked for but cannot run: there is no GPU'),
    ('cuda', ValueError, 'is unknown; this operator has broken, picky, easy'),
]


@pytest.mark.parametrize(('name', 'kind', 'text'), REFUSED)
def test_a_backend_that_was_asked_for_and_cannot_run_or_is_unknown_is_an_error(name, kind, text, monkeypatch):
    with pytest.raises(kind, match=f"op: backend='{name}' {text}"):
        chosen(wish=name)
    monkeypatch.setenv('DAMAMBA_BACKEND', name)
    with pytest.raises(kind, match=f"op: DAMAMBA_BACKEND='{name}' {text}"):
        chosen()


def test_where_none_can_run_every_reason_is_given():
    only = {name: BACKENDS[name] for name in ('broken', 'picky')}
    with pytest.raises(RuntimeError, match=r'op: no backend can run.*broken: there is no GPU; picky: there is nothing'):
        choose('op', only, ())


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


def test_importing_any_submodule_leaves_the_operators_their_names():
    before = {name: getattr(damamba.ops, name) for name in PACKAGES}
    for module in pkgutil.walk_packages(damamba.ops.__path__, 'damamba.ops.'):
        importlib.import_module(module.name)
    for name, call in before.items():
        assert callable(call) and getattr(importlib.import_module('damamba.ops'), name) is call
