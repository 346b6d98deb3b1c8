"""What each part gets, counted, and where that is not what was asked for."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from damamba.datasets.inspection.defects import list_names
from damamba.datasets.splitting.allotment import SIZE

OFF = 0.01  # of the whole: a part that is larger or smaller by more is named

Owners = Sequence[int | None]


@dataclass(frozen=True)
class Part:
    """A part: its name, its file, the fraction that was asked for, what it has, and how many groups that is."""

    name: str
    path: Path
    fraction: float
    images: list[dict]
    annotations: list[dict]
    groups: int

    @cached_property
    def objects(self) -> Counter:
        """How many objects it has of each category, by its id. Crowds are no objects."""
        return Counter(id_of(it) for it in self.annotations if not it.get('iscrowd'))

    @property
    def empty(self) -> int:
        """Pictures without objects or crowds."""
        return len(self.images) - len({it['id'] for it in self.images} & {it['image_id'] for it in self.annotations})


def id_of(annotation: Mapping) -> int | str | None:
    """The id of an annotation's category; None where that is none."""
    number = annotation.get('category_id')
    return number if type(number) in (int, str) else None


def columns_of(document: dict, owners: Owners, by_objects: bool) -> list[Counter]:
    """What counts of each picture: SIZE; objects of each category, from 1 on; and last, that it has none."""
    numbers = [category.get('id') for category in document['categories']]
    columns = {number: column for column, number in enumerate(numbers, 1) if type(number) in (int, str)}
    counts: list[Counter] = [Counter() for _ in document['images']]
    for annotation, owner in zip(document['annotations'], owners, strict=True):
        if owner is not None and not annotation.get('iscrowd'):
            counts[owner][columns.get(id_of(annotation), SIZE)] += 1
    for count in counts:
        known = sum(count.values())
        if not known:
            count[len(numbers) + 1] = 1
        count[SIZE] = known if by_objects else 1
    return counts


def make_parts(
    document: dict,
    owners: Owners,
    fractions: Mapping[str, float],
    paths: Sequence[Path],
    groups: Sequence[Sequence[int]],
    places: Sequence[int],
) -> list[Part]:
    """The records of each part, in their order; orphans are in none."""
    part_of = {picture: place for group, place in zip(groups, places, strict=True) for picture in group}
    images, annotations = defaultdict(list), defaultdict(list)
    for picture, image in enumerate(document['images']):
        images[part_of[picture]].append(image)
    for annotation, owner in zip(document['annotations'], owners, strict=True):
        if owner is not None:
            annotations[part_of[owner]].append(annotation)
    return [
        Part(name, paths[place], fraction, images[place], annotations[place], places.count(place))
        for place, (name, fraction) in enumerate(fractions.items())
    ]


def notes_on(
    document: dict, owners: Owners, parts: Sequence[Part], groups: Sequence[Counter], by_objects: bool
) -> list[str]:
    """What is left out, classes that a part lacks, and parts that are not as large as they should be."""
    notes = []
    orphans = [str(it.get('id')) for it, owner in zip(document['annotations'], owners, strict=True) if owner is None]
    if orphans:
        notes.append(f'annotations of no picture, which are in no part: {len(orphans):,} (ids {list_names(orphans)})')
    return [*notes, *_notes_on_classes(document, parts, groups), *_notes_on_sizes(parts, groups, by_objects)]


def _notes_on_classes(document: dict, parts: Sequence[Part], groups: Sequence[Counter]) -> list[str]:
    notes, numbers = [], [id_of(dict(category_id=category.get('id'))) for category in document['categories']]
    for column, (number, category) in enumerate(zip(numbers, document['categories'], strict=True), 1):
        holders = [group for group in groups if group[column]]
        lacking = [part for part in parts if not part.objects[number]]
        if holders and lacking:
            why = f'{len(holders):,} groups have one, and another seed may do better'
            if len(holders) < len(parts):
                why = f'of {len(groups):,} groups only {len(holders)} can be given one'
            elif all(_is_held_up(part, numbers, holders) for part in lacking):
                why = f'{len(holders):,} groups have one, and none beside the classes of the only group there'
            names = ', '.join(part.name for part in lacking)
            notes.append(f'no {list_names([str(category.get("name"))])} in {names}: {why}')
    return notes


def _is_held_up(part: Part, numbers: Sequence[int | str | None], holders: Sequence[Counter]) -> bool:
    """Whether a part has a single group, and no other could give it a class without taking away one of its own."""
    own = [column for column, number in enumerate(numbers, 1) if part.objects[number]]
    return part.groups == 1 and not any(all(group[column] for column in own) for group in holders)


def _notes_on_sizes(parts: Sequence[Part], groups: Sequence[Counter], by_objects: bool) -> list[str]:
    sizes = [part.objects.total() if by_objects else len(part.images) for part in parts]
    total, what = max(sum(sizes), 1), 'objects' if by_objects else 'pictures'
    largest, notes = max(group[SIZE] for group in groups), []
    for part, size in zip(parts, sizes, strict=True):
        if abs(size - part.fraction * total) > max(OFF * total, 1):
            text = f'{part.name} has {size / total:.1%} of the {what} instead of {part.fraction:.1%}'
            notes.append(f'{text}: groups are not cut, and the largest has {largest:,}')
    return notes
