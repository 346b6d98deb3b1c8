"""Samplers and pruners: the same seed draws the same, but not twice in a study, nor on two machines."""

import socket

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

from damamba.tuning.study import make_pruner, make_sampler


def study_with(*hosts) -> optuna.Study:
    """A trial of each of these machines."""
    study = optuna.create_study(direction='maximize')
    for host in hosts:
        study.add_trial(optuna.create_trial(value=0.5, user_attrs={'worker': {'host': host}}))
    return study


def drawn(study, monkeypatch, host, seed=7, name='tpe') -> list[float]:
    """What a worker of this machine draws, who finds the study so."""
    with monkeypatch.context() as patch:
        patch.setattr('socket.gethostname', lambda: host)
        study.sampler = make_sampler(name, 40, seed, study)
    return [study.ask({'lr': FloatDistribution(0, 1)}).params['lr'] for _ in range(3)]


@pytest.mark.parametrize('name', ['tpe', 'random'])
def test_a_seed_is_for_a_machine_and_for_what_the_study_has(monkeypatch, name):
    mine = socket.gethostname()
    states = [(), (mine,), (mine, mine), (mine, 'other')]
    found = [drawn(study_with(*hosts), monkeypatch, mine, name=name) for hosts in states]
    again = [drawn(study_with(*hosts), monkeypatch, mine, name=name) for hosts in states]
    assert found == again and len({value for values in found for value in values}) == 12
    one, two = (drawn(study_with('first'), monkeypatch, host, name=name) for host in ('second', 'third'))
    assert not set(one) & set(two)
    assert drawn(study_with(), monkeypatch, mine, seed=8, name=name) != found[0]


def test_pruners_by_their_names():
    assert isinstance(make_pruner('none', 9), NopPruner) and isinstance(make_pruner('hyperband', 9), HyperbandPruner)
    assert isinstance(make_pruner('median', 9), MedianPruner)


def test_a_short_study_looks_at_fewer_trials_before_it_makes_use_of_them():
    samplers = [make_sampler('tpe', trials, None, study_with()) for trials in (4, 20, 99)]
    assert [sampler._n_startup_trials for sampler in samplers] == [3, 5, 10]
    assert [make_pruner('median', trials)._n_startup_trials for trials in (4, 99)] == [3, 5]
