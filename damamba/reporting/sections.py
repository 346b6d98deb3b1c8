"""Tests that may stand in one table: those on the same ground truth, scored in the same way."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from damamba.reporting.runs import ReportError, Result, Run

EASY = {'object', 'tote'}  # of these two the tote is easy, and lifts the mean


@dataclass(frozen=True)
class Section:
    """Results on one ground truth.

    Attributes:
        label: the data set, with what tells it apart where two have one name.
        slug: the same for file names.
        results: of runs in the order of the report; those with figures that count alone.
        focus: the class that comes first; None for the mean over classes.
    """

    label: str
    slug: str
    results: list[Result]
    focus: str | None = None

    def __post_init__(self) -> None:
        runs = Counter(result.run for result in self.results)
        twice = [run for run, times in runs.items() if times > 1]
        if twice:
            raise ValueError(f'{", ".join(twice)} would have several rows in the table of {self.label}')

    @property
    def kinds(self) -> list[str]:
        """Masks first."""
        measured = {kind for result in self.results for kind in result.evaluation['scores']}
        return [kind for kind in ('segm', 'bbox') if kind in measured]

    @property
    def classes(self) -> list[str]:
        return classes_of(self.results[0])

    @property
    def most(self) -> int:
        """Detections of a picture that count."""
        return self.results[0].evaluation['max_dets'][-1]

    @property
    def drawn(self) -> bool:
        return any(result.dataset.drawn for result in self.results)

    def of(self, kind: str) -> dict[str, dict]:
        """The evaluations that have this kind, by run."""
        return {r.run: r.evaluation for r in self.results if kind in r.evaluation['scores']}

    def detailed(self, kind: str, part: str) -> dict[str, dict]:
        """The evaluations whose details have this part of a kind: sizes, curves, errors or segmentation."""
        having = {result.run for result in self.results if (result.details.get(kind) or {}).get(part)}
        return {run: evaluation for run, evaluation in self.of(kind).items() if run in having}

    @property
    def speeds(self) -> dict[str, dict]:
        return {result.run: result.speed for result in self.results if result.speed}

    def of_what(self) -> str:
        """What figures are of, for headings."""
        return self.focus or (self.classes[0] if len(self.classes) == 1 else 'mean of all classes')


def classes_of(result: Result) -> list[str]:
    return list(next(iter(result.evaluation['scores'].values()))['classes'])


def focused(of: Mapping, focus: str | None) -> Mapping[str, float]:
    """The figures of a class, or their mean over classes, of ``{'values': ..., 'classes': ...}``."""
    return of['values'] if focus is None else of['classes'][focus]


def sections_of(runs: Sequence[Run], wanted: str | None = None) -> list[Section]:
    """Sort the results that count by what they were tested on; the data set that most runs call their own comes first.

    Args:
        runs: all of them.
        wanted: the class to put first; ``mean`` for none; None: Object, beside Tote alone.

    Raises:
        ReportError: no data set has such a class.
    """
    results = [result for run in runs for result in run.results if result.evaluation and not result.reasons]
    groups = sorted(_grouped(results), key=lambda group: -sum(not result.subset for result in group))
    _check_focus(groups, wanted)
    labels = _labels(groups)
    slugs = _slugs(labels)
    return [
        Section(label, slug, group, _focus(classes_of(group[0]), wanted))
        for label, slug, group in zip(labels, slugs, groups, strict=True)
    ]


def _grouped(results: Sequence[Result]) -> list[list[Result]]:
    """Equal keys belong together; without the digest, the name and the numbers of pictures and objects have to do."""
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        key = (result.dataset.sha256, *_facts(result))
        groups.setdefault(key, []).append(result)
    for key in [key for key in groups if key[0] is None]:
        alike = [k for k in groups if k[0] and k[1:] == key[1:] and _name(groups[k]) == _name(groups[key])]
        if len(alike) == 1:
            groups[alike[0]] += groups.pop(key)
    order = {id(result): index for index, result in enumerate(results)}
    merged = [part for group in groups.values() for part in _by_name(group)]
    merged = [sorted(group, key=lambda result: order[id(result)]) for group in merged]
    return sorted(merged, key=lambda group: order[id(group[0])])


def _facts(result: Result) -> tuple:
    """What must be the same beside the annotations: how much was to be found, and how it was scored."""
    it = result.evaluation
    return it['images'], it['objects'], tuple(sorted(classes_of(result))), tuple(it['iou_thrs']), tuple(it['max_dets'])


def _name(group: Sequence[Result]) -> str:
    return group[0].dataset.name


def _by_name(group: Sequence[Result]) -> list[list[Result]]:
    """Files of one digest are one data set, whatever their names, unless a run was tested on both; else names tell."""
    alone = len({result.run for result in group}) == len(group)
    if alone and any(result.dataset.sha256 for result in group):
        return [list(group)]
    names = dict.fromkeys(result.dataset.name for result in group)
    return [[result for result in group if result.dataset.name == name] for name in names]


def _labels(groups: Sequence[Sequence[Result]]) -> list[str]:
    """Names; of equal ones with what was to be found, and if need be with the start of the digest, or a number."""
    labels = [_name(group) for group in groups]
    extras = [
        [f'{g[0].evaluation["images"]:,} pictures, {g[0].evaluation["objects"]:,} objects' for g in groups],
        [f'SHA-256 {next((r.dataset.sha256 for r in g if r.dataset.sha256), "unknown")[:8]}' for g in groups],
        [f'no. {number}' for number in range(1, len(groups) + 1)],
    ]
    for extra in extras:
        counts = Counter(labels)
        labels = [f'{it}, {more}' if counts[it] > 1 else it for it, more in zip(labels, extra, strict=True)]
    return labels


def _slugs(labels: Sequence[str]) -> list[str]:
    slugs = [re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')[:60] or 'data' for label in labels]
    return [f'{slug}-{index}' if slugs.count(slug) > 1 else slug for index, slug in enumerate(slugs, 1)]


def _check_focus(groups: Sequence[Sequence[Result]], wanted: str | None) -> None:
    classes = list(dict.fromkeys(name for group in groups for name in classes_of(group[0])))
    if wanted and wanted != 'mean' and groups and wanted.lower() not in map(str.lower, classes):
        known = ', '.join(classes[:20]) + (f' and {len(classes) - 20} more' if len(classes) > 20 else '')
        raise ReportError(f'--focus: no data set has the class {wanted}; there are {known}, and mean')


def _focus(classes: Sequence[str], wanted: str | None) -> str | None:
    """A class of several; on one class the mean is that class."""
    if len(classes) == 1 or wanted == 'mean':
        return None
    if wanted is None:
        wanted = 'object' if {name.lower() for name in classes} == EASY else ''
    return next((name for name in classes if name.lower() == wanted.lower()), None)
