"""The search: each mend alone, then a second one on top of what may be half of the way, on a sample of the pictures.

Most mends can't show alone: boxes in another form lie on nothing whatever the classes are, and classes can't be told
where nothing lies on objects. So it is looked at how well objects are found whatever their class, and the best ways to
begin go on, those in which nothing else can be right too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from damamba.evaluation.diagnosis.boxes import box_mends
from damamba.evaluation.diagnosis.classes import class_mends
from damamba.evaluation.diagnosis.masks import mask_mends
from damamba.evaluation.diagnosis.mends import Mend, State
from damamba.evaluation.diagnosis.pictures import picture_mends
from damamba.evaluation.diagnosis.scores import score_mends
from damamba.evaluation.diagnosis.sets import duplicate_mends, set_mends
from damamba.evaluation.diagnosis.verdict import BOUND

PICTURES = 200  # of the sample, at most
DETECTIONS = {'bbox': 12_000, 'segm': 2_500}
UNKNOWN = 0.5  # share of the detections without a known picture, from which on other readings go on in any case
BEGINNINGS = 8  # ways to begin that go on
ADDED = 1.1  # how many times the mAP of one fault less another fault must bring
FAMILIES: dict[str, Callable[[State], list[Mend]]] = {
    'boxes': lambda state: box_mends(state) if state.kind == 'bbox' else [],
    'masks': mask_mends,
    'classes': class_mends,
    'scores': score_mends,
    'duplicates': duplicate_mends,
}


@dataclass(frozen=True)
class Way:
    """Mends one after the other, and what results are then."""

    mends: tuple[Mend, ...]
    state: State  # of the sample
    mean_ap: float
    localised: float

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(fault for mend in self.mends for fault in mend.faults))

    @property
    def families(self) -> set[str]:
        return {mend.family for mend in self.mends}

    @property
    def worth(self) -> float:
        """Its mAP, less where that is a bound."""
        return self.mean_ap * (BOUND if any(mend.is_bound for mend in self.mends) else 1)

    def claims(self, given: float) -> bool:
        """Whether so much is gained on what is given that all its faults may be claimed."""
        return claims(self.mends, self.mean_ap, given)


def claims(mends: tuple[Mend, ...], mean_ap: float, given: float) -> bool:
    """Whether so much is gained on what is given that the faults of all mends may be claimed."""
    if not mends:
        return False
    return mean_ap >= max(given + max(mend.gain for mend in mends), given * max(mend.times for mend in mends))


def sample_of(state: State, seed: int = 0) -> np.ndarray:
    """Flags [I] of pictures, few enough that everything can be tried on them."""
    images = len(state.truth.image_ids)
    each = max(1, len(state.results) // images)
    count = min(PICTURES, max(20, DETECTIONS[state.kind] // each), images)
    chosen = np.zeros(images, bool)
    chosen[np.random.default_rng(seed).choice(images, count, replace=False)] = True
    return chosen


def find_ways(state: State, chosen: np.ndarray) -> tuple[float, list[Way]]:
    """The mAP of the pictures chosen as it is, and the ways that may be claimed on them, the best first."""
    start = _way((), state.sample(chosen))
    found = [way for opening in _openings(state, chosen, start) for way in _explore(opening)]
    return start.mean_ap, [way for way in _ranked(found) if way.claims(start.mean_ap)]


def _way(mends: tuple[Mend, ...], state: State) -> Way:
    return Way(mends, state, state.mean_ap(), state.localised())


def _openings(state: State, chosen: np.ndarray, start: Way) -> Iterator[tuple[Way, list[Mend]]]:
    """The results as they are, and those with other pictures in which objects are found, with what may be counted."""
    yield start, set_mends(state)
    others = []
    for mend in picture_mends(state):
        whole = mend.change(state)
        way = _way((mend,), whole.sample(chosen))
        others.append((_reach(way.state), way, whole))
    others.sort(key=lambda it: -it[0])
    here = _reach(start.state) if others else 0.0
    for reach, way, whole in others[:2]:
        if reach > here or (state.results.image < 0).mean() > UNKNOWN:
            yield way, set_mends(whole)


def _reach(state: State) -> float:
    """How well objects would be found by their boxes, whatever their class, in the form that does best."""
    boxed = replace(state, kind='bbox', known={})
    return max([boxed.localised(), *(mend.change(boxed).localised() for mend in box_mends(boxed, fit=False))])


def _explore(opening: tuple[Way, list[Mend]]) -> Iterator[Way]:
    """The way itself, with one more mend, and with two."""
    begin, sets = opening
    yield begin
    shapes = [*sets, *FAMILIES['boxes'](begin.state), *FAMILIES['masks'](begin.state)]  # whatever the classes are
    singles = [_way((*begin.mends, mend), mend.change(begin.state)) for mend in (*shapes, *_others(begin))]
    yield from singles
    ranked = {id(way): way for key in ('mean_ap', 'localised') for way in _best(singles, key)}
    for way in ranked.values():
        for mend in (*shapes, *_others(way)):
            if mend.family not in way.families:
                yield _way((*way.mends, mend), mend.change(way.state))


def _others(way: Way) -> list[Mend]:
    """What can be told once detections lie on objects."""
    return [mend for name in ('classes', 'scores', 'duplicates') for mend in FAMILIES[name](way.state)]


def _best(ways: list[Way], key: str) -> list[Way]:
    return sorted(ways, key=lambda way: -getattr(way, key))[: BEGINNINGS // 2]


def _ranked(ways: list[Way]) -> list[Way]:
    """The best first, one for each set of faults, without faults that add nothing to fewer ones."""
    best: dict[frozenset, Way] = {}
    for way in ways:
        key = frozenset(way.faults)
        if key not in best or way.mean_ap > best[key].mean_ap:
            best[key] = way
    kept = []
    for way in sorted(best.values(), key=lambda it: (-it.worth, len(it.faults))):
        fewer = [it.mean_ap for key, it in best.items() if key and key < frozenset(way.faults)]
        if not fewer or way.mean_ap >= max(fewer) + max(0.005, (ADDED - 1) * max(fewer)):
            kept.append(way)
    return kept
