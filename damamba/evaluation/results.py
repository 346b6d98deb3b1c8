"""What COCO evaluation measures: one object that is a table, a dictionary, and the flat names of a training log."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import numpy as np

from damamba.tables import UNDEFINED, Table, number

NAMES = {'bbox': 'box', 'segm': 'mask'}
AREAS = {'all': '', 'small': '_s', 'medium': '_m', 'large': '_l'}  # COCO's words, and their ends in names
__all__ = ['AREAS', 'NAMES', 'UNDEFINED', 'Evaluation', 'EvaluationError', 'Scores']


class EvaluationError(ValueError):
    """What can't be evaluated as it was asked for; the text says why."""


@dataclass(frozen=True)
class Scores:
    """COCO's numbers for boxes or for masks, unrounded; -1 where there is no ground truth to find.

    ``values`` goes by MMDetection's names: ``mAP``, ``mAP_50``, ``mAP_75``, ``mAP_s``, ``mAP_m``, ``mAP_l``, and
    ``AR@k``, where k is the number of detections that counted, ``AR_s@k``, ``AR_m@k``, ``AR_l@k``. ``classes`` has
    the same for each class by its name, in the order of the classes that were asked for. ``intervals`` and
    ``class_intervals`` have the two ends of the 95 % intervals of those that begin with ``mAP``, where there are some:
    see :mod:`damamba.evaluation.intervals`.
    """

    values: dict[str, float]
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    intervals: dict[str, list[float]] = field(default_factory=dict)
    class_intervals: dict[str, dict[str, list[float]]] = field(default_factory=dict)


class Details(Protocol):
    """What is measured beyond COCO's numbers, a dataclass: :class:`damamba.evaluation.analysis.details.Details`."""

    def table(self) -> str: ...

    def to_dict(self) -> dict: ...


@dataclass(frozen=True)
class Fault:
    """A fault by its name, and what shows it."""

    name: str
    evidence: str

    def __str__(self) -> str:
        return f'{self.name}: {self.evidence}'


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a data set: how much there was to find, and :class:`Scores` by kind, ``bbox`` or ``segm``.

    ``details`` are what is measured beyond COCO's numbers, where it was asked for. ``faults`` are what makes the
    figures look wrong, found by :func:`~damamba.evaluation.known_faults.name_faults`. ``draws`` are what the intervals
    of mAP come from, by kind: a row for each draw of pictures, with the mean over the classes and each class.
    """

    images: int
    objects: int
    max_dets: tuple[int, ...]
    iou_thrs: tuple[float, ...]
    scores: dict[str, Scores]
    details: Details | None = None
    faults: list[Fault] = field(default_factory=list)
    draws: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def to_dict(self) -> dict:
        """Plain values for a JSON file, without the draws; without details there is no such key."""
        content = asdict(replace(self, draws={}, details=None))
        del content['draws'], content['details']
        return content if self.details is None else {**content, 'details': self.details.to_dict()}

    def flat(self, classwise: bool = False, items: Sequence[str] | None = None) -> dict[str, float]:
        """``{'bbox_mAP': 0.485, ...}``, all or ``items`` alone; with ``classwise`` also ``'bbox_<class>_precision'``.

        Raises:
            EvaluationError: there is no such item; the text lists those that are there.
        """
        named = {}
        for kind, scores in self.scores.items():
            unknown = sorted(set(items or ()) - set(scores.values))
            if unknown:
                raise EvaluationError(
                    f'metric_items does not know {", ".join(unknown)}; it takes {", ".join(scores.values)}'
                )
            named |= {f'{kind}_{name}': scores.values[name] for name in items or scores.values}
            if classwise:
                named |= {f'{kind}_{name}_precision': values['mAP'] for name, values in scores.classes.items()}
        return named

    def table(self) -> str:
        """COCO's numbers, a line each, boxes beside masks."""
        title = f'COCO, {self.images:,} images, {self.objects:,} objects'
        headings = ['metric', 'IoU', 'area', 'detections', *(NAMES[kind] for kind in self.scores)]
        rows = [[*row, *(scores.values.get(row[0]) for scores in self.scores.values())] for row in self._rows()]
        ends = [place for place, row in enumerate(rows) if row[0] == 'mAP_l']
        return Table.of(title, headings, rows, left=range(4), sections=ends).text()

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        """The name of each number, and the overlap, the objects and the number of detections that it is of."""
        most = str(self.max_dets[-1])
        names = next(iter(self.scores.values())).values
        every = _range(self.iou_thrs)
        overlaps = {'_50': '0.50', '_75': '0.75'}
        areas = {end: area for area, end in AREAS.items()}
        for name in names:
            if name.startswith('mAP'):
                end = name.removeprefix('mAP')
                yield name, overlaps.get(end, every), areas.get(end, 'all'), most
            else:
                end, count = name.removeprefix('AR').split('@')
                yield name, every, areas[end], count

    def class_table(self) -> str:
        """All numbers by class, boxes above masks."""
        return '\n\n'.join(_class_table(NAMES[kind], scores) for kind, scores in self.scores.items())

    def interval_line(self) -> str:
        """The 95 % interval of each mAP; empty where there is none."""
        ends = {NAMES[kind]: scores.intervals.get('mAP') for kind, scores in self.scores.items()}
        shown = ', '.join(f'{kind} {number(it[0])} to {number(it[1])}' for kind, it in ends.items() if it)
        return f'95 % interval of mAP: {shown}' if shown else ''

    def interval_table(self) -> str:
        """Each mAP with its 95 % interval, of the classes and of their mean, boxes above masks; empty without any."""
        tables = [_interval_table(NAMES[kind], scores) for kind, scores in self.scores.items() if scores.intervals]
        return '\n\n'.join(tables)


def _interval_table(kind: str, scores: Scores) -> str:
    names = [name for name in scores.values if name.startswith('mAP')]
    rows = {name: (values, scores.class_intervals.get(name, {})) for name, values in scores.classes.items()}
    if len(rows) != 1:
        rows['mean'] = (scores.values, scores.intervals)
    cells = (
        [row, *(_with_ends(values[name], ends.get(name)) for name in names)] for row, (values, ends) in rows.items()
    )
    return Table.of(f'{kind.capitalize()} mAP and its 95 % interval', ['class', *names], cells).text()


def _with_ends(value: float, ends: Sequence[float] | None) -> str:
    return f'{number(value)} [{number(ends[0])}, {number(ends[1])}]' if ends else number(value)


def _class_table(kind: str, scores: Scores) -> str:
    title = f'{kind.capitalize()} AP and AR by class'
    return Table.of_numbers(title, 'class', scores.classes, scores.values).text()


def _range(overlaps: tuple[float, ...]) -> str:
    """First and last, as COCO writes its ten; a few are listed."""
    ends = (overlaps[0], overlaps[-1]) if len(overlaps) > 3 else overlaps
    return (':' if len(overlaps) > 3 else ', ').join(f'{overlap:.2f}' for overlap in ends)
