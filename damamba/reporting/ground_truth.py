"""Tests that may stand in one table: those on the same ground truth, scored in the same way."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from damamba.reporting.ranking import Ranking
from damamba.reporting.runs import ReportError, Result, Run
from damamba.reporting.words import place_of
from damamba.run_record import classes_of, details_of

EASY = {'object', 'tote'}  # of these two the tote is easy, and lifts the mean
MANY = 20  # classes that a message lists
OVERLAPS = ('0.50', '0.75')  # of curves
ENDS = ('low', 'high')  # of an interval, behind the name of its figure


@dataclass(frozen=True)
class Section:
    """Results on one ground truth; what is had of them goes by run."""

    label: str  # the data set, with what tells it apart where two have one name
    slug: str  # the same for file names
    results: list[Result]  # of runs in the order of the report; those with figures that count alone
    focus: str | None = None  # the class that comes first; None for the mean over classes

    @property
    def evaluation(self) -> dict:
        """That of the first result; pictures, objects, classes and limits are those of all."""
        return self.results[0].evaluation

    @property
    def kinds(self) -> list[str]:
        """Masks first."""
        return [kind for kind in ('segm', 'bbox') if self.of(kind)]

    @property
    def classes(self) -> list[str]:
        return classes_of(self.evaluation)

    @property
    def speeds(self) -> dict[str, dict]:
        return {it.run.name: it.get('speed') for it in self.results if it.get('speed')}

    @property
    def unlike_places(self) -> list[str]:
        """On what times were measured, where that is not the same for all."""
        places = {run: place_of(speed) for run, speed in self.speeds.items()}
        return [f'{run}: {place}' for run, place in places.items()] if len(set(places.values())) > 1 else []

    def of(self, kind: str, part: str = '') -> dict[str, dict]:
        """The scores of a kind, or a part of its details such as sizes or picks, of runs that have them."""
        having = {it.run.name: it.evaluation for it in self.results if kind in it.evaluation['scores']}
        if not part:
            return {run: it['scores'][kind] for run, it in having.items()}
        parts = {run: details_of(it).get(kind, {}).get(part) for run, it in having.items()}
        return {run: it for run, it in parts.items() if it}

    def figures(self, kind: str, part: str = '') -> dict[str, Mapping[str, float]]:
        """The same of the class in focus, or of the mean; of speed, draws, examples and picks what there is.

        Scores have the ends of their intervals beside them, as ``mAP low`` and ``mAP high``, and the sizes, as
        ``relative`` ones.
        """
        if part == 'speed':
            return self.speeds
        if part == 'draws':
            return {it.run.name: it.draws for it in self.results if kind in it.draws} if len(self.results) > 1 else {}
        if part == 'examples':
            return {it.run.name: it.examples for it in self.results if it.examples and it.examples['images']}
        get, focus = {'': scored, 'curves': mean_curves}.get(part, focused), None if part == 'picks' else self.focus
        figures = {run: get(it, focus) for run, it in self.of(kind, part).items()}
        for run, shares in () if part else self.figures(kind, 'sizes').items():
            figures[run] = {**figures[run], **{f'relative {key}': value for key, value in shares.items()}}
        return figures

    def ranking(self, kind: str, focus: str | None) -> Ranking:
        """The mAP of a class, or of the mean over classes, of all runs."""
        figures = {run: scored(it, focus) for run, it in self.of(kind).items()}
        draws = {it.run.name: it.draws[kind] for it in self.results if kind in it.draws}
        places = {it.run.name: classes_of(it.evaluation).index(focus) + 1 if focus else 0 for it in self.results}
        return Ranking(
            {run: it['mAP'] for run, it in figures.items()},
            {run: [it[f'mAP {end}'] for end in ENDS] for run, it in figures.items() if 'mAP low' in it},
            {run: it[:, places[run]] for run, it in draws.items()},
            self.evaluation['images'],
        )

    def of_what(self) -> str:
        """What figures are of, for headings."""
        return self.focus or (self.classes[0] if len(self.classes) == 1 else 'mean of all classes')


def focused(of: Mapping, focus: str | None) -> Mapping[str, float]:
    """The figures of a class, or those of all, of ``{'values': ..., 'classes': ...}``."""
    return of['values'] if focus is None else of['classes'][focus]


def scored(of: Mapping, focus: str | None) -> dict[str, float]:
    """Scores of a class, or the mean, with the ends of the intervals of those that have one."""
    intervals = (of.get('intervals') if focus is None else (of.get('class_intervals') or {}).get(focus)) or {}
    ends = {f'{key} {end}': value for key, it in intervals.items() for end, value in zip(ENDS, it, strict=True)}
    return {**focused(of, focus), **ends}


def mean_curves(of: Mapping[str, Mapping], focus: str | None = None) -> dict[str, np.ndarray]:
    """Precision at the recalls from 0 to 1, by overlap: of a class, or the mean over all that have it; else empty."""
    curves = [it for name, it in of.items() if it and focus in (None, name)]
    return {overlap: np.mean([it[overlap] for it in curves] or np.zeros((1, 0)), axis=0) for overlap in OVERLAPS}


def sections_of(runs: Sequence[Run], wanted: str | None = None) -> list[Section]:
    """Sort the results that count by what they were tested on; the data set that most runs call their own comes first.

    ``wanted`` is the class to put first; ``mean`` for none; None: Object, beside Tote alone. ReportError if no data set
    has such a class.
    """
    results = [it for run in runs for it in run.results if it.evaluation and not it.reasons]
    groups = sorted(_on_one_ground_truth(results), key=lambda group: -sum(not result.subset for result in group))
    known = list(dict.fromkeys(name for group in groups for name in classes_of(group[0].evaluation)))
    if wanted and wanted != 'mean' and known and wanted.lower() not in map(str.lower, known):
        there = ', '.join(known[:MANY]) + (f' and {len(known) - MANY} more' if len(known) > MANY else '')
        raise ReportError(f'--focus: no data set has the class {wanted}; there are {there}, and mean')
    labels = _labels(groups)
    slugs = [re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')[:60] or 'data' for label in labels]
    slugs = [f'{slug}-{place}' if slugs.count(slug) > 1 else slug for place, slug in enumerate(slugs, 1)]
    parts = zip(labels, slugs, groups, strict=True)
    return [Section(label, slug, group, _focus(group[0], wanted)) for label, slug, group in parts]


def _on_one_ground_truth(results: Sequence[Result]) -> list[list[Result]]:
    """Files of one digest are one data set, whatever their names; one without has the only digest of its name.

    Where a run was tested on files of several names, those of each name are a data set.
    """

    def digest(it: Result) -> str:
        named = {other.of_data('sha256') for other in results if _named_facts(other) == _named_facts(it)} - {None}
        return it.of_data('sha256') or (named.pop() if len(named) == 1 else f'none, {it.data}')

    parts = []
    for group in _grouped(results, lambda it: (digest(it), *_named_facts(it)[1:])):
        is_once_each = len({it.run for it in group}) == len(group)
        parts += [group] if is_once_each else _grouped(group, lambda it: it.data)
    return parts


def _grouped(results: Iterable[Result], key: Callable[[Result], object]) -> list[list[Result]]:
    groups: dict[object, list[Result]] = {}
    for it in results:
        groups.setdefault(key(it), []).append(it)
    return list(groups.values())


def _named_facts(result: Result) -> tuple:
    """What must be the same beside the annotations: how much was to be found, and how it was scored."""
    it = result.evaluation
    classes = tuple(sorted(classes_of(it)))
    return result.data, it['images'], it['objects'], classes, tuple(it['iou_thrs']), tuple(it['max_dets'])


def _labels(groups: Sequence[Sequence[Result]]) -> list[str]:
    """Names; of equal ones with what was to be found, and if need be with the start of the digest, or a number."""
    labels = [group[0].data for group in groups]
    for end in ('{it[images]:,} pictures, {it[objects]:,} objects', 'SHA-256 {digest:.8}', 'no. {place}'):
        counts = Counter(labels)
        for place, group in enumerate(groups):
            digest = next(filter(None, (it.of_data('sha256') for it in group)), 'unknown')
            if counts[labels[place]] > 1:
                labels[place] += ', ' + end.format(it=group[0].evaluation, digest=digest, place=place + 1)
    return labels


def _focus(result: Result, wanted: str | None) -> str | None:
    """A class of several; on one class the mean is that class."""
    classes = classes_of(result.evaluation)
    if wanted is None and {name.lower() for name in classes} == EASY:
        wanted = 'object'
    if len(classes) == 1 or wanted in (None, 'mean'):
        return None
    return next((name for name in classes if name.lower() == wanted.lower()), None)
