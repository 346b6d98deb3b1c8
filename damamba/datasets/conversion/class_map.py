"""Which class a value of a picture of labels is: a JSON or CSV file, for all pictures alike or for each its own.

JSON: ``{"1": "cat"}``, or ``{"a.png": {"1": "cat"}}``. CSV: lines such as ``1,cat`` or ``a.png,1,cat``; the first line
may be headings. 0 is the background, whatever it is called.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from damamba.datasets.conversion.labels import ConversionError
from damamba.datasets.inspection.defects import short_repr
from damamba.datasets.json_files import read_json

NAMES = ('class_map.json', 'class_map.csv')  # where it is looked for
OF_FOLDERS = '_classes.csv'  # one in each folder, as Roboflow writes them for masks whose values are classes
WANTED = 'lines of a value and a class, or of a picture, a value and a class, are wanted, such as a.png,1,cat'


@dataclass
class ClassMap:
    """Classes by value, for all pictures, or by the name of a picture, without its suffix, where they are its own."""

    path: Path
    shared: dict[int, str] = field(default_factory=dict)
    own: dict[str, dict[int, str]] = field(default_factory=dict)

    @property
    def categories(self) -> list[str]:
        """The classes, in the order in which they are named."""
        return [*dict.fromkeys([*self.shared.values(), *(name for it in self.own.values() for name in it.values())])]

    def class_of(self, picture: str, value: int) -> str | None:
        """The class of a value in a picture, which is named by its path or its file; None if nothing says it."""
        path = PurePosixPath(picture)
        own = self.own.get(str(path.with_suffix('')), self.own.get(path.stem, self.shared))
        return own.get(value)

    def add(self, picture: str | None, value: object, name: object, where: str) -> None:
        """Take a value's class in.

        Raises:
            ConversionError: the value is none, or the class has no name.
        """
        if not isinstance(name, str) or not name.strip() or not str(value).strip().isdecimal():
            raise ConversionError(f'{where}: {short_repr(value)} is no value from 0 on, or has no class; {WANTED}')
        values = (
            self.shared if picture is None else self.own.setdefault(str(PurePosixPath(picture).with_suffix('')), {})
        )
        if int(str(value)):
            values[int(str(value))] = name.strip()


def find_class_map(root: Path, of_folders: Sequence[Path]) -> ClassMap | None:
    """The class map in a folder, or what those in the folders below it say alike; None where there are none.

    Raises:
        ConversionError: one can't be read, or they say different things.
    """
    path = next((it for name in NAMES if (it := root / name).is_file()), None)
    found, *others = [read_class_map(it) for it in ([path] if path else of_folders)] or [None]
    unlike = next((it.path for it in others if (it.shared, it.own) != (found.shared, found.own)), None)
    if unlike:
        raise ConversionError(f'{found.path} and {unlike} name classes differently: convert each folder by itself')
    return found


def read_class_map(path: Path) -> ClassMap:
    """What a file says.

    Raises:
        ConversionError: it can't be read, or says something else.
    """
    found = ClassMap(path)
    try:
        if path.suffix.lower() == '.json':
            _add_json(found, read_json(path))
        else:
            _add_lines(found, csv.reader(path.read_text(encoding='utf-8-sig').splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConversionError(f'{path} can not be read as a class map: {error}') from error
    except ValueError as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(f'{path} is no JSON: {error}') from error
    if not found.categories:
        raise ConversionError(f'{path} names no class; {WANTED}')
    return found


def _add_json(found: ClassMap, content: object) -> None:
    if not isinstance(content, Mapping):
        raise ConversionError(f'{found.path} holds {short_repr(content)}, not an object such as {{"1": "cat"}}')
    for key, it in content.items():
        if isinstance(it, Mapping):
            for value, name in it.items():
                found.add(key, value, name, f'{found.path}, {key}')
        else:
            found.add(None, key, it, str(found.path))


def _add_lines(found: ClassMap, lines: Iterable[list[str]]) -> None:
    for number, cells in enumerate(lines, 1):
        if not any(cells) or (number == 1 and not any(cell.strip().isdecimal() for cell in cells)):
            continue
        if len(cells) not in (2, 3):
            raise ConversionError(f'{found.path}, line {number}: {WANTED}')
        picture = cells[0].strip() if len(cells) == 3 else None
        found.add(picture, cells[-2], cells[-1], f'{found.path}, line {number}')
