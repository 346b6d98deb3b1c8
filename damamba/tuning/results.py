"""What a study has found: the best values as a config file, the trials as a table and as CSV."""

import csv
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from damamba.tables import Table
from damamba.tuning.lost_trials import ENDED, ended, is_default, state_of, trials_in
from damamba.tuning.noise import named, within_noise
from damamba.tuning.overrides import described, in_short, short_key, write_overrides
from damamba.tuning.space import decode
from damamba.tuning.study import Task

ORDER = (*ENDED, 'lost')  # of the printed table
SHOWN = 20  # trials in it


def best_of(study: optuna.Study) -> FrozenTrial | None:
    return max(trials_in(study, 'complete'), key=lambda trial: trial.value, default=None)


def default_of(study: optuna.Study) -> FrozenTrial | None:
    """The trial of the config's own values, once it is complete."""
    return next(filter(is_default, trials_in(study, 'complete')), None)


def noise_of(study: optuna.Study, task: Task) -> dict[int, bool]:
    """Whether complete trials are within the noise of the best, by their numbers, as far as it is known."""
    best = best_of(study)
    return within_noise(best, trials_in(study, 'complete'), task) if best else {}


def write_best(study: optuna.Study, task: Task, where: str) -> Path | None:
    """Write the best values alone as a config that inherits from the tuned one; ``where``: what the study lies in."""
    best, default = best_of(study), default_of(study)
    if best is None:
        return None
    if default is None:
        own = "The config's own values have none to compare with."
    elif default.number == best.number:
        own = "These are the config's own values: nothing better was found."
    else:
        own = f"The config's own values: {default.value:.4f}, trial {default.number}."
    path, options = task.folder / 'best.py', [shlex.quote(f'{key}={value}') for key, value in task.options.items()]
    comment = [
        f'{task.metric} {best.value:.4f} on validation in trial {best.number}, the best of {len(ended(study))}. {own}',
        f'Study {study.study_name} in {where}' + (f', with --cfg-options {" ".join(options)}' if options else ''),
        f'Train it: python tools/train.py {shlex.quote(str(path))}',
    ]
    near = named(trials_in(study, 'complete'), noise_of(study, task))
    if near:
        comment.insert(1, f'Within its noise, so that they may be as good: {near}.')
    return write_overrides(path, task.config, {}, decode(task.space, best.params), comment)


def verdict(study: optuna.Study, task: Task) -> str:
    """What came out, in a sentence."""
    best, default = best_of(study), default_of(study)
    found = f'{task.metric} {best.value:.4f} in trial {best.number}: {described(best.params)}'
    if default is not None and default.number == best.number:
        found += ", the config's own values; nothing better was found"
    elif default is not None:
        found += f"; the config's own values reach {default.value:.4f}"
    near = named(trials_in(study, 'complete'), noise_of(study, task))
    return f'{found}; within its noise: {near}' if near else found


def write_trials(study: optuna.Study, task: Task) -> Path:
    """Write a line for each trial that has begun, with all digits."""
    path = task.folder / 'trials.csv'
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        headings = ['number', 'state', 'value', 'within_noise', 'default', *_keys(task), 'epochs', 'seconds', 'error']
        noise, trials = noise_of(study, task), trials_in(study, *ORDER, 'running')
        csv.writer(file).writerows([headings, *(_row(trial, task, noise) for trial in trials)])
    return path


def table(study: optuna.Study, task: Task) -> str:
    """The trials that ended, the best first."""
    trials = trials_in(study, *ORDER)
    trials.sort(key=lambda trial: (ORDER.index(state_of(trial)), -(trial.value or 0), trial.number))
    count = f'the best {SHOWN} of {len(trials)} trials' if len(trials) > SHOWN else f'{len(trials)} trials'
    headings = ['trial', 'state', task.metric, *map(short_key, _keys(task)), 'epochs', 'seconds', '']
    rows, noise = [], noise_of(study, task)
    for trial in trials[:SHOWN]:
        number, state, value, is_near, is_own, *params, epochs, seconds, error = _row(trial, task, noise)
        notes = ["the config's own values"] * is_own + ['within the noise of the best'] * (is_near is True)
        note = f'{error or ", ".join(notes)}\n'.splitlines()[0][:60]
        measured, shown = '-' if value is None else f'{value:.4f}', [in_short(param) or '-' for param in params]
        rows.append([str(number), state, measured, *shown, str(epochs or '-'), str(seconds), note])
    return Table.of(f'Study {study.study_name}: {count}', headings, rows, left=(0, 1, len(headings) - 1)).text()


def _keys(task: Task) -> list[str]:
    return [parameter.key for parameter in task.space]


def _row(trial: FrozenTrial, task: Task, noise: Mapping[int, bool]) -> list[Any]:
    params = [trial.params.get(key, '') for key in _keys(task)]
    seconds = round(trial.duration.total_seconds(), 1) if trial.duration else ''
    error = trial.user_attrs.get('error', '')
    near, number = noise.get(trial.number, ''), trial.number
    return [number, state_of(trial), trial.value, near, is_default(trial), *params, trial.last_step, seconds, error]
