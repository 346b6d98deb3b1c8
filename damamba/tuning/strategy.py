"""What chooses the next values, and what ends weak trials: Optuna's samplers and pruners."""

import socket
import zlib

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler


def make_sampler(name: str, trials: int, seed: int | None, study: optuna.Study) -> BaseSampler:
    """Draw at random at first, and always other numbers than those that the study has seen."""
    own = None if seed is None else _own_seed(seed, study)
    if name == 'random':
        return RandomSampler(seed=own)
    return TPESampler(seed=own, n_startup_trials=startup(trials))


def _own_seed(seed: int, study: optuna.Study) -> int:
    """Another one for each state that the study is gone on with in, and for each of several machines."""
    trials = study.get_trials(deepcopy=False)
    hosts = {trial.user_attrs['worker']['host'] for trial in trials if 'worker' in trial.user_attrs}
    entropy = [seed, len(trials)]
    if hosts - {socket.gethostname()}:
        entropy.append(zlib.crc32(socket.gethostname().encode()))
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def startup(trials: int) -> int:
    """How many trials are looked at before they are made use of: Optuna's 10, or fewer in a short study."""
    return min(10, max(3, trials // 4))


def make_pruner(name: str, trials: int) -> BasePruner:
    if name == 'none':
        return NopPruner()
    return HyperbandPruner() if name == 'hyperband' else MedianPruner(n_startup_trials=min(5, startup(trials)))
