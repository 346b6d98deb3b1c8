"""Which class objects are taken for: a matrix of the classes and the background."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from damamba.evaluation.analysis.overlaps import FREE, Picture
from damamba.tables import Table

OVERLAP = 0.5
BACKGROUND = 'background'
MOST_CLASSES = 12  # beyond which a matrix is too wide to read


@dataclass(frozen=True)
class Confusion:
    """Numbers of objects by what they are (rows) and by what they were taken for (columns).

    The last row has detections where no object is, the last column objects that were not detected.
    """

    classes: list[str]  # the last one is the background
    counts: list[list[int]]

    def table(self, kind: str) -> str:
        """The matrix; of more classes than fit beside each other, the most frequent confusions."""
        title = f'{kind.capitalize()} confusion matrix'
        if len(self.classes) > MOST_CLASSES + 1:
            most = sorted(self._mistakes(), key=lambda row: -row[2])[:MOST_CLASSES]
            return Table.of(title, ['object', 'taken for', 'number'], most, left=(0, 1)).text()
        rows = ([name, *row] for name, row in zip(self.classes, self.counts, strict=True))
        return Table.of(title, ['object', *self.classes], rows).text()

    def _mistakes(self) -> Iterator[tuple[str, str, int]]:
        for r, name in enumerate(self.classes):
            for c, other in enumerate(self.classes):
                if r != c and self.counts[r][c]:
                    yield name, other, self.counts[r][c]


def confuse(pictures: Sequence[Picture], names: Sequence[str], least_score: float) -> Confusion:
    """Count which class each object was taken for.

    The surest detection chooses first, whatever its class: the object that it overlaps most, by 0.5 or more, and that
    is not taken yet; of equal ones that of its own class. A detection that chooses none and lies in a crowd, by 0.5 of
    its area or more, does not count, and crowds do not count as objects.

    Args:
        pictures: from :func:`~damamba.evaluation.analysis.overlaps.read_pictures`.
        names: of the K classes.
        least_score: detections that score less do not count.
    """
    background = len(names)
    counts = np.zeros((background + 1, background + 1), dtype=int)
    for picture in pictures:
        picture = picture.above(least_score)
        found, counted = _match(picture)
        truths = np.append(picture.object_labels, background)[found]  # FREE is the last one
        np.add.at(counts, (truths[counted], picture.labels[counted]), 1)
        missed = ~picture.crowds
        missed[found[found != FREE]] = False
        np.add.at(counts, (picture.object_labels[missed], background), 1)
    return Confusion([*names, BACKGROUND], counts.tolist())


def _match(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """The object of each detection, and whether the detection counts: both [D]."""
    same = picture.same_class
    fits = (picture.overlaps >= OVERLAP) & ~picture.crowds
    in_crowd = ((picture.overlaps >= OVERLAP) & picture.crowds).any(axis=1)
    found = np.full(len(picture.labels), FREE)
    for d in range(len(found)):
        candidates = np.flatnonzero(fits[d])
        if len(candidates):
            order = np.lexsort((same[d, candidates], picture.overlaps[d, candidates]))
            found[d] = candidates[order[-1]]
            fits[:, found[d]] = False
    return found, (found != FREE) | ~in_crowd
