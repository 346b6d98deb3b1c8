"""Other tools' labels to COCO and to YOLO, counted on both sides: nothing is dropped in silence."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from damamba.datasets.conversion.checks import checked_pictures
from damamba.datasets.conversion.coco_writing import CocoWriter
from damamba.datasets.conversion.counting import COUNTED, PIECES, Tally, reasons_of
from damamba.datasets.conversion.formats import FORMATS, recognise
from damamba.datasets.conversion.labels import ConversionError, LeftOut, Options
from damamba.datasets.conversion.placing import check_name, check_places, made_whole
from damamba.datasets.conversion.reading import Reading, check_classes
from damamba.datasets.conversion.yolo_writing import YoloBoxWriter, YoloWriter
from damamba.datasets.inspection.defects import list_names

__all__ = ['FORMATS', 'WRITERS', 'Conversion', 'ConversionError', 'Options', 'convert']

TINY = 'and holes below a pixel none'
WRITERS = {'coco': CocoWriter, 'yolo-seg': YoloWriter, 'yolo': YoloBoxWriter}


@dataclass(frozen=True)
class Conversion:
    """What was converted."""

    source: str  # the name of its format
    why: str  # what it was recognised by
    target: str
    categories: list[str]
    read: Tally
    written: Tally  # counted in the files
    left_out: LeftOut
    notes: list[str]


def convert(
    source: Path,
    target: Path,
    source_format: str | None = None,
    target_format: str = 'coco',
    options: Options | None = None,
    copy: bool = False,
    on_picture: Callable[[int], object] = lambda done: None,
) -> Conversion:
    """Read the labels in a folder and write them, with their pictures, into a new one; the source is left as it is.

    Args:
        source: the folder of labels and pictures.
        target: the folder to write: a new or an empty one.
        source_format: one of :data:`FORMATS`; by default it is recognised.
        target_format: one of :data:`WRITERS`.
        options: what else is asked for.
        copy: copy pictures; by default they are the same files under a second name, where the file system has that.
        on_picture: called with how many pictures are done, after each.

    Raises:
        ConversionError: it can't be done; the text says why.
        OSError: a file can't be read or written.
    """
    check_places(source, target)
    name, why = (source_format, 'as asked for') if source_format else recognise(source)
    reading = Reading(source, options or Options())
    with made_whole(target) as folder:
        reading.scratch = folder / '.embedded'
        writer = WRITERS[target_format](folder, reading, copy)
        names = set()
        for done, picture in enumerate(checked_pictures(reading, FORMATS[name].read), 1):
            check_name(picture.name)
            if (picture.split, picture.name) in names:
                raise ConversionError(f'two pictures of {picture.split} are called {picture.name}: rename one')
            names.add((picture.split, picture.name))
            writer.add(picture)
            on_picture(done)
        if not names:
            raise ConversionError(_without(source, 'picture that can be used', reading))
        check_classes(reading)
        shutil.rmtree(reading.scratch, ignore_errors=True)
        written = writer.finish()
        _compare(reading, written)
        if reading.met.objects and not written.objects:
            raise ConversionError(_without(source, f'object that can be used, of {reading.met.objects:,}', reading))
        if not reading.wanted:
            raise ConversionError(_without(source, f'class when it is read as {name}', reading))
        _note_empty_classes(reading, written)
    return Conversion(name, why, target_format, reading.wanted, reading.met, written, reading.left_out, reading.notes)


def _without(source: Path, what: str, reading: Reading) -> str:
    """That a source has nothing of a kind, with all that was left out and what is known of it."""
    reasons = '; '.join([*reasons_of(reading.left_out), *reading.notes])
    return f'{source} has no {what}{f": {reasons}" if reasons else ""}'


def _note_empty_classes(reading: Reading, written: Tally) -> None:
    """Say which classes have no object, and how they are left out, unless they were asked for."""
    used = [name for name in reading.wanted if written.classes[name]]
    if not reading.options.classes and 0 < len(used) < len(reading.wanted):
        empty = list_names([name for name in reading.wanted if name not in used])
        line = shlex.join(['--classes', *used])
        reading.notes.append(
            f'classes without an object, which a training learns nothing of: {empty}; without them: {line}'
        )


def _compare(reading: Reading, written: Tally) -> None:
    """Hold what was written against what was read, and say where parts and holes differ.

    Raises:
        ConversionError: pictures or objects are missing.
    """
    unlike = []
    for what in COUNTED:
        due, found = getattr(reading.met, what) - reading.left_out.total(what), getattr(written, what)
        if due != found and what not in PIECES:
            raise ConversionError(f'{due} {what} are due, and {found} were written: please report it')
        unlike += [f'{due:,} {what} are {found:,}'] if due != found else []
    if unlike:
        reading.notes.append(f'{" and ".join(unlike)} there: pieces that touch at a point are one or several, {TINY}')
