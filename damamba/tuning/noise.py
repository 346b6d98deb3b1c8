"""Which trials can't be told from the best: compared pair by pair, on the same draws of the validation's pictures.

What a trial's last validation measured, and its draws, lie in its folder. Where they do not, nothing is said of it.
"""

import math
from collections.abc import Mapping

import numpy as np
from optuna.trial import FrozenTrial

from damamba.evaluation.comparison import compare, is_meaningful, read_draws
from damamba.evaluation.results import NAMES
from damamba.run_record import DRAWS, METRICS, evaluations_of, read_json
from damamba.tuning.study import Task

SHOWN = 5  # trials in a sentence


def within_noise(best: FrozenTrial, trials: list[FrozenTrial], task: Task) -> dict[int, bool]:
    """Whether each of the others may be as good as the best, by their numbers, as far as it is known."""
    of_best, found = _validation(best, task), {}
    for trial in trials if of_best else ():
        its = _validation(trial, task)
        if its and trial.number != best.number and its[1] == of_best[1]:
            (draws, pictures), others = of_best, its[0]
            difference = compare(draws, others, (best.value, trial.value), pictures)
            found[trial.number] = not (difference.is_clear and is_meaningful(best.value))
    return found


def _validation(trial: FrozenTrial, task: Task) -> tuple[np.ndarray, int] | None:
    """The draws of the metric that is tuned, if it is an mAP, and the number of pictures that they are of."""
    folder, kind = task.trial_folder(trial.number), task.metric.removesuffix('_mAP')
    if kind not in NAMES or kind == task.metric:
        return None
    draws = read_draws(folder / DRAWS)
    for prefix, evaluation in evaluations_of(read_json(folder / METRICS, []) or {}).items():
        scores, rows = evaluation['scores'].get(kind), draws.get(f'{prefix}/{kind}')
        if scores and rows is not None and math.isclose(scores['values']['mAP'], trial.value):
            return rows[:, 0], evaluation['images']
    return None  # or the folder is that of another study


def named(trials: list[FrozenTrial], noise: Mapping[int, bool]) -> str:
    """Those that are within the noise, the best first: ``trial 3 (0.4412), trial 0 (0.4403)``; empty if none is."""
    near = sorted((it for it in trials if noise.get(it.number)), key=lambda it: -it.value)
    more = f' and {len(near) - SHOWN} more' if len(near) > SHOWN else ''
    return ', '.join(f'trial {it.number} ({it.value:.4f})' for it in near[:SHOWN]) + more
