"""Faults of scores."""

import math

import numpy as np

from tests.evaluation.diagnosis.sabotage.variants import variant


@variant('scores-missing', 'no key', mend='none')
def drop(entries, document, rng):
    return [{k: v for k, v in e.items() if k != 'score'} for e in entries]


@variant('scores-missing', 'null', None, mend='none', sets=['shapes', 'coco'])
@variant('scores-constant', 'one', 1.0, mend='none')
@variant('scores-constant', 'nine tenths', 0.9, mend='none', sets=['shapes', 'coco'])
def replace(entries, document, rng, value):
    return [{**e, 'score': value} for e in entries]


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


@variant('scores-logits', 'of the sigmoid', _logit)
@variant('scores-percent', 'up to 100', lambda p: 100 * p)
@variant('scores-reversed', 'of the background', lambda p: 1 - p)
@variant('scores-reversed', 'losses', lambda p: -math.log(max(p, 1e-6)), sets=['shapes', 'coco'])
def change(entries, document, rng, function):
    return [{**e, 'score': float(np.round(function(e['score']), 8))} for e in entries]
