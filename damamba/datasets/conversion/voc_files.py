"""The files of Pascal VOC: boxes in XML, names of colours, lists of pictures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, parse

from damamba.datasets.conversion.labels import Box, ConversionError, Size
from damamba.datasets.conversion.reading import stated_size

NAMES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable', 'dog',
    'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip
LISTS = ('Segmentation', 'Main', 'Layout')  # folders of ImageSets
WHOLE = 'trainval'  # a list of what two others have
FLAGS = ('difficult', 'truncated', 'occluded')
LONGEST = 2**26  # bytes of an XML file

Colour = tuple[int, int, int]


class Entry(NamedTuple):
    """An object of an XML file: its class, its box or its outline, and what else is said of it."""

    name: str
    box: Box | None
    outline: np.ndarray | None  # [N, 2]
    attributes: dict


class Entries(NamedTuple):
    """What an XML file has of one picture."""

    file_name: str
    size: Size | None
    objects: list[Entry]


def read_xml(path: Path) -> Entries | None:
    """What an XML file of Pascal VOC says; None of any other file. No entity is expanded."""
    try:
        if path.stat().st_size > LONGEST:
            return None
        root = parse(path, forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException, OSError, ValueError, LookupError, RecursionError):
        return None
    if root.tag != 'annotation':
        return None
    first = int('voc' in (root.findtext('source/database') or '').lower())  # VOC counts pixels from 1 on
    sides = [_whole(root.findtext(f'size/{side}')) for side in ('width', 'height')]
    objects = [_entry(it, first) for it in root.iter('object')]
    return Entries((root.findtext('filename') or '').strip(), stated_size(*sides), objects)


def _entry(it, first: int) -> Entry:
    ends = [_number(it.findtext(f'bndbox/{name}')) for name in ('xmin', 'ymin', 'xmax', 'ymax')]
    left, top, right, bottom = ends if None not in ends else [None] * 4
    box = None if left is None else (left - first, top - first, right - left + first, bottom - top + first)
    attributes = {name: 1 for name in FLAGS if _number(it.findtext(name))}
    return Entry((it.findtext('name') or '').strip(), box, _outline(it.find('polygon')), attributes)


def _outline(polygon) -> np.ndarray | None:
    """Points x1, y1, x2, y2 ... of an element, as some tools write them: [N, 2]."""
    points, number = [], 1
    while polygon is not None:
        point = [_number(polygon.findtext(f'{axis}{number}')) for axis in 'xy']
        if None in point:
            break
        points.append(point)
        number += 1
    return np.array(points) if points else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _whole(text: str | None) -> int | None:
    number = _number(text)
    return int(number) if number is not None and number == int(number) else None


def read_names(base: Path) -> dict[Colour, str]:
    """The names of colours in ``labelmap.txt``, lines such as ``cat:128,0,0::``; empty where there is no such file.

    Raises:
        ConversionError: a line is another.
    """
    path, names = base / 'labelmap.txt', {}
    if not path.is_file():
        return names
    for number, line in enumerate(path.read_text(encoding='utf-8', errors='replace').splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        name, _, rest = line.partition(':')
        parts = rest.split(':')[0].split(',')
        if len(parts) != 3 or not all(it.strip().isdigit() and int(it) < 256 for it in parts):
            raise ConversionError(f'{path}, line {number}: a name and its colour are wanted, such as cat:128,0,0::')
        names[tuple(map(int, parts))] = name.strip()
    return names


def standard_colour(number: int) -> Colour:
    """The colour that VOC's palette has for a number: its bits, by turns, from the highest of each channel on."""
    bits = [[number >> 3 * bit + channel & 1 for bit in range(3)] for channel in range(3)]
    return tuple(sum(bit << 7 - place for place, bit in enumerate(own)) for own in bits)


def read_lists(base: Path) -> tuple[str, dict[str, str]] | None:
    """The folder of lists that is heeded, and the split of each name in them; None where there are no lists."""
    for folder in (base / 'ImageSets' / name for name in LISTS):
        paths = sorted(path for path in folder.glob('*.txt') if '_' not in path.stem)  # with it, one of a class
        paths = [path for path in paths if path.stem != WHOLE or len(paths) == 1]
        splits = {name: path.stem for path in reversed(paths) for name in _listed(path)}
        if splits:
            return f'ImageSets/{folder.name}', splits
    return None


def _listed(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        name = line.split('"')[1] if line.startswith('"') and line.count('"') > 1 else line.strip()
        words = name.split()
        if words:
            yield words[0] if len(words) == 2 and words[1] in ('-1', '0', '1') else name


def names_by_number(known: Mapping[Colour, str], in_xml: set[str], classes: tuple[str, ...]) -> list[str]:
    """The names of the numbers of classes, from 0, the background, on."""
    if known:
        return list(known.values())
    if in_xml and in_xml <= {*NAMES}:
        return ['background', *NAMES]
    return ['background', *classes] if classes else []
