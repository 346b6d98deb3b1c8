"""Which pictures stay together: those of a scene, a camera, a day; and those that are the same picture."""

import json
import posixpath
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

from scipy.cluster.hierarchy import DisjointSet

from damamba.datasets.inspection.defects import count_pictures, list_names, short_repr
from damamba.datasets.splitting.source import SplitError

DAY = re.compile(r'(\d{4})[-/:](\d\d)[-/:](\d\d)(?:[T ]\d\d:\d\d.*)?')  # of a date, or of a time
ALMOST = 0.9  # of the pictures: a note says so if as many are groups of their own
KEY, NAME, FOLDER = 'key', 'name', 'folder'


class GroupBy(NamedTuple):
    """What pictures of a group share: a key of their records, what a pattern finds in their names, or the folder."""

    kind: str  # KEY, NAME or FOLDER
    value: str = ''  # the key, or the pattern

    def __str__(self) -> str:
        return {KEY: self.value, NAME: f'what {self.value} finds in their names', FOLDER: 'their folder'}[self.kind]


def labels_of(images: Sequence[dict], by: GroupBy) -> list[Hashable]:
    """The group of each picture, by its record. SplitError where one has none."""
    if by.kind == FOLDER:
        return [posixpath.dirname(posixpath.normpath(it['file_name'])) for it in images]
    labels = _by_name(images, by.value) if by.kind == NAME else _by_key(images, by.value)
    lacking = [image['file_name'] for image, label in zip(images, labels, strict=True) if label is None]
    if len(lacking) == len(images):
        keys = f' (records have {list_names(list(images[0]))})' if by.kind == KEY else ''
        raise SplitError(f'no picture has {by}{keys}: there is nothing to group by')
    if lacking:
        text = f'{len(lacking):,} of {count_pictures(images)} belong to no group, as they lack {by}'
        raise SplitError(f'{text}: {list_names(lacking)}')
    return labels


def _by_key(images: Sequence[dict], key: str) -> list[str | None]:
    """The values of a key, as text; those that are times are taken by day."""
    values = [image.get(key) for image in images]
    return [None if value is None else _day(value) or json.dumps(value, sort_keys=True) for value in values]


def _day(value: object) -> str | None:
    found = DAY.fullmatch(value) if isinstance(value, str) else None
    return found and '-'.join(found.groups())


def _by_name(images: Sequence[dict], pattern: str) -> list[tuple | None]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SplitError(f'{short_repr(pattern)} is no regular expression: {error}') from error
    if not compiled.groups:
        raise SplitError(f"{short_repr(pattern)} has no group in it, such as '(.+)_': what is in brackets is compared")
    found = [compiled.search(image['file_name']) for image in images]
    return [match and match.groups() for match in found]


def note_on_labels(labels: Sequence[Hashable], by: GroupBy) -> list[str]:
    """A sentence if almost every picture is a group of its own."""
    alone = sum(count == 1 for count in Counter(labels).values())
    if alone < ALMOST * len(labels):
        return []
    return [f'by {by}, {alone:,} of {count_pictures(labels)} are groups of their own: hardly any are kept together']


def join(count: int, labelled: Iterable[Sequence[Hashable]]) -> list[list[int]]:
    """Groups of the numbers below ``count``: those with a label in common, those with one of theirs, and so on."""
    sets = DisjointSet(range(count))
    for labels in labelled:
        firsts: dict[Hashable, int] = {}
        for place, label in enumerate(labels):
            sets.merge(firsts.setdefault(label, place), place)
    return sorted(sorted(it) for it in sets.subsets())
