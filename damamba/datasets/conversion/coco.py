"""COCO: JSON files that list images, annotations and categories; each file is a split.

Polygons, run lengths, compressed or not, and boxes alone are read; further keys of images and annotations are kept.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.broken import why_no_runs
from damamba.datasets.conversion.coco_exports import mended, picture_file
from damamba.datasets.conversion.labels import LabelledObject, LabelledPicture, Part, Size
from damamba.datasets.conversion.reading import SPLITS, Reading, stated_size
from damamba.datasets.inspection.annotation_files import find_picture_folder, split_of
from damamba.datasets.inspection.defects import short_repr
from damamba.datasets.inspection.records import is_finite_number
from damamba.datasets.json_files import read_json

TITLE = 'COCO, that of CVAT and Label Studio too'
AGAIN = 'the picture is listed again'
GONE = ('the file is not there', 'the picture is not there')  # said of pictures, and of objects
LISTS = ('images', 'annotations', 'categories')
IMAGE_KEYS = ('id', 'file_name', 'width', 'height')  # written anew
OBJECT_KEYS = ('id', 'image_id', 'category_id', 'bbox', 'area', 'segmentation', 'iscrowd')


def recognise(folder: Path) -> str | None:
    """Why a folder looks like this format; None if it does not."""
    found = next((path for path in _json_files(folder) if _document(path)), None)
    return f'{found.relative_to(folder)} lists images, annotations and categories' if found else None


def read(reading: Reading) -> Iterator[LabelledPicture]:
    """The pictures of each file, in its order."""
    files = []
    for path in reading.label_files('*.json'):
        if _document(path):
            files.append(path)
        else:
            reading.leave_out('no images, annotations and categories in it', reading.shown(path), 'label files')
    files = _without_repeats(files, reading)
    listed = set()
    for path, split in zip(files, _splits(files, reading), strict=True):
        yield from _read_file(path, split, listed, reading)
    reading.note_unlisted(listed)


def _without_repeats(files: list[Path], reading: Reading) -> list[Path]:
    """Of files of one split that list the same pictures the one with most masks: COCO has further ones of keypoints."""
    by_split = defaultdict(list)
    for path in files:
        by_split[split_of(path)].append(path)
    left = set()
    for own in by_split.values():
        content = {path: _pictures_and_masks(path) for path in own} if len(own) > 1 else {}
        kept: list[Path] = []
        for path in sorted(content, key=lambda it: content[it][1], reverse=True):
            pictures, _, count = content[path]
            best = next((it for it in kept if pictures <= content[it][0]), None)
            if best is None:
                kept.append(path)
                continue
            left.add(path)
            why = f'{reading.shown(best)} lists the same pictures, and no fewer masks'
            reading.leave_out(why, reading.shown(path), 'label files')
            reading.leave_out(why, reading.shown(path), count=count)
    return [path for path in files if path not in left]


def _pictures_and_masks(path: Path) -> tuple[set[Path], int, int]:
    """The files of pictures that a file lists, how many masks it has, and how many annotations."""
    document = _document(path)
    names = [
        it['file_name'] for it in document['images'] if isinstance(it, Mapping) and isinstance(it.get('file_name'), str)
    ]
    entries = document['annotations']
    masks = sum(bool(it.get('segmentation')) for it in entries if isinstance(it, Mapping))
    folder = find_picture_folder(path, names)
    return {folder / name for name in names}, masks, len(entries)


def _json_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob('*.json') if path.is_file())


def _document(path: Path) -> Mapping | None:
    """What a file of COCO says; None of any other file."""
    try:
        found = read_json(path)
    except (ValueError, OSError):
        return None
    is_own = isinstance(found, Mapping) and all(isinstance(found.get(name), list) for name in LISTS)
    return found if is_own else None


def _splits(files: list[Path], reading: Reading) -> list[str]:
    """The name of each file's split: what its name says, or all of its path where two would be called the same."""
    names = [split_of(path) or ('all' if len(files) == 1 else path.stem) for path in files]
    paths = [reading.shown(path.with_suffix('')).replace('/', '_') for path in files]
    return [path if names.count(name) > 1 else name for name, path in zip(names, paths, strict=True)]


def _read_file(path: Path, split: str, listed: set[Path], reading: Reading) -> Iterator[LabelledPicture]:
    document, shown = mended(_document(path), reading), reading.shown(path)
    names = _categories(document, shown, reading)
    images = [it for it in document['images'] if isinstance(it, Mapping) and isinstance(it.get('file_name'), str)]
    reading.leave_out('no file_name', shown, 'pictures', len(document['images']) - len(images))
    by_image = defaultdict(list)
    for place, entry in enumerate(document['annotations']):
        entry = entry if isinstance(entry, Mapping) else {}
        by_image[_key(entry.get('image_id'))].append((f'{shown}: annotations[{place}]', entry))
    folder = find_picture_folder(path, [it['file_name'] for it in images])
    rows = [(image, by_image.pop(_key(image.get('id')), [])) for image in images]
    for image, entries, file in _with_files(rows, shown, [folder, path.parent, path.parent / 'images'], reading):
        listed.add(file)
        stated = stated_size(image.get('width'), image.get('height'))
        picture = reading.picture(file, split, _name(file, folder, reading), stated, labels=len(entries))
        if picture:
            picture.extra = {key: value for key, value in image.items() if key not in IMAGE_KEYS}
            size = stated or picture.size
            picture.objects = [it for entry in entries if (it := _object(*entry, names, size, reading))]
            yield picture
    for entries in by_image.values():
        reading.leave_out('no picture has the image_id', entries[0][0], count=len(entries))


