"""Which category of an annotation file each class stands for: by its name, whatever the ids, their order and case."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

FEW = 12  # classes that are said one by one


class DatasetError(ValueError):
    """Annotations that can't be used as they were asked for; the text says why."""


@dataclass(frozen=True)
class CategoryMap:
    """For each class, in the order of a model's labels, the id of its category; None where the file has none."""

    classes: tuple[str, ...]
    ids: tuple[int | None, ...]
    unused: tuple[str, ...]  # categories of the file that are no class

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes that the file has no category for."""
        return tuple(name for name, cat_id in zip(self.classes, self.ids, strict=True) if cat_id is None)

    def filled(self) -> list[int]:
        """An id for each class; ids that no category has, below zero and below all others, for those without one."""
        free = count(min([0, *(cat_id for cat_id in self.ids if cat_id is not None)]) - 1, -1)
        return [next(free) if cat_id is None else cat_id for cat_id in self.ids]

    def __str__(self) -> str:
        found = [f'{name} is category {i}' for name, i in zip(self.classes, self.ids, strict=True) if i is not None]
        parts = found if len(found) <= FEW else [f'{len(found)} classes have a category']
        parts += [f'{name} is not there' for name in self.absent]
        parts += [f'{name} is no class and left out' for name in self.unused]
        return ', '.join(parts)


def match_categories(categories: Sequence[dict], classes: Sequence[str]) -> CategoryMap:
    """Find the category, as in COCO's format, of each class by its name, upper and lower case being the same.

    DatasetError if none of the classes is there, or two classes or two categories have the same name.
    """
    if isinstance(classes, str):
        raise DatasetError(f'classes must be a tuple; one class needs its comma: ({classes!r},)')
    names = [category['name'] for category in categories]
    wanted, listed = _folded('classes', classes), _folded('categories', names)
    found = {key: category['id'] for key, category in zip(listed, categories, strict=True)}
    unused = tuple(name for key, name in zip(listed, names, strict=True) if key not in wanted)
    if len(unused) == len(names):
        among = f'({", ".join(classes)}) is among the categories ({", ".join(names)})'
        raise DatasetError(f'none of the classes {among}; they are matched by name, whatever the case')
    return CategoryMap(tuple(classes), tuple(map(found.get, wanted)), unused)


def _folded(what: str, names: Sequence[str]) -> list[str]:
    """The names, whatever the case; a DatasetError where two are the same."""
    folded = [name.strip().casefold() for name in names]
    repeated = [name for name, number in Counter(folded).items() if number > 1]
    if repeated:
        raise DatasetError(f'{what} ({", ".join(names)}) repeat {", ".join(repeated)}: names must differ, not in case')
    return folded
