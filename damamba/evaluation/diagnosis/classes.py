"""Category ids that mean something else: shifted, places in a list, names, categories that stand for each other."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from damamba.evaluation.diagnosis.columns import UNKNOWN, Results, Truth, order_of, places_of
from damamba.evaluation.diagnosis.mends import Mend, State
from damamba.evaluation.diagnosis.quick_ap import NONE, judge, rank

LEAST = 5  # detections that lie on objects, or nothing is said of classes
AGREE = 0.6  # share of them that has the right class once the classes are mended
SURER = 0.02  # how much more of them an assignment that was made to fit has to have right
BEFORE = 0.35  # the most that may have had it before
ALIKE = 0.4  # the least share of any class that is found, of the largest one, where detections have lost their classes

Reading = tuple[str, str, str, Mapping]  # fault, words, cause, and the place of each category as it is written


def class_mends(state: State) -> list[Mend]:
    """Other readings of the categories, each once, that agree with the objects on which detections lie."""
    results, truth = state.results, state.truth
    found, true = _on_objects(state)
    if len(found) < LEAST:
        return []
    seen, mends, most = {results.label.tobytes()}, [], 0.0
    for fault, words, cause, places in _readings(results, truth, found, true):
        label = _read(results, places)
        right = _right(results.label[found], label[found], true)
        if right and right > most + (SURER if fault == 'classes-permuted' else -1) and label.tobytes() not in seen:
            seen.add(label.tobytes())
            mends.append(Mend((fault,), words, cause, _reader(places), 'classes', gain=0.01, times=1.02))
            most = max(most, right)
    return mends + _one_class(state, found, true)


def _reader(places: Mapping) -> Callable[[State], State]:
    return lambda state: state.with_results(same_places=True, label=_read(state.results, places))


def _read(results: Results, places: Mapping) -> np.ndarray:
    """The place of each category as it is written: a number, or a name."""
    return places_of([_plain(it) if isinstance(it, str) else it for it in results.category_ids], places)


def _plain(name: str) -> str:
    """A name without regard to case, to what joins its words, and to a super-category in front of it."""
    return ' '.join(re.split(r'[\s_\-]+', name.rpartition('/')[2].strip().casefold()))


def _on_objects(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Detections that lie on an object of their own, whatever its class; and the classes of these objects."""
    results = replace(state.results, label=np.zeros(len(state.results), int))
    order, pairs = rank(results), state.pairs
    place = np.full(len(results), NONE)
    place[order] = np.arange(len(order))
    pairs = pairs.of((place[pairs.found] >= 0) & ~state.truth.crowd[pairs.object])
    hit, _ = judge(pairs, state.truth, place, 0.5)
    hits = np.flatnonzero(hit[place[pairs.found]])
    best = {}
    for p in hits[np.argsort(pairs.overlap[hits], kind='stable')]:
        best[int(pairs.found[p])] = int(pairs.object[p])
    return np.fromiter(best, int), state.truth.label[np.fromiter(best.values(), int)]


def _right(before: np.ndarray, after: np.ndarray, true: np.ndarray) -> float:
    """Which share of those whose class is another one then is right; 0 where that is not clear.

    Ids that the annotations do not have are no weakness of a detector. Else most must have been wrong, and more be
    right than the most frequent class alone would bring.
    """
    moved = before != after
    if moved.sum() < LEAST:
        return 0.0
    right, was_right = (after == true)[moved].mean(), (before == true)[moved].mean()
    least = AGREE
    if (before[moved] == UNKNOWN).mean() < AGREE:
        frequent = np.bincount(true[moved]).max() / moved.sum()
        least = max(AGREE, frequent + (1 - frequent) / 2)
    return float(right) if right >= least and was_right <= BEFORE else 0.0


def _readings(results: Results, truth: Truth, found: np.ndarray, true: np.ndarray) -> Iterator[Reading]:
    names = {_plain(str(name)): place for place, name in enumerate(truth.categories)}
    if any(isinstance(it, str) for it in results.category_ids):
        texts = {str(number): place for place, number in enumerate(truth.category_ids)}
        yield (
            'category-names', 'categories looked up by what their texts say',
            f'Your categories are texts, such as {results.category_ids[0]!r}, those of the annotations numbers?',
            {**texts, **names},
        )  # fmt: skip
    numbers = _numbers(results.category_ids)
    if numbers is None:
        return
    if np.unique(numbers[found]).size > 1 or (results.label[found] == UNKNOWN).mean() > AGREE:
        yield from _shifted(numbers, truth, found, true)
    if (results.label == UNKNOWN).any():
        yield from _listed(truth)
    yield from _permuted(numbers, truth, found, true)


