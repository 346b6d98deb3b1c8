"""LabelMe: a JSON file for each picture, with shapes in pixels.

Polygons, circles, turned rectangles and masks are masks; a rectangle is a box. Shapes of one label and one ``group_id``
are one object. Lines and points enclose nothing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from damamba.datasets.conversion.bitmaps import BitmapError, embedded_picture, mask_at
from damamba.datasets.conversion.geometry import unite
from damamba.datasets.conversion.labels import LabelledObject, LabelledPicture, Part, Size
from damamba.datasets.conversion.reading import SUFFIXES, Reading, points_of, split_and_name, stated_size, with_article
from damamba.datasets.json_files import read_json

TITLE = 'LabelMe'
PROBED = 20  # JSON files that are looked into to know the format
ROUND = 0.05  # pixels by which the polygon of a circle may leave it
POLYGONS = ('polygon', 'oriented_rectangle', 'rotation', 'quadrilateral')  # the last two are X-AnyLabeling's
BOXED = 'a box of an object that has a mask'


def recognise(folder: Path) -> str | None:
    """Why a folder looks like this format; None if it does not."""
    for path in sorted(folder.rglob('*.json'))[:PROBED]:
        if _document(path):
            return f'{path.relative_to(folder)} has shapes and an imagePath'
    return None


def read(reading: Reading) -> Iterator[LabelledPicture]:
    """The pictures of each file in the order of names, then those without one."""
    labelled, unpacked = set(), 0
    for path in reading.label_files('*.json'):
        shown, document = reading.shown(path), _document(path)
        if document is None:
            reading.leave_out('no file of LabelMe', shown, 'label files')
            continue
        shapes = document['shapes']
        named = _picture_of(str(document.get('imagePath') or ''), path, reading)
        if named is None and document.get('imageData') and reading.scratch:
            try:
                named = _unpacked(document['imageData'], path, reading)
                unpacked += 1
            except BitmapError as error:
                reading.lost(path, len(shapes), f'the picture is not there, and {error}')
                continue
        if named is None:
            reading.lost(path, len(shapes))
            continue
        if named in labelled:
            reading.leave_out('another file has labels of the same picture', shown, 'label files')
            reading.leave_out('another file has labels of the same picture', shown, count=len(shapes))
            continue
        labelled.add(named)
        stated = stated_size(document.get('imageWidth'), document.get('imageHeight'))
        split, name = split_and_name(reading.shown(named))
        picture = reading.picture(named, split, name, stated, labels=len(shapes))
        if picture:
            picture.objects = _objects(shapes, shown, picture, stated, reading)
            yield picture
    for path in reading.picture_files(reading.root):
        if path not in labelled and (picture := reading.unlabelled(path, *split_and_name(reading.shown(path)))):
            yield picture
    if unpacked:
        reading.notes.append(
            f'pictures that lie in the label files alone are taken from there (imageData): {unpacked:,}'
        )


def _unpacked(text: object, path: Path, reading: Reading) -> Path:
    """The picture that lies in a label file, as a file of the same name."""
    content, suffix = embedded_picture(text)
    file = reading.scratch / reading.shown(path.with_suffix(suffix))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def _document(path: Path) -> Mapping | None:
    """What a file of LabelMe says; None of any other file."""
    try:
        found = read_json(path)
    except (ValueError, OSError):
        return None
    is_own = isinstance(found, Mapping) and isinstance(found.get('shapes'), list) and 'imagePath' in found
    return found if is_own else None


def _picture_of(name: str, path: Path, reading: Reading) -> Path | None:
    """The picture that a file of labels names: from its folder on, beside it, from the source on, or wherever it is."""
    return reading.below(name, path.parent) or _beside(path) or reading.below(name) or reading.only(name)


def _beside(path: Path) -> Path | None:
    """A picture of the same name beside a file."""
    return next((it for suffix in SUFFIXES if (it := path.with_suffix(suffix)).is_file()), None)


def _objects(
    shapes: Sequence, shown: str, picture: LabelledPicture, stated: Size | None, reading: Reading
) -> list[LabelledObject]:
    """Shapes as objects, in their order; a group stands where its first shape does."""
    size = stated or picture.size
    found: dict[object, list[LabelledObject]] = {}
    for number, shape in enumerate(shapes):
        it = _object(shape, f'{shown}: shape {number + 1}', size, reading)
        if it:
            reading.category(it.category)
            group = shape.get('group_id')
            key = number if group is None else (it.category, repr(group))
            found.setdefault(key, []).append(it)
    return [_united(group, size, reading) for group in found.values()]


def _united(group: Sequence[LabelledObject], size: Size, reading: Reading) -> LabelledObject:
    """The shapes of a group as one object; they were counted one by one, and are one from here on."""
    masked = [it for it in group if it.box is None]
    if not masked:
        for it in group[1:]:
            reading.leave_out('another box of a group', it.where)
        return group[0]
    for it in group:
        if it.box is not None:
            reading.leave_out(BOXED, it.where, 'boxes')
    return unite(masked, size)


def _object(shape: object, where: str, size: Size, reading: Reading) -> LabelledObject | None:
    """The object of a shape; None if it is none, which is counted."""
    if not isinstance(shape, Mapping) or not isinstance(shape.get('label'), str):
        return reading.leave_out('the shape has no label', where)
    kind = shape.get('shape_type') or 'polygon'
    points = points_of(shape.get('points'))
    if points is None:
        return reading.leave_out('the points are no list of x and y', where)
    attributes = {key: shape[key] for key in ('flags', 'description') if shape.get(key)}
    own = dict(category=shape['label'], where=where, extra=dict(attributes=attributes) if attributes else {})
    if kind in POLYGONS:
        return LabelledObject(parts=(Part(points),), **own)
    if kind not in ('rectangle', 'circle', 'mask'):
        return reading.leave_out(f'{with_article(kind)} encloses nothing', where)
    if len(points) != 2 and (kind, len(points)) != ('rectangle', 4):  # X-AnyLabeling has all corners
        return reading.leave_out(f'a {kind} of {len(points)} points, not 2', where)
    if kind == 'rectangle':
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        return LabelledObject(box=(left, top, right - left, bottom - top), **own)
    if kind == 'circle':
        return LabelledObject(parts=(Part(_circle(*points)),), **own)
    try:
        rle, cut = mask_at(shape.get('mask'), points.min(0), size)
    except BitmapError as error:
        return reading.leave_out(str(error), where)
    reading.cut += cut
    return LabelledObject(mask=rle, **own)


def _circle(middle: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """A polygon around a middle through a point: [N, 2], as many as keep it within ROUND of the circle."""
    radius = float(np.hypot(*(edge - middle)))
    count = max(math.ceil(math.pi / math.acos(1 - ROUND / radius)), 12) if 1 < radius < 2**24 else 12
    angles = np.arange(count) * 2 * np.pi / count
    return middle + radius * np.stack((np.cos(angles), np.sin(angles)), 1)