def _with_files(
    rows: Sequence[tuple[Mapping, list]], shown: str, folders: Sequence[Path], reading: Reading
) -> Iterator[tuple[Mapping, list, Path]]:
    """Images with their annotations and their files; of a file that is listed again the first with annotations."""
    files = [picture_file(image['file_name'], reading, *folders, reading.root) for image, _ in rows]
    best: dict[Path | None, int] = {}
    for place in sorted(range(len(rows)), key=lambda place: not rows[place][1]):
        best.setdefault(files[place], place)
    for place, ((image, entries), file) in enumerate(zip(rows, files, strict=True)):
        if file is not None and best[file] == place:
            yield image, entries, file
            continue
        what, why = GONE if file is None else (AGAIN, AGAIN)
        reading.leave_out(what, f'{shown}: {short_repr(image["file_name"])}', 'pictures')
        reading.leave_out(why, entries[0][0] if entries else '', count=len(entries))


def _key(number: object) -> object:
    """An id as a key; of what is no number or text its text."""
    return number if isinstance(number, (int, str)) else repr(number)


def _name(file: Path, folder: Path, reading: Reading) -> str:
    """A picture's name in the folder of its split."""
    if file.is_relative_to(folder):
        return file.relative_to(folder).as_posix()
    steps = reading.shown(file).split('/')
    return '/'.join(steps[1:] if len(steps) > 1 and steps[0] in SPLITS else steps)


def _categories(document: Mapping, shown: str, reading: Reading) -> dict[object, str]:
    """Names by ids."""
    names = {}
    for place, entry in enumerate(document['categories']):
        name = entry.get('name') if isinstance(entry, Mapping) else None
        if not isinstance(name, str):
            reading.leave_out('no name', f'{shown}: categories[{place}]', 'categories')
        elif _key(entry.get('id')) in names:
            reading.leave_out('another has the same id', f'{shown}: categories[{place}]', 'categories')
        else:
            names[_key(entry.get('id'))] = reading.category(name)
    return names


def _object(where: str, entry: Mapping, names: Mapping, size: Size, reading: Reading) -> LabelledObject | None:
    """The object of an annotation; None if it is none, which is counted."""
    name = names.get(_key(entry.get('category_id')))
    if name is None:
        return reading.leave_out('no category has the category_id', where)
    extra = {key: value for key, value in entry.items() if key not in OBJECT_KEYS}
    own = dict(category=name, where=where, is_crowd=bool(entry.get('iscrowd')), extra=extra)
    segmentation = entry.get('segmentation')
    if isinstance(segmentation, Mapping):
        return _run_lengths(segmentation, own, size, reading)
    if segmentation:
        return _polygons(segmentation, own, reading)
    box = entry.get('bbox')
    if not isinstance(box, list) or [*map(is_finite_number, box)] != [True] * 4:
        return reading.leave_out('neither a segmentation nor a box', where)
    return LabelledObject(box=tuple(map(float, box)), **own)


def _run_lengths(rle: Mapping, own: dict, size: Size, reading: Reading) -> LabelledObject | None:
    if why := why_no_runs(dict(rle), size):
        return reading.leave_out(why, own['where'])
    if isinstance(rle['counts'], list):
        rle = coco_mask.frPyObjects(dict(rle), *rle['size'])
        rle['counts'] = rle['counts'].decode('ascii')
    return LabelledObject(mask=dict(rle), **own)


def _polygons(segmentation: object, own: dict, reading: Reading) -> LabelledObject | None:
    flat = segmentation if isinstance(segmentation, list) else []
    flat = [flat] if flat and not isinstance(flat[0], list) else flat  # one polygon without its list
    parts = []
    for polygon in flat:
        points = _points(polygon)
        if points is None:
            reading.leave_out('a polygon is no list of x and y', own['where'], 'parts')
        else:
            parts.append(Part(points))
    if not parts:
        return reading.leave_out('no polygon is of use', own['where'])
    return LabelledObject(parts=tuple(parts), **own)


def _points(flat: object) -> np.ndarray | None:
    """x, y, x, y ... as [N, 2]; None where it is something else."""
    try:
        numbers = np.asarray(flat, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return numbers.reshape(-1, 2) if numbers.ndim == 1 and len(numbers) and len(numbers) % 2 == 0 else None
