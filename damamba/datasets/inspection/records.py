"""The records of an annotation file: which fields each has to have, and of which type."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from damamba.datasets.inspection.defects import Findings, told

MAX_ID = 2**63
MAX_SIDE = 2**20  # pixels; OpenCV reads no longer one


@dataclass(frozen=True, slots=True)
class Picture:
    """An entry of ``images``; what is missing or of no use is None."""

    id: int | None
    file_name: str | None
    width: int | None
    height: int | None

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height, in pixels."""
        return (self.width, self.height) if self.width and self.height else None


def is_id(value) -> bool:
    return type(value) is int and -MAX_ID <= value < MAX_ID


def is_length(value) -> bool:
    return type(value) is int and 0 < value <= MAX_SIDE


def is_name(value) -> bool:
    return isinstance(value, str) and bool(value.strip())


def is_number(value) -> bool:
    """A finite one; what JSON calls true is none."""
    if type(value) is int:
        return -MAX_ID <= value < MAX_ID
    return type(value) is float and math.isfinite(value)


def is_box(value) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def is_flag(value) -> bool:
    return value in (0, 1) if type(value) in (int, bool) else False


ID = (is_id, 'a whole number')
LENGTH = (is_length, 'a number of pixels that a picture can have')
NAME = (is_name, 'a name')
IMAGE = {'id': ID, 'file_name': NAME, 'width': LENGTH, 'height': LENGTH}
CATEGORY = {'id': ID, 'name': NAME}
ANNOTATION = {
    'id': ID,
    'image_id': ID,
    'category_id': ID,
    'bbox': (is_box, 'four finite numbers'),
    'area': (is_number, 'a finite number'),
    'iscrowd': (is_flag, '0 or 1'),
}
NOTHING = {'images': 'no_pictures', 'annotations': 'no_objects', 'categories': 'no_categories'}  # in an empty list
Fields = dict[str, tuple[Callable, str]]


def records_of(document, name: str, findings: Findings) -> list[tuple[int, dict]]:
    """The objects in one of the document's lists, each with its place there."""
    if not isinstance(document, dict):
        return []
    if name not in document:
        findings.add('missing_field', f'the file has no {name}')
        return []
    if not isinstance(document[name], list):
        findings.add('wrong_type', f'{name} is {told(document[name])}, not a list')
        return []
    if not document[name]:
        findings.add(NOTHING[name], f'{name} is empty')
    for place, record in enumerate(document[name]):
        if not isinstance(record, dict):
            findings.add('wrong_type', f'{name}[{place}] is {told(record)}, not an object')
    return [(place, record) for place, record in enumerate(document[name]) if isinstance(record, dict)]


def usable(record: dict, fields: Fields, report: Callable[[str, str], None]) -> dict:
    """The record's fields that are as they should be; ``report`` is told of the others, by kind and text."""
    found = dict.fromkeys(fields)
    for name, (is_right, wanted) in fields.items():
        if name not in record:
            report('missing_field', f'no {name}')
        elif is_right(record[name]):
            found[name] = record[name]
        else:
            report('wrong_type', f'{name} is {told(record[name])}, not {wanted}')
    return found


def read_pictures(document, findings: Findings) -> list[Picture]:
    """Every entry of ``images``."""
    pictures, ids, names = [], set(), set()
    for place, record in records_of(document, 'images', findings):
        problems = []
        found = usable(record, IMAGE, lambda kind, text, into=problems: into.append((kind, text)))
        picture = Picture(**found)
        for kind, text in problems:
            findings.add(kind, f'images[{place}]: {text}', picture)
        if picture.id is not None and picture.id in ids:
            findings.add('duplicate_image_id', f'images[{place}]: another picture has this id', picture)
        if picture.file_name is not None and picture.file_name in names:
            findings.add('duplicate_file_name', f'images[{place}]: another picture has this file name', picture)
        ids.add(picture.id)
        names.add(picture.file_name)
        pictures.append(picture)
    return pictures


def read_categories(document, findings: Findings) -> dict[int, str]:
    """The names by id."""
    categories, names = {}, {}
    for place, record in records_of(document, 'categories', findings):
        where = f'categories[{place}]'
        found = usable(record, CATEGORY, lambda kind, text, where=where: findings.add(kind, f'{where}: {text}'))
        number, name = found['id'], found['name']
        if number is not None and number in categories:
            findings.add('duplicate_category_id', f'{where}: {told(categories[number])} has the id {number} too')
        elif number is not None:
            categories[number] = name or f'(no name: {number})'
        if name is not None and name.casefold() in names:
            findings.add('duplicate_category_name', f'{where}: {told(names[name.casefold()])} and {told(name)}')
        elif name is not None:
            names[name.casefold()] = name
    return categories
