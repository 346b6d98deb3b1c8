"""How sure an mAP is: 95 % intervals by the bootstrap over pictures.

A draw takes as many pictures as there are, with replacement. The detections of a picture count as often as it was
drawn, in the order of their scores, and COCO's average precision is taken of them; nothing is matched again. Source of
the intervals: Hesterberg 2015, "What Teachers Should Know About the Bootstrap", https://arxiv.org/abs/1411.5279.

I pictures, B draws, K classes; D detections of a class, P of them have found an object; T overlaps, A areas.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

SEED, DRAWS = 0, 1000
LEVEL = 0.95
RECALLS = np.linspace(0, 1, 101)
CELLS = 2**19  # draws times detections that are worked on at a time
CHOICES = 2**20  # draws times pictures that are drawn at a time; other ones would be drawn with another number


@dataclass(frozen=True)
class Matches:
    """The detections of one class, those that count of each picture, and how many objects there are to find."""

    image: np.ndarray  # [D], the place of its picture
    found: np.ndarray  # [A, T, D], whether it has found an object
    ignored: np.ndarray  # [A, T, D], whether it counts neither as right nor as wrong
    objects: np.ndarray  # [A, I], without those that are not to be found


@dataclass(frozen=True)
class Bootstrap:
    """The draws of each figure, of the mean over classes and of each class; NaN where a draw has no object."""

    draws: dict[str, np.ndarray]  # [B, 1 + K]
    pictures: dict[str, np.ndarray]  # [1 + K], how many have an object to find

    def intervals(self, column: int) -> dict[str, list[float]]:
        """Those of all figures that have one."""
        found = {name: interval(it[:, column], self.pictures[name][column]) for name, it in self.draws.items()}
        return {name: [float(end) for end in ends] for name, ends in found.items() if ends}


def interval(draws: np.ndarray, pictures: int) -> tuple[float, float] | None:
    """The ends of a figure's 95 % interval: the expanded percentile interval; None where there is nothing to draw from.

    The bootstrap of a few pictures is too narrow, by Student's distribution in place of the normal one and by the root
    of n / (n - 1). So the percentiles are taken that much further out.
    """
    draws = draws[~np.isnan(draws)]
    if pictures < 2 or not len(draws):
        return None
    reach = student_quantile((1 + LEVEL) / 2, pictures - 1) * (pictures / (pictures - 1)) ** 0.5
    tail = NormalDist().cdf(-reach)
    return tuple(np.quantile(draws, [tail, 1 - tail], method='weibull').tolist())


@lru_cache
def student_quantile(share: float, freedom: int) -> float:
    """Of Student's t, for a share of at least 0.5.

    With t = sqrt(freedom) tan(angle) its density is that of cos(angle)^(freedom - 1): of a large freedom it ends early.
    """
    angles = np.linspace(0, min(np.pi / 2, 8 / freedom**0.5), 2001)
    density = np.cos(angles) ** (freedom - 1)
    area = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(freedom**0.5 * np.tan(np.interp(2 * share - 1, area / area[-1], angles)))


def resample(matches: Iterable[Matches], figures: Mapping[str, tuple], counts: np.ndarray) -> Bootstrap:
    """Take each figure in each draw; ``figures`` have, by name, the place of their area and those of their overlaps."""
    values, seen = {name: [] for name in figures}, {name: [] for name in figures}
    for it in matches:
        precision = average_precision(it, counts)
        for name, (area, overlaps) in figures.items():
            values[name].append(precision[area, overlaps].mean(axis=0))
            seen[name].append(it.objects[area] > 0)
    draws = {name: np.stack([_mean(it), *it], axis=1) for name, it in values.items()}
    pictures = {name: np.array([np.any(it, axis=0).sum(), *map(np.sum, it)]) for name, it in seen.items()}
    return Bootstrap(draws, pictures)


def _mean(classes: list[np.ndarray]) -> np.ndarray:
    """Over the classes that have objects in a draw."""
    defined = ~np.isnan(classes)
    total, count = np.where(defined, classes, 0).sum(axis=0), defined.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def draw_pictures(pictures: int, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """How often each picture is in each draw: [B, I]."""
    rng, rows = np.random.default_rng(seed), max(1, CHOICES // max(1, pictures))
    counts = np.empty((draws, pictures), dtype=np.uint8)  # of more than 255 pictures none is drawn so often
    for part in np.split(counts, range(rows, draws, rows)) if pictures else ():
        chosen = rng.integers(pictures, size=part.shape) + pictures * np.arange(len(part))[:, None]
        part[:] = np.bincount(chosen.ravel(), minlength=part.size).reshape(part.shape)
    return counts


def average_precision(matches: Matches, counts: np.ndarray) -> np.ndarray:
    """COCO's AP, the mean of the precision at 101 recalls, with each picture counted so often: [A, T, B].

    NaN where there is no object. Of equal scores in one picture, all copies of the first count before the second's.
    """
    areas, overlaps, detections = matches.found.shape
    precision = np.empty((areas, overlaps, len(counts)))
    objects = np.stack([_objects(it, counts) for it in matches.objects])
    orders = [_Order.of(*it) for it in zip(matches.found, matches.ignored, strict=True)]
    step = max(1, CELLS // max(1, detections))
    for start in range(0, len(counts), step):
        part = slice(start, start + step)
        weights = counts[part].take(matches.image, axis=1)  # [B, D]
        for area, order in enumerate(orders):
            precision[area, :, part] = _of_area(order, weights, objects[area, part])
    return precision


@dataclass(frozen=True)
class _Order:
    """Where in the order of the scores detections of one area count; that hardly differs from overlap to overlap."""

    counted: np.ndarray  # [D], as it is at the last overlap
    right: list[np.ndarray]  # the places of those that have found an object, by overlap
    others: list[np.ndarray]  # those that count at this overlap and not at the last, or the other way round

    @classmethod
    def of(cls, found: np.ndarray, ignored: np.ndarray) -> '_Order':
        odd = ignored != ignored[-1]
        return cls(~ignored[-1], [np.flatnonzero(it) for it in found & ~ignored], [np.flatnonzero(it) for it in odd])

    def is_repeated(self, overlap: int) -> bool:
        """Whether it is as at the overlap before; often so in small sets."""
        return overlap > 0 and all(np.array_equal(it[overlap], it[overlap - 1]) for it in (self.right, self.others))


def _objects(objects: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How many there are in each draw: [B]."""
    places = np.flatnonzero(objects)
    return counts.take(places, axis=1) @ objects[places]


