"""What is counted: a part of the pictures, crowds, objects to ignore, too few detections, duplicates."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from damamba.evaluation.diagnosis.columns import Truth
from damamba.evaluation.diagnosis.mends import Mend, State
from damamba.evaluation.diagnosis.quick_ap import MOST, box_overlaps

MANY = 1000  # detections of a picture and class that count where 100 are too few
NMS = (0.5, 0.65, 0.8)  # overlaps from which on a detection is another one's duplicate
DUPLICATE, REPEATED = 0.55, 0.35  # the overlap of duplicates, and the share of the detections that are some
CUT = 0.2  # share of the pictures with exactly as many detections as the most have, from which on they were cut
GOOD = 0.5  # share of the detections that lie on objects of their own, where a limit of their number is what lacks
MISSED = 0.25  # how many of the objects to be ignored may be found, of how many of the others are
SMALL, SOME = 0.25, 5  # share of them that may be smaller than what they are held against; how many that has to be
EQUAL = 0.02  # share of the detections that are written before, from which on it is said
EMPTY = 0.05  # share of the pictures with objects, without a detection, from which on a part may lack
FEW, OFTEN = 2, 4  # detections of a picture that has few; how many times as often none is found where a part lacks


def set_mends(state: State) -> list[Mend]:
    """Other ways to count, where what lies in the files, all of it, asks for them."""
    return [*_part(state), *_too_few(state), *_cut(state), *_ignored(state)]


def _objects_by_picture(truth: Truth) -> np.ndarray:
    return np.bincount(truth.image[~truth.crowd], minlength=len(truth.image_ids))


def _found_by_picture(state: State) -> np.ndarray:
    image = state.results.image
    return np.bincount(image[image >= 0], minlength=len(state.truth.image_ids))


def _part(state: State) -> list[Mend]:
    """Pictures with objects and without any detection, while none of the others has only a few.

    A weak detector finds nothing in some pictures, but then it finds one thing alone in others.
    """
    objects, found = _objects_by_picture(state.truth), _found_by_picture(state)
    filled, empty = found[(objects > 0) & (found > 0)], int(((objects > 0) & (found == 0)).sum())
    if len(filled) < 2 or empty < max(2, EMPTY * (objects > 0).sum()):
        return []
    missing = np.flatnonzero((objects > 0) & (found == 0))
    few = max(int((filled <= FEW).sum()), 1)
    if not _is_row(missing, np.flatnonzero(objects > 0)) and empty < OFTEN * few:
        return []
    there, count = found > 0, int((found > 0).sum())
    words = f'the {count:,} pictures alone that have results'
    cause = f'{len(found) - count:,} of {len(found):,} pictures have none: was a part tested, was writing cut off?'
    return [Mend(('part-of-pictures',), words, cause, _of_pictures(there), 'set', gain=0.005, times=1.02)]


def _of_pictures(chosen: np.ndarray) -> Callable[[State], State]:
    return lambda it: replace(it, pictures=chosen if it.pictures is None else it.pictures & chosen)


def _is_row(places: np.ndarray, among: np.ndarray) -> bool:
    """Whether places are the first, or the last, of those among which they are; or every second, third ..."""
    positions = np.searchsorted(among, places)
    ends = positions[0] == 0 or positions[-1] == len(among) - 1
    steps = np.diff(positions)
    regular = len(steps) >= 4 and steps.min() == steps.max()
    return bool((ends and (steps == 1).all() and len(positions) >= 3) or (regular and steps[0] > 1))


def _too_few(state: State) -> list[Mend]:
    """More detections than 100 of a class in one picture, where there are more objects than that."""
    results, truth = state.results, state.truth
    kinds = len(truth.categories)
    known = (results.image >= 0) & (results.label >= 0)
    found = np.bincount(results.image[known] * kinds + results.label[known], minlength=1)
    solid = ~truth.crowd
    there = np.bincount(truth.image[solid] * kinds + truth.label[solid], minlength=1)
    if there.max(initial=0) <= MOST or found.max(initial=0) <= MOST:
        return []
    words = f'{MANY:,} detections of a picture and class in place of {MOST}'
    cause = (
        f'Up to {there.max():,} objects of a class lie in a picture: set maxDets (proposal_nums) to (1, 10, {MANY}).'
    )
    return [Mend(('max-dets',), words, cause, partial(replace, most=MANY), 'set', gain=0.005, times=1.01)]


def _cut(state: State) -> list[Mend]:
    """Pictures that have exactly as many detections as the most have, and more objects than that."""
    objects, found = _objects_by_picture(state.truth), _found_by_picture(state)
    most = found.max(initial=0)
    full = (found == most) & (objects > most)
    if most < 2 or full.sum() < 2:
        return []
    if full.all():
        return [_all_cut(most)]
    if (found == most).sum() < CUT * len(found) or not _are_good(state, full):
        return []
    words = f'the {int((~full).sum()):,} pictures alone that have no more objects than that'
    cause = f'No picture has more than {most:,} detections, and {int(full.sum()):,} have more objects: keep more.'
    change = _of_pictures(~full)
    return [Mend(('max-dets',), words, cause, change, 'set', is_bound=True, gain=0.01, times=1.05)]


def _are_good(state: State, pictures: np.ndarray) -> bool:
    """Whether most detections of these pictures lie on an object of their own: more of them would have found more."""
    there = np.flatnonzero((state.results.image >= 0) & pictures[state.results.image])
    found = np.unique(state.pairs.object[np.isin(state.pairs.found, there)])
    return len(found) >= GOOD * len(there)


def _all_cut(most: int) -> Mend:
    """Objects beyond that number can not be found: they are not expected, the best of what was found is."""
    cause = f'No picture has more than {most:,} detections, and all have more objects: keep more.'

    def change(it: State) -> State:
        found = np.unique(it.pairs.object[it.results.label[it.pairs.found] == it.truth.label[it.pairs.object]])
        crowd = it.truth.crowd | ~np.isin(np.arange(len(it.truth.image)), found)
        return it.with_truth(crowd=crowd)

    words = 'those objects alone that as many detections can find'
    return Mend(('max-dets',), words, cause, change, 'set', is_bound=True, gain=0.05, times=1.1)


def _ignored(state: State) -> list[Mend]:
    """Objects that are marked to be ignored, and crowds that are not marked."""
    ways = (
        (_marked, 'objects left out that are marked "ignore"', 'COCO looks at iscrowd alone.'),
        (_in_runs, 'objects left out whose masks are runs, as those of crowds are', 'Did iscrowd get lost?'),
    )
    return [
        Mend(('ignored-objects',), words, cause, _leave_out(flags), 'set', gain=0.005, times=1.01)
        for flags, words, cause in ways
        if flags(state.truth).any() and _are_missed(state, flags(state.truth))
    ]


def _are_missed(state: State, flags: np.ndarray) -> bool:
    """Whether hardly any of these objects is found, while others are: nobody learns to find what is to be ignored.

    Others are those that are no smaller, where there are some: a detector may find small things alone.
    """
    found = np.zeros(len(flags), bool)
    found[state.pairs.object] = True
    others, sizes = ~flags & ~state.truth.crowd, state.truth.boxes[:, 2:].prod(axis=1)
    alike = others & (sizes >= np.quantile(sizes[flags], SMALL))
    others = alike if alike.sum() >= SOME else others
    return bool(others.any() and found[flags].mean() <= MISSED * found[others].mean())


def _marked(truth: Truth) -> np.ndarray:
    return truth.ignored & ~truth.crowd


def _in_runs(truth: Truth) -> np.ndarray:
    """Objects in runs that are written as numbers, where others are not: COCO writes its crowds so, nothing else."""
    runs = np.array([isinstance(it, dict) and isinstance(it.get('counts'), list) for it in truth.outlines], bool)
    return runs & ~truth.crowd & (not runs.all())


def _leave_out(flags: Callable[[Truth], np.ndarray]) -> Callable[[State], State]:
    return lambda state: state.with_truth(crowd=state.truth.crowd | flags(state.truth))


def duplicate_mends(state: State) -> list[Mend]:
    """Detections that lie on a surer one of their class, as without non-maximum suppression."""
    results = state.results
    places = results.places
    if not len(results) or not np.isfinite(places).all():
        return []
    first = _first_of_equals(state)
    if (~first).mean() >= EQUAL:
        cause = f'{int((~first).sum()):,} detections are written once more: was a list joined twice?'
        return [Mend(('duplicates',), 'equal detections once', cause, _once, 'set', gain=0.003, times=1.0)]
    repeated = ~_kept(state, DUPLICATE)
    if repeated.mean() < REPEATED:
        return []
    mends = []
    for overlap in NMS:
        words = f'non-maximum suppression at an overlap of {overlap:g}'
        cause = f'{repeated.mean():.0%} of your detections lie on a surer one of their class.'
        mends.append(Mend(('duplicates',), words, cause, _suppressed(overlap), 'set', gain=0.01, times=1.03))
    return mends


def _once(state: State) -> State:
    return replace(state, results=state.results.take(_first_of_equals(state)), known={})


def _first_of_equals(state: State) -> np.ndarray:
    """Flags [N] of detections that none before is equal to in picture, class, place and score."""
    results = state.results
    columns = [results.image[:, None], results.label[:, None], results.scores[:, None], results.places]
    _, first = np.unique(np.hstack(columns), axis=0, return_index=True)
    return np.isin(np.arange(len(results)), first)


def _suppressed(overlap: float):
    return lambda state: replace(state, results=state.results.take(_kept(state, overlap)), known={})


def _kept(state: State, overlap: float) -> np.ndarray:
    """Non-maximum suppression by boxes in each picture and class: flags [N]."""
    results, places = state.results, state.results.places
    order = np.lexsort((-np.nan_to_num(results.scores), results.label, results.image))
    kept = np.ones(len(results), bool)
    group = results.image[order] * (len(state.truth.categories) + 1) + results.label[order]
    bounds = np.flatnonzero(np.diff(group)) + 1
    for part in np.split(order, bounds) if len(order) else ():
        if len(part) > 1:
            kept[part] = _survivors(places[part], overlap)
    return kept


def _survivors(boxes: np.ndarray, overlap: float) -> np.ndarray:
    count = len(boxes)
    rows, columns = np.triu_indices(count, 1)
    matrix = np.zeros((count, count), bool)
    matrix[rows, columns] = box_overlaps(boxes[rows], boxes[columns]) >= overlap
    kept = np.ones(count, bool)
    for n in np.flatnonzero(matrix.any(axis=1)):
        if kept[n]:
            kept &= ~matrix[n]
    return kept
