"""The config's schedule, placed at a step: the same numbers, to the bit, as if all steps before it had been made."""

import copy
from collections.abc import Mapping, Sequence

import torch
from mmengine.optim import OptimWrapper, _ParamScheduler
from torch.optim import Optimizer

from damamba.engine.optimizer_state import wrappers_of

# What changes in a scheduler while it runs; all else are its settings.
MEASURED = {'last_step', '_global_step', '_last_value', 'cooldown_counter', 'num_bad_epochs', 'best'}
PLAIN = (bool, int, float, str, type(None))


class StandIn(Optimizer):
    """An optimizer of nothing, for schedulers to set the groups of."""

    def step(self, closure=None) -> None:
        """Nothing is trained."""


class Unscheduled:
    """The settings of all groups of a config's optimizers, taken before its schedulers are built, and these.

    Args:
        optim_wrapper: as built from the config.
        schedule: ``param_scheduler`` of the config.
    """

    def __init__(self, optim_wrapper: OptimWrapper, schedule: list | dict) -> None:
        self.schedule = copy.deepcopy(schedule)
        self.groups = {
            name: [{key: value for key, value in group.items() if key != 'params'} for group in wrapper.param_groups]
            for name, wrapper in wrappers_of(optim_wrapper).items()
        }

    def of(self, name: str) -> list[dict]:
        """The schedulers, as settings, of the wrapper of this name."""
        named = isinstance(self.schedule, dict) and 'type' not in self.schedule
        found = self.schedule[name] if named else self.schedule
        return list(found) if isinstance(found, Sequence) else [found]


def place_schedule(runner, unscheduled: Unscheduled, content: Mapping, epochs: int, inside: int) -> list[str]:
    """Set rates and schedulers of a runner that starts anew to where so many epochs and further iterations lead.

    Args:
        runner: its optimizers and schedulers are built.
        unscheduled: what they were built from.
        content: of the checkpoint. Its schedule matters only where that follows what is measured (ReduceOnPlateau).
        epochs: completed ones.
        inside: iterations since the last of them; all of them in a training that counts no epochs.

    Returns:
        What the user should be told.
    """
    notes = []
    for name, wrapper in wrappers_of(runner.optim_wrapper).items():
        schedulers = _named(runner.param_schedulers, name)
        if any(map(_measures, schedulers)):
            states, saved = _named(content.get('param_schedulers'), name), _named(content['optimizer'], name)
            if _are_the_same(schedulers, states) and len(saved['param_groups']) == len(wrapper.optimizer.param_groups):
                _take_over(wrapper, schedulers, states, saved)
                continue
            notes.append('the schedule follows what is measured, and was another one: what it had measured is left out')
        settings = [it for it, own in zip(unscheduled.of(name), schedulers, strict=True) if not _measures(own)]
        _replay(runner, wrapper, schedulers, settings, unscheduled.groups[name], (epochs, inside))
    return notes


def _named(value, name: str):
    return value[name] if name and isinstance(value, Mapping) else value


def _measures(scheduler: _ParamScheduler) -> bool:
    return getattr(scheduler, 'need_val_args', False)


def _are_the_same(schedulers: Sequence[_ParamScheduler], states: Sequence[Mapping] | None) -> bool:
    """Whether schedulers have the settings of those in a checkpoint."""
    settings = [{key: it for key, it in one.state_dict().items() if key not in MEASURED} for one in schedulers]
    return settings == [{key: it for key, it in one.items() if key not in MEASURED} for one in states or ()]


def _take_over(wrapper: OptimWrapper, schedulers: Sequence, states: Sequence[Mapping], saved: Mapping) -> None:
    names = {it.param_name for it in schedulers} | {'betas'}  # whose first one is the momentum of Adam
    saved_groups = [*saved['param_groups'], *([saved['base_param_settings']] if 'base_param_settings' in saved else [])]
    for group, other in zip(wrapper.param_groups, saved_groups, strict=True):
        group.update({key: other[key] for key in names & group.keys() & other.keys()})
    for scheduler, state in zip(schedulers, states, strict=True):
        scheduler.load_state_dict(state)


def _replay(runner, wrapper: OptimWrapper, schedulers: Sequence, settings: list, groups: list, step: tuple) -> None:
    """Step schedulers on a group of each kind alone: an optimizer may have hundreds, and two or three kinds of them."""
    kinds = list({repr(sorted(it.items())): it for it in groups}.values())
    stand_in = StandIn([{**it, 'params': [torch.zeros(1)]} for it in kinds], dict(wrapper.optimizer.defaults))
    replayed = runner._build_param_scheduler(settings, stand_in)
    stand_in._global_step = 0  # or each would warn that nothing was trained before its first step
    _go(replayed, *step, len(runner.train_dataloader))
    place = [kinds.index(it) for it in groups]
    for group, kind in zip(wrapper.param_groups, place, strict=True):
        group.update({key: it for key, it in stand_in.param_groups[kind].items() if key != 'params'})
    followed = iter(replayed)
    for scheduler in schedulers:
        if _measures(scheduler):
            scheduler._global_step += step[0]
        else:
            _bring_up(scheduler, next(followed))
        scheduler._last_value = [group[scheduler.param_name] for group in wrapper.param_groups]


def _go(schedulers: Sequence[_ParamScheduler], epochs: int, inside: int, length: int) -> None:
    """As MMEngine's ParamSchedulerHook does."""
    by_epoch = [it for it in schedulers if it.by_epoch]
    by_iteration = [it for it in schedulers if not it.by_epoch]
    for _ in range(epochs):
        for _ in range(length):
            for scheduler in by_iteration:
                scheduler.step()
        for scheduler in by_epoch:
            scheduler.step()
    for _ in range(inside):
        for scheduler in by_iteration:
            scheduler.step()


def _bring_up(scheduler: _ParamScheduler, other: _ParamScheduler) -> None:
    """Let a scheduler's counters be those of another one with the same settings."""
    scheduler.__dict__.update({key: it for key, it in vars(other).items() if isinstance(it, PLAIN)})
