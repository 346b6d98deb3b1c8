"""One set of Pascal VOC: which files belong to a picture, and what the numbers and colours of classes stand for."""

from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from damamba.datasets.conversion.label_images import LOSSLESS, LabelImage, key_of, read_label_image
from damamba.datasets.conversion.labels import ConversionError
from damamba.datasets.conversion.reading import Reading
from damamba.datasets.conversion.voc_files import (
    Colour,
    Entries,
    names_by_number,
    read_names,
    read_xml,
    standard_colour,
)

OBJECTS, CLASSES = 'SegmentationObject', 'SegmentationClass'
FOLDERS = ('jpegimages', 'images', 'img', 'imgs', 'annotations', 'labels', OBJECTS.lower(), CLASSES.lower())


@dataclass
class VocSet:
    """One set: its files, by what a picture and its labels have in common; and the names of its classes."""

    reading: Reading
    base: Path
    pictures: dict[str, Path] = field(default_factory=dict)
    xmls: dict[str, Path] = field(default_factory=dict)
    objects: dict[str, Path] = field(default_factory=dict)
    classes: dict[str, Path] = field(default_factory=dict)
    colours: dict[Colour, str] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)

    def find_files(self) -> None:
        """Sort the files; labels without a picture are counted as left out."""
        for path in self.reading.picture_files(self.base):
            folders = path.relative_to(self.base).parts[:-1]
            kind = next(
                (it for name, it in ((OBJECTS, self.objects), (CLASSES, self.classes)) if name in folders), None
            )
            if kind is None:
                self._add(self.pictures, self.key(path), path, 'pictures')
            elif path.suffix.lower() in LOSSLESS and not self.reading.is_outside(path, 'label files'):
                self._add(kind, self.key(path), path, 'label files')
        for path in self.reading.label_files('*.xml'):
            if path.is_relative_to(self.base):
                self._add_xml(path)
        for kind in (self.objects, self.classes):
            for key in kind.keys() - self.pictures.keys():
                self.reading.leave_out('the picture is not there', self.reading.shown(kind.pop(key)), 'label files')

    def _add(self, kind: dict[str, Path], key: str, path: Path, what: str) -> None:
        if kind.setdefault(key, path) is not path:
            self.reading.leave_out('another has the same name but for its end', self.reading.shown(path), what)

    def _add_xml(self, path: Path) -> None:
        """By its own name, or else by the picture that it names."""
        entries, shown = read_xml(path), self.reading.shown(path)
        if entries is None:
            return self.reading.leave_out('no XML of Pascal VOC', shown, 'label files')
        named = PureWindowsPath(entries.file_name).as_posix()
        beside = (path.parent.relative_to(self.base) / named).as_posix()
        keys = [self.key(path), key_of(beside, FOLDERS), key_of(named, FOLDERS)]
        key = next((it for it in keys if it in self.pictures), None)
        if key is not None:
            return self._add(self.xmls, key, path, 'label files')
        self.reading.leave_out('the picture is not there', shown, 'label files')
        return self.reading.leave_out('the picture is not there', shown, count=len(entries.objects))

    def key(self, path: Path) -> str:
        return key_of(path.relative_to(self.base).as_posix(), FOLDERS)

    def entries(self, key: str) -> Entries:
        """What the XML file of a picture says; nothing where there is none."""
        return (read_xml(self.xmls[key]) if key in self.xmls else None) or Entries('', None, [])

    def find_names(self) -> None:
        """What colours and numbers of classes stand for; and the classes, in that order, as far as they are known."""
        self.colours = read_names(self.base)
        in_xml = {it.name for key in self.xmls if self.classes for it in self.entries(key).objects} - {''}
        classes = self.reading.options.classes
        self.numbers = names_by_number(self.colours, in_xml, tuple(classes))
        named = [name for colour, name in self.colours.items() if any(colour)]  # black is the background
        for name in named or (classes if self.numbers[1:] == [*classes] else ()):
            self.reading.category(name)

    def labels(self, path: Path) -> LabelImage:
        """The labels in a file; where colours have names, grey ones, of 8 bits too where

        Raises:
            LabelImageError: it has none.
        """
        return read_label_image(path, may_be_grey=not self.colours)

    def name_of(self, labels: LabelImage, value: int) -> str:
        """The class that a value of SegmentationClass stands for.

        Raises:
            ConversionError: nothing says it.
        """
        colour = labels.colour(value)
        if colour in self.colours:
            return self.colours[colour]
        number = next((n for n in range(256) if standard_colour(n) == colour), None) if labels.coloured else value
        if number is None or number >= len(self.numbers):
            what = f'the colour {colour}' if labels.coloured else f'class {value}'
            text = f'nothing says what {what} of {CLASSES} is: name the classes with --classes, in the order of their'
            raise ConversionError(f'{text} numbers from 1 on, or their colours in {self.base / "labelmap.txt"}')
        return self.numbers[number]