def _of_area(order: _Order, weights: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """AP at each overlap: [T, B]."""
    values = np.where(objects > 0, np.zeros((len(order.right), 1)), np.nan)
    reached, counted = _reached(objects), np.cumsum(weights * order.counted, axis=1, dtype=np.int32)
    for overlap, (value, places, others) in enumerate(zip(values, order.right, order.others, strict=True)):
        if not len(places):
            continue
        if order.is_repeated(overlap):
            value[:] = values[overlap - 1]
            continue
        total = counted.take(places, axis=1)  # [B, P]
        if len(others):
            sums = np.zeros((len(weights), len(others) + 1), dtype=np.int32)
            signed = weights.take(others, axis=1) * np.where(order.counted[others], -1, 1)
            np.cumsum(signed, axis=1, out=sums[:, 1:])
            total += sums.take(np.searchsorted(others, places, side='right'), axis=1)
        right = np.cumsum(weights.take(places, axis=1), axis=1, dtype=np.int32)
        best = np.maximum.accumulate((right / np.maximum(total, 1))[:, ::-1], axis=1)[:, ::-1]
        recalls = np.diff(np.take_along_axis(reached, right, axis=1), axis=1, prepend=np.int8(0))
        value += np.einsum('bp,bp->b', best, recalls) / len(RECALLS)
    return values


def _reached(objects: np.ndarray) -> np.ndarray:
    """How many of the 101 recalls are reached once so many objects are found: [B, objects + 1]."""
    recall = np.arange(objects.max(initial=0) + 1) / np.maximum(objects, 1)[:, None]
    return np.searchsorted(RECALLS, recall, side='right').astype(np.int8)
