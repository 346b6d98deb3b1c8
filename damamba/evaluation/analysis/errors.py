"""What average precision is lost to: each kind of error, mended alone, and what AP50 gains by it.

Source: Bolya, Foley, Hays and Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020,
arXiv 2008.08115, sections 2.2 (kinds of errors) and 2.3 (how each is mended).

Shapes: N detections and M objects of all pictures together, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from damamba.evaluation.analysis.overlaps import FREE, Picture, match
from damamba.evaluation.intervals import RECALLS
from damamba.tables import UNDEFINED, Table

FOREGROUND = 0.5  # the overlap of a detection that finds an object
BACKGROUND = 0.1  # the overlap of one that was meant for none
MISTAKES = ('classification', 'localisation', 'both', 'duplicate', 'background')  # of detections
KINDS = (*MISTAKES, 'missed', 'false positives', 'false negatives')
HIT, IGNORED = len(MISTAKES), len(MISTAKES) + 1  # what else a detection can be


@dataclass(frozen=True)
class Errors:
    """``AP50``, and for each kind of error the AP50 that it costs: the mean over classes, and by class.

    ``counts`` and ``class_counts`` are numbers of detections, and of objects for missed and false negatives. Of a class
    without objects, AP50 and costs are -1.
    """

    values: dict[str, float]
    classes: dict[str, dict[str, float]]
    counts: dict[str, int]
    class_counts: dict[str, dict[str, int]]

    def table(self, kind: str) -> str:
        """What each kind of error costs, by class and on average; how often it was made."""
        rows = {**self.classes, 'mean': self.values} if len(self.classes) > 1 else self.classes
        lines = [[name, *map(values.get, self.values)] for name, values in rows.items()]
        lines.append(['number', '', *(self.counts[name] for name in KINDS)])
        title = f'{kind.capitalize()} AP50 lost to errors'
        return Table.of(title, ['class', *self.values], lines, sections=[len(rows) - 1]).text()


@dataclass(frozen=True)
class _Findings:
    """What became of every detection and every object."""

    scores: np.ndarray  # [N]
    labels: np.ndarray  # [N]
    verdicts: np.ndarray  # [N]: an index of MISTAKES, HIT or IGNORED
    aims: np.ndarray  # [N]: the object that a wrong class or a wrong place was meant for, or FREE
    object_labels: np.ndarray  # [M], without crowds
    found: np.ndarray  # [M], bool

    @property
    def missed(self) -> np.ndarray:
        """Objects that were neither found nor meant: [M]."""
        missed = ~self.found
        missed[self.aims[self.aims != FREE]] = False
        return missed


def break_down(pictures: Sequence[Picture], names: Sequence[str]) -> Errors:
    """Say of each detection and object what went wrong, mend it, and measure AP50 again.

    A detection that finds nothing (see ``overlaps.match``) is the first of these that fits:
    wrong in place, if it overlaps an object of its class by 0.1 or more and less than 0.5; wrong in class, if it
    overlaps one of another class by 0.5 or more; a duplicate, if it overlaps one of its class by 0.5 or more, which
    another has found; on the background, if it overlaps nothing by 0.1; and else wrong in both. An object is missed if
    no detection finds it or was meant for it. Crowds and what lies in them do not count.

    A wrong class or place is mended by putting it right, unless the object has been found or a surer one is mended to
    find it: then, as with all other false positives, by taking it away. Missed objects are mended by no longer being
    expected. If nothing is left to be expected of a class, its AP50 is then 1.

    Args:
        pictures: from :func:`~damamba.evaluation.analysis.overlaps.read_pictures`.
        names: of the K classes.
    """
    findings = _collect(pictures)
    base = _precisions(findings, len(names))
    gains = {kind: _precisions(_mend(findings, kind), len(names), nothing=1.0) - base for kind in KINDS}
    counts = {kind: _count(findings, kind, len(names)) for kind in KINDS}
    defined = base != UNDEFINED
    rows = {'AP50': base, **{kind: np.where(defined, gain, UNDEFINED) for kind, gain in gains.items()}}
    return Errors(
        {name: float(row[defined].mean()) if defined.any() else UNDEFINED for name, row in rows.items()},
        {name: {key: float(row[k]) for key, row in rows.items()} for k, name in enumerate(names)},
        {kind: int(numbers.sum()) for kind, numbers in counts.items()},
        {name: {kind: int(numbers[k]) for kind, numbers in counts.items()} for k, name in enumerate(names)},
    )


def _collect(pictures: Sequence[Picture]) -> _Findings:
    """All pictures' findings behind each other, and ``aims`` numbered accordingly."""
    parts = [_judge(picture) for picture in pictures]
    starts = np.cumsum([0, *(len(part.found) for part in parts)])
    parts = [
        replace(part, aims=np.where(part.aims == FREE, FREE, part.aims + start))
        for part, start in zip(parts, starts, strict=False)
    ]
    fields = ('scores', 'labels', 'verdicts', 'aims', 'object_labels', 'found')
    return _Findings(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def _judge(picture: Picture) -> _Findings:
    """The findings of one picture; crowds are no objects here."""
    matched = match(picture, FOREGROUND)
    solid = ~picture.crowds
    overlaps, same = picture.overlaps[:, solid], picture.same_class[:, solid]
    own, meant = _closest(np.where(same, overlaps, 0))
    other, confused = _closest(np.where(same, 0, overlaps))
    verdicts = np.select(
        [
            (own >= BACKGROUND) & (own < FOREGROUND),
            other >= FOREGROUND,
            own >= FOREGROUND,
            other < BACKGROUND,
        ],
        [MISTAKES.index(name) for name in ('localisation', 'classification', 'duplicate', 'background')],
        MISTAKES.index('both'),
    )
    verdicts[matched != FREE] = np.where(picture.crowds[matched[matched != FREE]], IGNORED, HIT)
    aims = np.select(
        [verdicts == MISTAKES.index(n) for n in ('localisation', 'classification')], [meant, confused], FREE
    )
    found = np.isin(np.arange(len(solid)), matched)[solid]
    return _Findings(picture.scores, picture.labels, verdicts, aims, picture.object_labels[solid], found)


def _closest(overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest overlap of each detection, and the object that it is with: both [D], from [D, G]."""
    if not overlaps.shape[1]:
        return np.zeros(len(overlaps)), np.full(len(overlaps), FREE)
    return overlaps.max(axis=1), overlaps.argmax(axis=1)


def _mend(findings: _Findings, kind: str) -> _Findings:
    """The findings with one kind of error mended."""
    if kind in ('missed', 'false negatives'):
        expected = ~findings.missed if kind == 'missed' else findings.found
        return replace(findings, object_labels=findings.object_labels[expected], found=findings.found[expected])
    if kind == 'false positives':
        return _keep(findings, findings.verdicts == HIT)
    wrong = findings.verdicts == MISTAKES.index(kind)
    if kind not in ('classification', 'localisation'):
        return _keep(findings, ~wrong)
    return _put_right(findings, wrong)


def _put_right(findings: _Findings, wrong: np.ndarray) -> _Findings:
    """Give the wrong ones [N] class and place of the objects that they are meant for, one for each that is free."""
    candidates = np.flatnonzero(wrong & ~np.append(findings.found, True)[findings.aims])
    _, first = np.unique(findings.aims[candidates], return_index=True)  # of a picture, the surest comes first
    chosen = candidates[first]
    verdicts, labels = findings.verdicts.copy(), findings.labels.copy()
    verdicts[chosen], labels[chosen] = HIT, findings.object_labels[findings.aims[chosen]]
    mended = replace(findings, verdicts=verdicts, labels=labels)
    return _keep(mended, ~wrong | (verdicts == HIT))


def _keep(findings: _Findings, kept: np.ndarray) -> _Findings:
    fields = ('scores', 'labels', 'verdicts', 'aims')
    return replace(findings, **{name: getattr(findings, name)[kept] for name in fields})


def _count(findings: _Findings, kind: str, classes: int) -> np.ndarray:
    """How often an error was made: [K]."""
    if kind == 'false positives':
        labels = findings.labels[findings.verdicts < HIT]
    elif kind in MISTAKES:
        labels = findings.labels[findings.verdicts == MISTAKES.index(kind)]
    else:
        labels = findings.object_labels[findings.missed if kind == 'missed' else ~findings.found]
    return np.bincount(labels, minlength=classes)


def _precisions(findings: _Findings, classes: int, nothing: float = UNDEFINED) -> np.ndarray:
    """AP of each class [K]; ``nothing`` where no object is expected."""
    counts = np.bincount(findings.object_labels, minlength=classes)
    values = np.full(classes, nothing)
    for k in range(classes):
        of_class = (findings.labels == k) & (findings.verdicts != IGNORED)
        if counts[k]:
            hits = findings.verdicts[of_class] == HIT
            values[k] = average_precision(findings.scores[of_class], hits, counts[k])
    return values


def average_precision(scores: np.ndarray, hits: np.ndarray, objects: int) -> float:
    """COCO's average precision: the mean of the precision at 101 recalls, each the best at that recall or above.

    Args:
        scores: [N], of the detections of one class, those in crowds left out.
        hits: [N], whether each has found an object of its own.
        objects: how many there are to find, 1 or more.
    """
    found = np.cumsum(hits[np.argsort(-scores, kind='stable')])
    precision = found / np.arange(1, len(found) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(found / objects, RECALLS, side='left')
    return float(np.append(best, 0.0)[at].mean())
