"""Pictures of labels: a PNG for each picture, with a value for each object, of 8 or 16 bits, or a colour.

They lie in a folder such as ``masks`` beside that of the pictures, or beside the pictures, as ``a_mask.png``. A class
map says which class a value is; without one, all objects are of one class. The background is 0, or the black of a
palette, whose other colours are the values then.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from damamba.datasets.conversion.class_map import OF_FOLDERS, ClassMap, find_class_map, read_class_map
from damamba.datasets.conversion.label_images import (
    LOSSLESS,
    LabelImage,
    LabelImageError,
    key_of,
    pieces,
    read_label_image,
    without_addition,
)
from damamba.datasets.conversion.labels import ConversionError, LabelledObject, LabelledPicture, rle_of
from damamba.datasets.conversion.reading import PICTURES, Reading, list_pictures, split_and_name

TITLE = 'pictures of labels'
LABELS = ('masks', 'mask', 'labels', 'label', 'annotations', 'instances', 'segmentation', 'segmentations', 'gt')
ANY = 'object'  # the class of all, where nothing says one
FEWEST = 10  # values that are taken for something else than objects where most have several pieces, or are thin
ASKED = 'say what it is: --values classes, each of whose connected pieces is an object, or --values objects'
BLACK = (
    'pictures of labels in whose palette black is not number 0: {:,}; black is their background, colours their values'
)
SOFT = (
    'as in soft edges: save it with the values 0 and 1 alone, and say --values classes, each of whose connected pieces '
    'is an object, or take each of them for an object by --values objects'
)


class Pairs(NamedTuple):
    """The pictures and the pictures of labels, by what both have in common."""

    pictures: dict[str, Path]
    labels: dict[str, Path]
    repeated: list[Path]  # pictures and labels of which there is another


def recognise(folder: Path) -> str | None:
    """Why a folder looks like this format; None if it does not."""
    found = _pairs(folder, list_pictures(folder))
    both = sorted(found.labels.keys() & found.pictures.keys())
    return f'{found.labels[both[0]].relative_to(folder)} has the labels of a picture' if both else None


def read(reading: Reading) -> Iterator[LabelledPicture]:
    """The pictures in the order of names.

    Raises:
        ConversionError: values may be objects or classes, and nothing says which.
    """
    found, classes = _pairs(reading.root, reading.picture_files(reading.root)), _Classes(reading)
    for path in found.repeated:
        reading.leave_out('another has the same name but for its end', reading.shown(path), 'label files')
    for key, path in sorted(found.pictures.items()):
        picture = _picture(path, found.labels.pop(key, None), classes, reading)
        if picture:
            yield picture
    for path in found.labels.values():
        reading.leave_out('the picture is not there', reading.shown(path), 'label files')
    classes.check_values()


def _pairs(root: Path, paths: Sequence[Path]) -> Pairs:
    """Sort the files: what lies in a folder of labels, or has a name of labels beside a picture, is labels."""
    found, others = Pairs({}, {}, []), []
    beside = {(path.parent, path.stem) for path in paths}
    for path in paths:
        shown = path.relative_to(root).as_posix()
        key, plain = key_of(shown, (*PICTURES, *LABELS)), without_addition(path.stem)
        in_folder = bool({step.lower() for step in PurePosixPath(shown).parent.parts} & {*LABELS})
        if in_folder or (plain != path.stem and (path.parent, plain) in beside):
            others.append((key, path))
        elif found.pictures.setdefault(key, path) is not path:
            found.repeated.append(path)
    for key, path in others:
        key = key if key in found.pictures else without_addition(key)
        if path.suffix.lower() not in LOSSLESS or found.labels.setdefault(key, path) is not path:
            found.repeated.append(path)
    return found


def _picture(path: Path, labels: Path | None, classes: '_Classes', reading: Reading) -> LabelledPicture | None:
    shown = reading.shown(path)
    split, name = split_and_name(shown)
    if labels is None:
        return reading.picture(path, split, name)
    try:
        if reading.is_outside(labels, 'label files'):
            raise LabelImageError('they lie outside of the folder')
        image = read_label_image(labels)
    except LabelImageError as error:
        return reading.leave_out(f'its labels are of no use ({error})', shown, 'pictures')
    if reading.options.values is None:
        _check_edges(image, reading.shown(labels))
    classes.palettes += image.coloured and image.palette is not None
    objects = [it for value, mask in image.masks() for it in classes.objects(path, labels, value, mask)]
    picture = reading.picture(path, split, name, image.size, labels=len(objects))
    if picture:
        picture.objects = objects
    return picture


def _check_edges(image: LabelImage, shown: str) -> None:
    """Refuse a picture whose edges are soft, so that each of their shades would be an object.

    Raises:
        ConversionError: most of its values are nowhere 3 x 3 pixels large.
    """
    values = {*np.unique(image.values).tolist()} - {0}
    thin = values - {*image.values[image.is_solid()].tolist()} if len(values) >= FEWEST else set()
    if 2 * len(thin) > len(values):
        raise ConversionError(f'{shown}: {len(thin)} of {len(values)} values are nowhere 3 x 3 pixels large, {SOFT}')


class _Classes:
    """What values stand for."""

    def __init__(self, reading: Reading) -> None:
        options = reading.options
        self.reading, self.are_classes = reading, options.values == 'classes'
        if options.class_map:
            self.map = read_class_map(options.class_map)
        else:
            self.map = find_class_map(reading.root, reading.label_files(OF_FOLDERS))
        self.values = self.scattered = 0  # how many there are; and of how many the pieces lie apart
        self.palettes = 0  # in which black is not number 0
        if self.map is None and self.are_classes:
            self.map = ClassMap(Path('--classes'), dict(enumerate(options.classes, 1)))
            if not options.classes:
                raise ConversionError('values that are classes need names: --classes in their order, or a --class-map')
        elif self.map is None and len(options.classes) > 1:
            raise ConversionError('nothing says which of the classes an object is: a --class-map does')
        elif self.map and self.map.shared and options.values is None:
            raise ConversionError(f'{self.map.path} gives a value the same class in all pictures, so {ASKED}')
        for name in self.map.categories if self.map else ():
            reading.category(name)

    def objects(self, picture: Path, labels: Path, value: int, mask: np.ndarray) -> Iterator[LabelledObject]:
        """The object of a value, or each piece of a class."""
        where, shown = f'{self.reading.shown(labels)}: value {value}', self.reading.shown(picture)
        only = self.reading.options.classes[0] if self.reading.options.classes else ANY
        name = self.map.class_of(shown, value) if self.map else only
        whole = LabelledObject(name or '', where, mask=rle_of(mask))
        self.values += 1
        self.scattered += self.reading.options.values is None and whole.pieces[0] > 1
        if name is None:
            self.reading.leave_out(f'{self.map.path.name} has no class for it', where)
        elif self.are_classes:
            for number, piece in enumerate(pieces(mask), 1):
                yield LabelledObject(self.reading.category(name), f'{where}, piece {number}', mask=rle_of(piece))
        else:
            self.reading.category(name)
            yield whole

    def check_values(self) -> None:
        """Refuse values that look like classes; note how palettes, and values without a class, were read.

        Raises:
            ConversionError: half of them have several pieces, or more.
        """
        fewest = FEWEST if self.map else 1  # a map of each picture's own speaks of objects
        if self.reading.options.values is None and self.values >= fewest and 2 * self.scattered >= self.values:
            raise ConversionError(f'{self.scattered} of {self.values} values have several pieces, so {ASKED}')
        if self.palettes:
            self.reading.notes.append(BLACK.format(self.palettes))
        if self.map is None and not self.reading.options.classes:
            self.reading.notes.append(f'all objects are of one class, {ANY!r}: --class-map says which they are')
