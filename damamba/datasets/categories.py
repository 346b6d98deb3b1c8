"""Which category of an annotation file each class stands for: by its name, whatever the ids, their order and case."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


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

    @property
    def present(self) -> list[int]:
        """The categories of the classes that are there, in the order of the classes."""
        return [cat_id for cat_id in self.ids if cat_id is not None]

    def filled(self) -> list[int]:
        """An id for each class; ids that no category has, below zero and below all others, for those without one."""
        lowest = min((0, *self.present))
        missing = iter(range(lowest - 1, lowest - 1 - len(self.ids), -1))
        return [next(missing) if cat_id is None else cat_id for cat_id in self.ids]

    def __str__(self) -> str:
        pairs = zip(self.classes, self.ids, strict=True)
        parts = [f'{name} is category {cat_id}' for name, cat_id in pairs if cat_id is not None]
        parts += [f'{name} is not there' for name in self.absent]
        parts += [f'{name} is no class and left out' for name in self.unused]
        return ', '.join(parts)


def match_categories(categories: Sequence[dict], classes: Sequence[str]) -> CategoryMap:
    """Find the category of each class by its name, upper and lower case being the same.

    Args:
        categories: as in COCO's format, with ``id`` and ``name``.
        classes: names, in the order of a model's labels.

    Raises:
        DatasetError: none of the classes is there, or two classes or two categories have the same name.
    """
    if isinstance(classes, str):
        raise DatasetError(f'classes must be a tuple; one class needs its comma: ({classes!r},)')
    _refuse_repeated('classes', list(classes))
    _refuse_repeated('categories', [category['name'] for category in categories])
    found = {_folded(category['name']): category['id'] for category in categories}
    wanted = {_folded(name) for name in classes}
    unused = tuple(category['name'] for category in categories if _folded(category['name']) not in wanted)
    mapping = CategoryMap(tuple(classes), tuple(found.get(_folded(name)) for name in classes), unused)
    if not mapping.present:
        raise DatasetError(
            f'none of the classes ({", ".join(classes)}) is among the categories ({", ".join(unused)}); '
            'they are matched by name, whatever the case'
        )
    return mapping


def _folded(name: str) -> str:
    return name.strip().casefold()


def _refuse_repeated(what: str, names: list[str]) -> None:
    repeated = [name for name, count in Counter(map(_folded, names)).items() if count > 1]
    if repeated:
        raise DatasetError(f'{what} ({", ".join(names)}) repeat {", ".join(repeated)}: names must differ, not in case')