def _numbers(written: Sequence) -> np.ndarray | None:
    try:
        numbers = np.array([float(it) for it in written])
    except (TypeError, ValueError, OverflowError):
        return None
    are_ids = np.isfinite(numbers).all() and (numbers == numbers.round()).all() and np.abs(numbers).max() < 2**53
    return numbers.astype(np.int64) if are_ids else None


def _shifted(numbers: np.ndarray, truth: Truth, found: np.ndarray, true: np.ndarray) -> Iterator[Reading]:
    if not all(type(it) is int for it in truth.category_ids):
        return
    own, places = np.array(truth.category_ids), {number: place for place, number in enumerate(truth.category_ids)}
    steps, counts = np.unique(own[true] - numbers[found], return_counts=True)
    for step in dict.fromkeys([*steps[np.argsort(-counts, kind='stable')][:2].tolist(), 1, -1]):
        if step:
            yield (
                'ids-shifted', f'category ids {_number(abs(step))} {"higher" if step > 0 else "lower"}',
                f'Your ids start at {numbers.min()}, those of the annotations at {own.min()}?',
                {number - step: place for number, place in places.items()},
            )  # fmt: skip


def _number(step: int) -> str:
    return 'one' if step == 1 else 'two' if step == 2 else f'{step:,}'


def _listed(truth: Truth) -> Iterator[Reading]:
    count = len(truth.categories)
    orders = {
        'as the annotations list them': np.arange(count),
        'by their ids': np.array(sorted(range(count), key=lambda k: order_of(truth.category_ids[k]))),
        'by their names': np.array(sorted(range(count), key=lambda k: str(truth.categories[k]))),
    }  # fmt: skip
    for what, order in orders.items():
        for first in (0, 1):
            yield (
                'labels-as-ids', f'category ids taken as places among the categories, {what}, counted from {first}',
                f'Your ids are labels from {first} on, those of the annotations have gaps or another order?',
                {first + n: int(place) for n, place in enumerate(order)},
            )  # fmt: skip


def _permuted(numbers: np.ndarray, truth: Truth, found: np.ndarray, true: np.ndarray) -> Iterator[Reading]:
    """The best assignment of ids to categories, where at least two stand for others than they say."""
    written, rows = np.unique(numbers, return_inverse=True)
    counts = np.zeros((len(written), len(truth.categories)))
    np.add.at(counts, (rows[found], true), 1)
    own = {number: place for place, number in enumerate(truth.category_ids)}
    stays = np.array([own.get(int(number), UNKNOWN) for number in written])
    counts[np.flatnonzero(stays >= 0), stays[stays >= 0]] += 0.5  # where nothing tells, as it is
    assigned = np.full(len(written), UNKNOWN)
    at, to = linear_sum_assignment(-counts)
    assigned[at] = to
    seen = counts.max(axis=1) >= LEAST / 2
    moved = (assigned != stays) & seen & (assigned >= 0)
    moved &= counts[np.arange(len(written)), assigned] >= AGREE * counts.sum(axis=1)
    if moved.sum() < 2:
        return
    pairs = [f'{written[r]} as {truth.category_ids[assigned[r]]}' for r in np.flatnonzero(moved)]
    some = ', '.join(pairs[:4]) + (f' and {len(pairs) - 4} more' if len(pairs) > 4 else '')
    yield (
        'classes-permuted', f'category ids in another order ({some})',
        'Your classes stand in another order than the categories of the annotations?',
        {int(number): int(place) for number, place in zip(written, assigned, strict=True)},
    )  # fmt: skip


def _one_class(state: State, found: np.ndarray, true: np.ndarray) -> list[Mend]:
    """The classes of the objects that detections lie on, where all have one, and find the others as well."""
    truth = state.truth
    if len(set(map(str, state.results.category_ids))) != 1 or state.results.category_ids[0] is None:
        return []
    there = np.unique(truth.label[~truth.crowd])
    if len(there) < 2:
        return []
    counts, hits = (np.bincount(it, minlength=len(truth.categories)) for it in (truth.label[~truth.crowd], true))
    own = state.results.label[0]
    rest = np.setdiff1d(there, own)
    recalls = [hits[of].sum() / max(counts[of].sum(), 1) for of in (there if own == UNKNOWN else own, rest)]
    if hits.sum() < LEAST or min(recalls) < ALIKE * max(recalls) or np.count_nonzero(hits) < 2:
        return []
    return [Mend(
        ('one-class',), 'the classes of the objects that detections lie on',
        'All detections have one category: was it lost on the way?', _classes_of_objects, 'classes', is_bound=True,
    )]  # fmt: skip


def _classes_of_objects(state: State) -> State:
    pairs, label = state.pairs, state.results.label.copy()
    order = np.argsort(pairs.overlap, kind='stable')
    label[pairs.found[order]] = state.truth.label[pairs.object[order]]
    return state.with_results(same_places=True, label=label)
