"""Boxes in another form, in the pixels of another picture, or off by a crop.

Shares of the picture are YOLO's and DETR's, thousandths those of models that write numbers as text.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from damamba.evaluation.diagnosis.box_forms import (
    AS_IT_IS,
    EXCHANGED,
    FORMS,
    STRIDE,
    TURNS,
    Boxes,
    Form,
    factor,
    letterbox,
    long_side,
    offset,
    short_side,
    stretched,
    strided,
    two_sides,
)
from damamba.evaluation.diagnosis.mends import Mend, State, plain
from damamba.evaluation.diagnosis.quick_ap import box_overlaps, same_picture

PICTURES, MOST = 40, 20  # on which a form is judged: pictures, and detections of each
SIDES = (16.0, 8192.0)  # pixels that pictures may have been resized to, the least and the largest
FACTORS = (0.02, 50.0)
STEPS = (1.08, 1.02, 1.003)  # by which such sides are tried, each around the best of those before
TWO_SIDES = ((1333, 800), (1333, 640), (1333, 600), (1024, 600), (1000, 600))  # long and short, neither to be exceeded
BETTER = 1.12  # how much better objects must be covered for one more fault
ROUND_SIDES, ROUND_FACTORS = (32.0, 100.0), (0.5, 0.1)
NEAR, HARDLY = 0.015, 0.995  # how far a round number may be from the best one, and how much of it must be covered
FITTED_FAULTS = {'boxes-resized', 'boxes-padded', 'boxes-offset', 'boxes-turned'}
GAIN, FITTED = 0.02, 0.05  # of mAP, of forms that are known, and of those that fit best among many
APART = 0.5  # overlap with the box around its mask, below which a box is another one
STRIDED = f'boxes scaled from pictures with a longer side of {{}} pixels, padded on all sides to multiples of {STRIDE}'
ALWAYS = 0.03  # spread of boxes, below which they are always the same
COVERED = 0.8  # of the objects, from which on nothing has to be looked for
BEST = 6  # how many go on to be measured
ALIKE = np.log(1.25)  # ratio of sides from which on a box may be another one, moved
BIN = 4.0  # pixels
VALID = 0.95  # share of the boxes that a form must give a width and a height
UNITS = {1.0: 'shares', 1000.0: 'thousandths', 1024.0: '1024ths'}
INSIDE = {1.0: 1.5, 1000.0: 1.05, 1024.0: 1.05}  # the most that nearly all numbers can be: boxes may leave the picture
CAUSE = 'COCO wants x, y, width, height in pixels of the picture as it is in the file.'
TURNED = 'The model saw the picture mirrored or turned (an augmentation, an orientation in EXIF)?'


def box_mends(state: State, fit: bool = True) -> list[Mend]:
    """Forms in which the boxes cover the objects better than as they are, the best first.

    With ``fit`` sizes and distances that nobody knows beforehand are looked for as well.
    """
    if state.results.boxes is None or not len(state.results):
        return []
    bench = Bench.of(state)
    found: list[tuple[float, Form]] = []
    base = bench.cover(AS_IT_IS)
    for form in _forms(bench, fit and base < COVERED and bench.spread > ALWAYS):
        covered = bench.cover(form) / BETTER ** len(form.faults)
        if covered > base:
            found.append((covered, form))
    found.sort(key=lambda it: -it[0])
    return [*(_mend(form) for _, form in found[:BEST]), *_around_masks(state)]


def _around_masks(state: State) -> list[Mend]:
    """The boxes around the masks, where most boxes lie elsewhere, whatever was done to them."""
    results = state.results
    if results.masks is None:
        return []
    around = replace(results, boxes=None).places
    known = np.isfinite(around).all(axis=1) & (around[:, 2:] > 0).all(axis=1)
    if not known.any() or np.median(box_overlaps(results.boxes[known], around[known])) >= APART:
        return []
    words, cause = 'the boxes around the masks', 'Your boxes do not lie around your masks.'
    return [Mend(('boxes-beside-masks',), words, cause, _from_masks, 'boxes', is_bound=True, times=1.35)]


def _from_masks(state: State) -> State:
    return state.with_results(boxes=replace(state.results, boxes=None).places)


def _forms(bench: 'Bench', fit: bool) -> Iterator[Form]:
    for form in filter(bench.is_valid, FORMS):
        yield form
        shares = [*_shares(form, bench)]
        yield from shares
        if EXCHANGED[0] not in form.faults:
            yield from (it for whole in (form, *shares) for it in turned(whole))
        if fit and EXCHANGED[0] not in form.faults:
            yield from _scaled(form, bench)
            yield from _moved(form, bench)


def turned(form: Form) -> Iterator[Form]:
    """The form, in pictures that were mirrored or turned."""
    for what, step in TURNS.items():
        yield form.then('boxes-turned', f'boxes turned back from pictures {what}', step)


def _mend(form: Form) -> Mend:
    def change(state: State) -> State:
        sizes = state.truth.sizes[state.results.image]
        return state.with_results(boxes=form.read(state.results.boxes, sizes.astype(float)))

    cause = TURNED if 'boxes-turned' in form.faults else CAUSE
    gain = FITTED if FITTED_FAULTS & {*form.faults} else GAIN
    return Mend(form.faults, ' and '.join(form.words), cause, change, 'boxes', gain=gain, times=1.35)


@dataclass(frozen=True)
class Bench:
    """Detections and objects of a few pictures: N detections, P pairs of one picture."""

    boxes: np.ndarray  # [N, 4], as they are written
    sizes: np.ndarray  # [N, 2], height and width
    found: np.ndarray  # [P]
    objects: np.ndarray  # [P, 4]
    group: np.ndarray  # [P], the number of the object
    count: int  # of objects

    @classmethod
    def of(cls, state: State) -> 'Bench':
        results, truth = state.results, state.truth
        shown = np.unique(truth.image[~truth.crowd])[:PICTURES]
        order = np.lexsort((-np.nan_to_num(results.scores), results.image))
        order = order[np.isin(results.image[order], shown) & np.isfinite(results.boxes[order]).all(axis=1)]
        starts = np.searchsorted(results.image[order], results.image[order])
        order = order[np.arange(len(order)) - starts < MOST]
        objects = np.flatnonzero(np.isin(truth.image, shown) & ~truth.crowd)
        found, beside = same_picture(results.image[order], truth.image[objects])
        boxes, sizes = results.boxes[order], truth.sizes[results.image[order]].astype(float)
        return cls(boxes, sizes, found, truth.boxes[objects[beside]], beside, len(objects))

    def cover(self, form: Form) -> float:
        """How much of the objects is covered: the mean over them of the largest overlap with a detection."""
        boxes = form.read(self.boxes, self.sizes)
        best = np.zeros(self.count)
        np.maximum.at(best, self.group, box_overlaps(boxes[self.found], self.objects))
        return float(best.mean()) if self.count else 0.0

    def is_valid(self, form: Form) -> bool:
        read = form.read(self.boxes, self.sizes)
        return len(read) > 0 and float((read[:, 2:] > 0).all(axis=1).mean()) >= VALID

    @property
    def spread(self) -> float:
        """How much boxes differ, in shares of the largest number: always the same one fits anything once scaled."""
        return float(self.boxes.std(axis=0).max()) / max(self.largest, 1e-9) if len(self.boxes) else 0.0

    @property
    def largest(self) -> float:
        """All but a few numbers are below."""
        return float(np.quantile(np.abs(self.boxes), 0.99)) if len(self.boxes) else 0.0


def _shares(form: Form, bench: Bench) -> Iterator[Form]:
    """The form, in shares or thousandths of the picture."""
    for unit, what in UNITS.items():
        if bench.largest <= INSIDE[unit] * unit:
            words = f'boxes multiplied by width and height ({what} of the picture)'
            yield form.then('boxes-normalised', words, stretched(unit))
            words = f'boxes multiplied by the longer side ({what} of a padded picture)'
            yield form.then('boxes-padded', words, long_side(unit))
            yield form.then('boxes-padded', f'{words}, padded on all sides', letterbox(unit))


def _scaled(form: Form, bench: Bench) -> Iterator[Form]:
    """The form, in the pixels of a picture that was resized, with the sides that fit best."""
    if not (bench.sizes > 0).all() or bench.largest <= INSIDE[1.0]:
        return
    for fault, words, family, ends in (
        ('boxes-resized', 'boxes scaled from pictures of {} x {} pixels', stretched, SIDES),
        ('boxes-resized', 'boxes scaled from pictures with a longer side of {} pixels', long_side, SIDES),
        ('boxes-resized', 'boxes scaled from pictures with a shorter side of {} pixels', short_side, SIDES),
        ('boxes-padded', 'boxes scaled from pictures padded on all sides to {} x {} pixels', letterbox, SIDES),
        ('boxes-padded', STRIDED, strided, SIDES),
        ('boxes-resized', 'boxes multiplied by {}', factor, FACTORS),
    ):
        side = _best_side(form, bench, family, ends)
        yield form.then(fault, words.format(plain(side), plain(side)), family(side))
    for long, short in TWO_SIDES:
        words = f'boxes scaled from pictures of at most {long} x {short} pixels'
        yield form.then('boxes-resized', words, two_sides(long, short))


def _best_side(form: Form, bench: Bench, family: Callable[[float], Boxes], ends: tuple[float, float]) -> float:
    """The side in whole pixels, or the factor, with which objects are covered most."""
    low, high = ends
    for step in STEPS:
        sides = np.geomspace(low, high, 2 + int(np.log(high / low) / np.log(step)))
        sides = np.unique(np.round(sides)) if ends == SIDES else sides
        best = max(sides.tolist(), key=lambda side: bench.cover(form.then('', '', family(side))))
        low, high = best / step, best * step
    return _round_one(best, lambda side: bench.cover(form.then('', '', family(side))), ends == SIDES)


def _round_one(best: float, cover: Callable[[float], float], is_side: bool) -> float:
    """A round number beside the best one, where it is hardly worse: sides of networks and their factors mostly are."""
    steps = ROUND_SIDES if is_side else ROUND_FACTORS
    round_ones = {round(best / step) * step for step in steps}
    near = [it for it in round_ones if it > 0 and abs(it / best - 1) <= NEAR]
    better = [it for it in near if cover(it) >= HARDLY * cover(best)]
    return max(better, key=cover, default=best)


def _moved(form: Form, bench: Bench) -> Iterator[Form]:
    """The form, moved by the distance that most boxes are from an object of their size, or that of cropped centres."""
    boxes = form.read(bench.boxes, bench.sizes)
    found, objects = boxes[bench.found], bench.objects
    with np.errstate(invalid='ignore', divide='ignore'):
        alike = (np.abs(np.log(found[:, 2:] / objects[:, 2:])) < ALIKE).all(axis=1)
    if not alike.any():
        return
    middle = bench.sizes[bench.found][:, ::-1] / 2
    for what, shift in (('', 0), (" from the picture's centre", middle)):
        steps = ((objects - found)[:, :2] - shift)[alike]
        x, y = _mode(steps)
        if what or max(abs(x), abs(y)) >= 1:
            yield form.then('boxes-offset', f'boxes moved by {x:+.0f}, {y:+.0f} pixels{what}', offset(x, y, bool(what)))


def _mode(steps: np.ndarray) -> tuple[float, float]:
    """Around which distance [P, 2] most lie close together."""
    cells, counts = np.unique(np.round(steps / BIN).astype(int), axis=0, return_counts=True)
    middle = cells[counts.argmax()] * BIN
    for _ in range(3):
        near = np.abs(steps - middle).max(axis=1) <= BIN
        middle = np.median(steps[near], axis=0) if near.any() else middle
    return tuple(middle.tolist())
