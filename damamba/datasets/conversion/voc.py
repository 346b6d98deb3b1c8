"""Pascal VOC: masks in ``SegmentationObject``, their classes in ``SegmentationClass``; boxes in XML files.

Of a picture with masks the boxes are not read. The void around VOC's objects, 255, belongs to none. Splits are those of
``ImageSets``; colours have the names of ``labelmap.txt``, as CVAT writes it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from damamba.datasets.conversion.label_images import (
    LabelImage,
    LabelImageError,
    colour_number,
    key_of,
    pieces,
)
from damamba.datasets.conversion.labels import LabelledObject, LabelledPicture, Part, Size, rle_of
from damamba.datasets.conversion.reading import Reading, split_and_name
from damamba.datasets.conversion.voc_files import Entries, read_lists, read_xml
from damamba.datasets.conversion.voc_set import CLASSES, FOLDERS, OBJECTS, VocSet

TITLE = 'Pascal VOC, masks or boxes'
OWN = ('Annotations', OBJECTS, CLASSES)
PROBED = 20  # XML files that are looked into to know the format
NONE, VOID, VOID_COLOUR = 0, 255, (224, 224, 192)
SEMANTIC = (
    f'{CLASSES} has one value a class and tells no objects apart: it is not read; --values classes makes each '
    'connected piece an object'
)


def recognise(folder: Path) -> str | None:
    """Why a folder looks like this format; None if it does not."""
    places = [base / name for base in _bases(folder) for name in (OBJECTS, CLASSES)]
    found = next((place for place in places if place.is_dir()), None)
    if found:
        return f'there is a folder {found.relative_to(folder)}'
    for path in sorted(folder.rglob('*.xml'))[:PROBED]:
        if read_xml(path):
            return f'{path.relative_to(folder)} is an annotation of Pascal VOC'
    return None


def read(reading: Reading) -> Iterator[LabelledPicture]:
    """The pictures of each set, in the order of names."""
    bases = _bases(reading.root)
    for base in bases:
        source = VocSet(reading, base)
        source.find_files()
        source.find_names()
        if source.classes and not source.objects and reading.options.values != 'classes':
            reading.notes.append(SEMANTIC)
        yield from _pictures(source, f'{base.name}/' if len(bases) > 1 else '')


def _bases(root: Path) -> list[Path]:
    """The folders with VOC's own in them: one or several years of it; the root where there are none."""
    found = [Path(place) for place, folders, _ in os.walk(root) if {*OWN} & {*folders}]
    return sorted(found) or [root]


def _pictures(source: VocSet, prefix: str) -> Iterator[LabelledPicture]:
    """The pictures that are in a list; all of them where there are no lists."""
    lists = read_lists(source.base)
    splits = {key_of(f'{name}.jpg', FOLDERS): split for name, split in lists[1].items()} if lists else {}
    for key, path in sorted(source.pictures.items()):
        shown = path.relative_to(source.base).as_posix().removeprefix('JPEGImages/')
        split, name = split_and_name(shown)
        if lists and key not in splits:
            why, entries = f'it is in no list of {lists[0]}', source.entries(key)
            source.reading.leave_out(why, source.reading.shown(path), 'pictures')
            source.reading.leave_out(f'the picture is left out ({why})', shown, count=len(entries.objects))
        elif picture := _picture(source, key, splits.get(key, split), prefix + name):
            yield picture
    for key in sorted(splits.keys() - source.pictures.keys()):
        source.reading.leave_out('it is listed, and not there', f'{lists[0]}: {key}', 'pictures')


def _picture(source: VocSet, key: str, split: str, name: str) -> LabelledPicture | None:
    """A picture with its objects: those of its masks, or else of its XML file."""
    reading, entries = source.reading, source.entries(key)
    stated = entries.size
    try:
        if key in source.objects:
            objects, stated = _masks(source, key)
        elif key in source.classes and reading.options.values == 'classes':
            objects, stated = _connected(source, key)
        else:
            objects = _entries(entries, reading.shown(source.xmls.get(key, source.base)), reading)
    except LabelImageError as error:
        why, shown = f'its labels are of no use ({error})', reading.shown(source.pictures[key])
        return reading.leave_out(why, shown, 'pictures')
    picture = reading.picture(source.pictures[key], split, name, stated, labels=len(objects))
    if picture:
        picture.objects = objects
    return picture


def _masks(source: VocSet, key: str) -> tuple[list[LabelledObject], Size]:
    """Each value of SegmentationObject as an object, and the size of the labels."""
    labels, shown, found = source.labels(source.objects[key]), source.reading.shown(source.objects[key]), []
    classes = source.labels(source.classes[key]) if key in source.classes else None
    if classes is None or classes.size != labels.size:
        raise LabelImageError(f'{CLASSES} has none of its size')
    nothing = _nothing(source, classes)
    for value, mask in labels.masks(left_out=_nothing(source, labels)):
        own = classes.values[mask]
        numbers, counts = np.unique(own[~np.isin(own, nothing)], return_counts=True)
        where = f'{shown}: value {value}'
        if len(numbers):
            category = source.reading.category(source.name_of(classes, int(numbers[counts.argmax()])))
            found.append(LabelledObject(category, where, mask=rle_of(mask)))
        else:
            source.reading.leave_out(f'{CLASSES} has no class there', where)
    return found, labels.size


def _connected(source: VocSet, key: str) -> tuple[list[LabelledObject], Size]:
    """Each connected piece of each class as an object, and the size of the labels."""
    labels, shown, found = source.labels(source.classes[key]), source.reading.shown(source.classes[key]), []
    for value, mask in labels.masks(left_out=_nothing(source, labels)):
        category = source.reading.category(source.name_of(labels, value))
        for number, piece in enumerate(pieces(mask), 1):
            found.append(LabelledObject(category, f'{shown}: value {value}, piece {number}', mask=rle_of(piece)))
    return found, labels.size


def _nothing(source: VocSet, labels: LabelImage) -> list[int]:
    """The values of the background, and of the void around objects: 255, unless that is the colour of a class."""
    if labels.coloured:
        return [NONE, colour_number(VOID_COLOUR)]
    is_class = labels.colour(VOID) in source.colours and labels.colour(VOID) != VOID_COLOUR
    return [NONE] if is_class else [NONE, VOID]


def _entries(entries: Entries, shown: str, reading: Reading) -> list[LabelledObject]:
    """The objects of an XML file: outlines, or boxes alone."""
    found = []
    for number, it in enumerate(entries.objects, 1):
        where = f'{shown}: object {number}'
        if not it.name:
            reading.leave_out('the object has no name', where)
        elif it.box is None and it.outline is None:
            reading.leave_out('neither an outline nor a box', where)
        else:
            parts = () if it.outline is None else (Part(it.outline),)
            extra = dict(attributes=it.attributes) if it.attributes else {}
            box = it.box if it.outline is None else None
            found.append(LabelledObject(reading.category(it.name), where, parts, box=box, extra=extra))
    return found
