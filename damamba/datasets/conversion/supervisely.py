"""Supervisely: ``meta.json`` with the classes, and folders of pictures in ``img`` beside their labels in ``ann``.

Polygons have holes (interior), bitmaps lie at an origin, rectangles are boxes. Objects with one ``instance`` are one.

Whole numbers count pixels, as Supervisely's SDK has them: the last pixel of a rectangle is in it, and the corners of a
polygon are the middles of pixels. Fractions are places in the picture.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from damamba.datasets.conversion.bitmaps import BitmapError, mask_at
from damamba.datasets.conversion.geometry import unite
from damamba.datasets.conversion.labels import ConversionError, LabelledObject, LabelledPicture, Part, Size
from damamba.datasets.conversion.reading import Reading, points_of, split_and_name, stated_size, with_article
from damamba.datasets.inspection.defects import short_repr
from damamba.datasets.json_files import read_json

TITLE = 'Supervisely'
ENCLOSING = ('polygon', 'bitmap', 'rectangle')


def recognise(folder: Path) -> str | None:
    """Why a folder looks like this format; None if it does not."""
    if _classes(folder) is None:
        return None
    found = next((path for path in sorted(folder.rglob('ann')) if path.is_dir()), None)
    return f'meta.json names classes, and {found.relative_to(folder)} is there' if found else None


def read(reading: Reading) -> Iterator[LabelledPicture]:
    """The pictures of each folder in the order of names; each folder is a split where its name says so.

    Raises:
        ConversionError: there is no meta.json, or no folder of labels.
    """
    classes = _classes(reading.root)
    if classes is None:
        raise ConversionError(f'{reading.root} has no meta.json that names classes: name the folder of the project')
    for name in classes:
        reading.category(name)
    folders = [path for path in sorted(reading.root.rglob('ann')) if path.is_dir()]
    if not folders:
        raise ConversionError(f'{reading.root} has no folder ann with labels: name the folder of the project')
    for folder in folders:
        yield from _read_folder(folder, reading)


def _classes(folder: Path) -> list[str] | None:
    """The names of the classes, in the order of meta.json; None where there is none."""
    document = _read_json(folder / 'meta.json')
    classes = document.get('classes') if isinstance(document, Mapping) else None
    if not isinstance(classes, list):
        return None
    titles = [it.get('title') for it in classes if isinstance(it, Mapping)]
    return [title for title in titles if isinstance(title, str)]


def _read_json(path: Path) -> object:
    try:
        return read_json(path)
    except (ValueError, OSError):
        return None


def _read_folder(folder: Path, reading: Reading) -> Iterator[LabelledPicture]:
    pictures = {path: _labels_of(path, folder) for path in reading.picture_files(folder.parent / 'img')}
    for path in sorted(set(folder.glob('*.json')) - set(pictures.values())):
        document = _read_json(path)
        objects = document.get('objects') if isinstance(document, Mapping) else None
        reading.lost(path, len(objects) if isinstance(objects, list) else 0)
    for picture_file, path in pictures.items():
        document = _read_json(path) if path and not reading.is_outside(path, 'label files') else {}
        if not isinstance(document, Mapping) or not isinstance(document.get('objects', []), list):
            reading.leave_out('no file of Supervisely', reading.shown(path), 'label files')
            document = {}
        objects, size = document.get('objects', []), document.get('size')
        stated = stated_size(size.get('width'), size.get('height')) if isinstance(size, Mapping) else None
        named = split_and_name(reading.shown(picture_file).replace('/img/', '/'))
        of = (
            reading.picture(picture_file, *named, stated, len(objects))
            if path
            else reading.unlabelled(picture_file, *named)
        )
        if of:
            of.extra = _tags(document)
            of.objects = _objects(objects, reading.shown(path) if path else '', stated or of.size, reading)
            yield of


def _labels_of(picture: Path, folder: Path) -> Path | None:
    """The file of a picture's labels; None if there is none."""
    names = (f'{picture.name}.json', f'{picture.stem}.json')  # the second is that of old projects
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _objects(entries: list, shown: str, size: Size, reading: Reading) -> list[LabelledObject]:
    """Entries as objects, in their order; those of one instance and one class stand where the first of them does."""
    found: dict[object, list[LabelledObject]] = {}
    for number, entry in enumerate(entries):
        it = _object(entry, f'{shown}: object {number + 1}', size, reading)
        if it:
            instance = entry.get('instance')
            is_alone = instance is None or it.box is not None
            found.setdefault(number if is_alone else (it.category, repr(instance)), []).append(it)
    return [unite(group, size) for group in found.values()]


def _object(entry: object, where: str, size: Size, reading: Reading) -> LabelledObject | None:
    """The object of an entry; None if it is none, which is counted."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get('classTitle'), str):
        return reading.leave_out('the object has no classTitle', where)
    if entry['classTitle'] not in reading.categories:
        return reading.leave_out('meta.json has no such class', f'{where}, {short_repr(entry["classTitle"])}')
    kind = entry.get('geometryType')
    own = dict(category=entry['classTitle'], where=where, extra=_tags(entry))
    if kind not in ENCLOSING:
        return reading.leave_out(f'{with_article(kind)} is no mask and no box', where)
    if kind == 'bitmap':
        return _bitmap(entry.get('bitmap'), own, size, reading)
    points = entry.get('points')
    points = points if isinstance(points, Mapping) else {}
    exterior = points_of(points.get('exterior'))
    if exterior is None:
        return reading.leave_out('the exterior is no list of x and y', where)
    if kind == 'rectangle':
        (left, top), (right, bottom) = exterior.min(0).tolist(), exterior.max(0).tolist()
        last = int(_counts_pixels(exterior))
        return LabelledObject(box=(left, top, right - left + last, bottom - top + last), **own)
    interior = points.get('interior')
    holes = [points_of(hole) for hole in interior] if isinstance(interior, list) else []
    reading.leave_out('the interior is no list of x and y', where, 'holes', sum(hole is None for hole in holes))
    rings = [exterior, *(hole for hole in holes if hole is not None)]
    middle = 0.5 if all(map(_counts_pixels, rings)) else 0
    outline, *inner = (ring + middle for ring in rings)
    return LabelledObject(parts=(Part(outline, tuple(inner)),), **own)


def _counts_pixels(points: np.ndarray) -> bool:
    """Whether points [N, 2] are numbers of pixels: the SDK rounds down to these, the server has fractions."""
    return bool(np.all(points % 1 == 0))


def _bitmap(bitmap: object, own: dict, size: Size, reading: Reading) -> LabelledObject | None:
    bitmap = bitmap if isinstance(bitmap, Mapping) else {}
    origin = points_of([bitmap.get('origin')])
    if origin is None:
        return reading.leave_out('the origin of the bitmap is no place in the picture', own['where'])
    try:
        rle, cut = mask_at(bitmap.get('data'), origin[0], size)
    except BitmapError as error:
        return reading.leave_out(str(error), own['where'])
    reading.cut += cut
    return LabelledObject(mask=rle, **own)


def _tags(entry: Mapping) -> dict:
    """The tags of an object or of a picture, as attributes of COCO."""
    tags = entry.get('tags')
    named = [it for it in tags if isinstance(it, Mapping) and 'name' in it] if isinstance(tags, list) else []
    return dict(attributes={str(it['name']): it.get('value') for it in named}) if named else {}
