"""What is split: an annotation file in COCO's format, checked as far as splitting needs it."""

from collections.abc import Mapping
from pathlib import Path

from damamba.datasets.inspection.defects import short_repr
from damamba.datasets.json_files import read_json

LISTS = ('images', 'annotations', 'categories')
ROUNDED = 1.0001e-3  # by which the sum of fractions may be off 1; of percents, 100 times that off 100
MORE = 'damamba check-dataset says all that is wrong'


class SplitError(ValueError):
    """A data set that can't be split as it was asked for; the text says why."""


def read_source(path: Path) -> dict:
    """COCO's document: three lists of objects; each picture has an id and a file name. SplitError otherwise."""
    try:
        document = read_json(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise SplitError(f'{path} can not be read as JSON: {reason}') from error
    if not isinstance(document, dict):
        raise SplitError(f"{path} is not in COCO's format: it holds {short_repr(document)}, not an object")
    for name in LISTS:
        _check_list(path, name, document.get(name))
    if not document['images']:
        raise SplitError(f'{path} lists no pictures: there is nothing to split')
    for place, image in enumerate(document['images']):
        if type(image.get('id')) not in (int, str) or not isinstance(image.get('file_name'), str):
            text = f'has no id or no file_name: {short_repr(image)}; {MORE}'
            raise SplitError(f'{path}: picture {place} of the list {text}')
    return document


def _check_list(path: Path, name: str, entries) -> None:
    if not isinstance(entries, list):
        raise SplitError(f"{path} is not in COCO's format: {name} is {short_repr(entries)}, not a list; {MORE}")
    wrong = next((it for it in entries if not isinstance(it, dict)), None)
    if wrong is not None:
        raise SplitError(f'{path}: {name} has {short_repr(wrong)} in it, not an object; {MORE}')


def owners_of(document: dict) -> list[int | None]:
    """Which picture each annotation belongs to: its place in the list, the first of that id; None for an orphan."""
    places = {image['id']: place for place, image in reversed([*enumerate(document['images'])])}
    numbers = [annotation.get('image_id') for annotation in document['annotations']]
    return [places.get(number) if type(number) in (int, str) else None for number in numbers]


def check_fractions(named: Mapping[str, float]) -> dict[str, float]:
    """Fractions, or percents, as fractions that sum to 1.

    Raises:
        SplitError: there are fewer than two, their names are none that files can have, or their sum is another.
    """
    names, fractions = [*named], [*named.values()]
    if len(fractions) < 2:
        raise SplitError('one part is no split: give two fractions or more, such as 0.8 0.2')
    total = sum(fractions)
    if not all(fraction > 0 for fraction in fractions) or min(abs(total - 1), abs(total - 100) / 100) > ROUNDED:
        text = f'{" ".join(f"{it:g}" for it in fractions)} sum to {total:g}'
        raise SplitError(f'fractions are above 0 and sum to 1, such as 0.8 0.1 0.1, or percents to 100; {text}')
    wrong = [name for name in names if not name.replace('-', '').replace('_', '').isalnum()]
    if wrong:
        raise SplitError(f'a name is made of letters, digits, - and _, got {short_repr(wrong[0])}')
    if len({name.casefold() for name in names}) < len(names):
        raise SplitError(f'two parts can not have the same name, got {" ".join(names)}')
    return {name: fraction / total for name, fraction in named.items()}
