"""Scores that are missing, equal, on another scale, or the wrong way round."""

import numpy as np
from scipy.stats import rankdata

from damamba.evaluation.diagnosis.mends import Mend, State
from damamba.evaluation.diagnosis.quick_ap import NONE, judge, rank

LEAST = 10  # detections, or hits and misses together, to say something of scores
WORSE = 0.3  # chance that a hit scores more than a miss, from which down scores are the wrong way round
PERCENT = 20.0  # the largest score, from which on it is no logit


def score_mends(state: State) -> list[Mend]:
    """What is wrong with the scores, where their values or their order show it."""
    scores = state.results.scores
    if len(scores) < LEAST:
        return []
    if np.isnan(scores).mean() > 0.5:
        return [_ideal('scores-missing', 'Your detections have no scores: AP ranks by them.', 0)]
    known = scores[np.isfinite(scores)]
    if np.ptp(known) == 0:
        return [_ideal('scores-constant', f'All your scores are {known[0]:g}: AP ranks by them.', 0.003)]
    if _is_reversed(state):
        cause = 'Low scores lie on objects, high ones do not: are they distances, losses or ranks?'
        return [Mend(('scores-reversed',), 'the lowest scores first', cause, _reversed, 'scores', times=1.1)]
    return []


def scale_of(scores: np.ndarray) -> tuple[str, str] | None:
    """The fault and a sentence about scores that are no shares; mAP, which asks for their order alone, is the same."""
    known = scores[np.isfinite(scores)]
    if not len(known) or (known.min() >= 0 and known.max() <= 1 + 1e-6):
        return None
    told = f'Your scores go from {known.min():.3g} to {known.max():.3g}'
    same = 'AP is the same, thresholds from 0 to 1 are not'
    if known.min() < 0 < known.max():
        return 'scores-logits', f'{told}: logits? {same}; take their sigmoid.'
    if known.max() <= 0:
        return 'scores-logits', f'{told}: logarithms? {same}; take their exponential.'
    if PERCENT < known.max() <= 100 + 1e-6:
        return 'scores-percent', f'{told}: percent? {same}; divide by 100.'
    return 'scores-scale', f'{told}: {same}.'


def _reversed(state: State) -> State:
    return state.with_results(same_places=True, scores=-state.results.scores)


def _ideal(fault: str, cause: str, gain: float) -> Mend:
    return Mend(
        (fault,),
        'the best order that scores could give',
        cause,
        _best_order,
        'scores',
        is_bound=True,
        gain=gain,
        times=1,
    )


def _best_order(state: State) -> State:
    """The best detection of each object first, by how much it overlaps; then all others."""
    order, hit, _ = _judged(state)
    pairs, best = state.pairs, np.zeros(len(state.results))
    own = state.results.label[pairs.found] == state.truth.label[pairs.object]
    np.maximum.at(best, pairs.found[own], pairs.overlap[own])
    first = np.zeros(len(best))
    first[order[hit]] = 1
    return state.with_results(same_places=True, scores=best + first)


def _judged(state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The detections that count, by class and then by score; whether each finds an object, and is in a crowd."""
    order, pairs = rank(state.results, most=state.most), state.pairs
    order = order[np.argsort(state.results.label[order], kind='stable')]
    place = np.full(len(state.results), NONE)
    place[order] = np.arange(len(order))
    own = state.results.label[pairs.found] == state.truth.label[pairs.object]
    return order, *judge(pairs.of(own & (place[pairs.found] >= 0)), state.truth, place, 0.5)


def _is_reversed(state: State) -> bool:
    """Whether misses score more than hits, by the chance that a hit scores more than a miss (Mann and Whitney 1947)."""
    order, hit, ignored = _judged(state)
    hit, scores = hit[~ignored], state.results.scores[order][~ignored]
    hits = int(hit.sum())
    if min(hits, len(hit) - hits) < LEAST:
        return False
    above = rankdata(scores)[hit].sum() - hits * (hits + 1) / 2
    return above / (hits * (len(hit) - hits)) < WORSE
