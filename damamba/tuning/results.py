"""What a study has found: the best values as a config file, the trials as a table and as CSV."""

import csv
import shlex
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from damamba.evaluation import tables
from damamba.tuning.ledger import ended, is_default, is_lost
from damamba.tuning.overrides import described, short_key, write_overrides
from damamba.tuning.space import decode
from damamba.tuning.worker import Task

SHOWN = 20  # trials in the printed table


def best_of(study: optuna.Study) -> FrozenTrial | None:
    complete = _with_state(study, TrialState.COMPLETE)
    return max(complete, key=lambda trial: trial.value, default=None)


def default_of(study: optuna.Study) -> FrozenTrial | None:
    """The trial of the config's own values, once it is complete."""
    return next(filter(is_default, _with_state(study, TrialState.COMPLETE)), None)


def _with_state(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(state,))


def write_best(study: optuna.Study, task: Task, where: str) -> Path | None:
    """Write the best values alone as a config that inherits from the tuned one; ``where``: what the study lies in."""
    best = best_of(study)
    if best is None:
        return None
    path = task.folder / 'best.py'
    values = decode(task.space, best.params)
    return write_overrides(path, task.config, {}, values, '\n'.join(_comment(study, task, where, best, path)))


def _comment(study: optuna.Study, task: Task, where: str, best: FrozenTrial, path: Path) -> list[str]:
    default = default_of(study)
    if default is None:
        own = "The config's own values have none to compare with."
    elif default.number == best.number:
        own = "These are the config's own values: nothing better was found."
    else:
        own = f"The config's own values: {default.value:.4f}, trial {default.number}."
    options = ' '.join(shlex.quote(f'{key}={value}') for key, value in task.options.items())
    return [
        f'{task.metric} {best.value:.4f} on validation in trial {best.number}, the best of {len(ended(study))}. {own}',
        f'Study {study.study_name} in {where}' + (f', with --cfg-options {options}' if options else ''),
        f'Train it: python tools/train.py {shlex.quote(str(path))}',
    ]


def write_trials(study: optuna.Study, task: Task) -> Path:
    """Write a line for each trial, with all digits."""
    path = task.folder / 'trials.csv'
    keys = [parameter.key for parameter in task.space]
    task.folder.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['number', 'state', 'value', 'default', *keys, 'epochs', 'seconds', 'error'])
        for trial in study.get_trials(deepcopy=False):
            params = [trial.params.get(key, '') for key in keys]
            row = [trial.number, state_of(trial), _value(trial), is_default(trial), *params]
            writer.writerow([*row, trial.last_step or '', _seconds(trial), trial.user_attrs.get('error', '')])
    return path


def state_of(trial: FrozenTrial) -> str:
    return 'lost' if is_lost(trial) else trial.state.name.lower()


def _value(trial: FrozenTrial) -> float | str:
    return '' if trial.value is None else trial.value


def _seconds(trial: FrozenTrial) -> float | str:
    return round(trial.duration.total_seconds(), 1) if trial.duration else ''


def table(study: optuna.Study, task: Task) -> str:
    """The trials that ended, the best first."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    order = {'complete': 0, 'pruned': 1, 'fail': 2, 'lost': 3}
    trials.sort(key=lambda trial: (order[state_of(trial)], -(trial.value or 0), trial.number))
    count = f'the best {SHOWN} of {len(trials)} trials' if len(trials) > SHOWN else f'{len(trials)} trials'
    heading = tables.start(f'Study {study.study_name}: {count}', 'trial', 'state')
    for name in (task.metric, *(short_key(parameter.key) for parameter in task.space), 'epochs', 'seconds'):
        heading.add_column(name, justify='right')
    heading.add_column('')
    for trial in trials[:SHOWN]:
        heading.add_row(*_row(trial, task))
    return tables.text(heading)


def _row(trial: FrozenTrial, task: Task) -> list[str]:
    params = (trial.params.get(parameter.key, '-') for parameter in task.space)
    note = trial.user_attrs.get('error', "the config's own values" if is_default(trial) else '').splitlines()[:1]
    return [
        str(trial.number),
        state_of(trial),
        '-' if trial.value is None else f'{trial.value:.4f}',
        *(_text(value) for value in params),
        str(trial.last_step or '-'),
        f'{_seconds(trial)}',
        *(text[:60] for text in note or ['']),
    ]


def _text(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def verdict(study: optuna.Study, task: Task) -> str:
    """What came out, in a sentence."""
    best, default = best_of(study), default_of(study)
    found = f'{task.metric} {best.value:.4f} in trial {best.number}: {described(best.params)}'
    if default is None:
        return found
    if default.number == best.number:
        return f"{found}, the config's own values; nothing better was found"
    return f"{found}; the config's own values reach {default.value:.4f}"
