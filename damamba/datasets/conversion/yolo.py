"""YOLO: a text file beside each picture's, a line an object, in shares of the picture's width and height.

``class x y width height`` is a box, from its middle; ``class x y x y x y ...`` an outline; one more number behind
either is a confidence. Keypoints, which ``data.yaml`` announces, stand behind boxes. Neither of these is read.

``data.yaml`` names the classes and says where the pictures of each split lie; the labels lie in ``labels`` where the
path of the pictures has ``images``, or beside the pictures. Several parts and holes are one outline, joined by lines
that are walked there and back.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import yaml

from damamba.datasets.conversion.geometry import take_apart
from damamba.datasets.conversion.labels import ConversionError, LabelledObject, LabelledPicture, Part
from damamba.datasets.conversion.reading import SPLITS, Reading
from damamba.datasets.inspection.defects import list_names, short_repr

TITLE = 'YOLO, outlines or boxes'
NAMES = ('classes.txt', 'obj.names')  # a name a line, where there is no data.yaml
NOT_LABELS = (*NAMES, 'train.txt', 'val.txt', 'test.txt')
LARGEST = 2**20  # bytes of a data.yaml; COCO's has 3,000
LONGEST = 2**28  # bytes of a file of labels
PROBED = 20  # text files that are looked into to know the format
DARKNET = re.compile(r'^obj_(\w+)_data$')  # a folder of a split
BOX = 5  # numbers of a line


def recognise(folder: Path) -> str | None:
    """Why a folder looks like this format; None if it does not."""
    if settings := _find_settings(folder):
        return f'{settings[0].name} names classes'
    found = [path for path in _label_files(folder) if _is_label_file(path)]
    return f'{found[0].relative_to(folder)} has lines of numbers' if found else None


def read(reading: Reading) -> Iterator[LabelledPicture]:
    """The pictures of every split, in the order of names.

    Raises:
        ConversionError: nothing says where the pictures are, or what the classes are called.
    """
    _, settings = _find_settings(reading.root) or (None, {})
    pictures = _find_pictures(reading, settings)
    if not pictures:
        raise ConversionError(
            f'{reading.root} has no pictures where {TITLE} has them: in images/, or beside the labels'
        )
    names, keypoints = _names(reading, settings), _keypoints(settings)
    again = [name for name, count in Counter(names).items() if count > 1]
    if again:
        reading.notes.append(f'several class numbers have one name, and become one class: {list_names(again)}')
    reading.categories.extend(name for name in dict.fromkeys(names) if name not in reading.categories)
    stems = Counter(_labels_of(path, reading.root) for path, *_ in pictures)
    for labels, count in stems.items():
        if count > 1:
            reading.notes.append(f'{count} pictures share the labels {reading.shown(labels)}: each has its objects')
    _report_orphans(reading, set(stems))
    for path, split, name in pictures:
        labels = _labels_of(path, reading.root)
        lines = _lines(labels, reading)
        is_labelled = labels.is_file()
        picture = (
            reading.picture(path, split, name, labels=len(lines))
            if is_labelled
            else reading.unlabelled(path, split, name)
        )
        if picture:
            picture.objects = [it for line in lines if (it := _object(*line, picture, names, keypoints, reading))]
            yield picture
    reading.note_unlisted({path for path, *_ in pictures})


def _find_settings(folder: Path) -> tuple[Path, Mapping] | None:
    """The file that names classes and splits, and what is in it."""
    for path in sorted((*folder.glob('*.yaml'), *folder.glob('*.yml'))):
        try:
            found = _load(path)
        except ConversionError:
            if path.stem == 'data':
                raise
        else:
            if isinstance(found, Mapping) and 'names' in found:
                return path, found
    return next(((path, _darknet(path)) for path in sorted(folder.glob('*.data')) if 'names' in _darknet(path)), None)


def _darknet(path: Path) -> dict:
    """What Darknet's ``obj.data`` says, as CVAT writes it: lines such as ``train = data/train.txt``."""
    pairs = [line.partition('=') for _, line in _text(path)] if path.stat().st_size <= LARGEST else []
    settings: dict = {key.strip(): value.strip() for key, _, value in pairs}
    names = path.parent / Path(settings.pop('names', '')).name
    return settings | dict(names=[line for _, line in _text(names)]) if names.is_file() else settings


def _load(path: Path) -> object:
    if path.stat().st_size > LARGEST:
        raise ConversionError(f'{path} is too long to be settings of a data set')
    try:
        return yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConversionError(f'{path} can not be read as YAML: {" ".join(str(error).split())}') from error


def _names(reading: Reading, settings: Mapping) -> list[str]:
    """The name of each number, from 0 on."""
    names = settings.get('names')
    if isinstance(names, Mapping):
        if not all(type(key) is int and 0 <= key < LARGEST for key in names) or not names:
            raise ConversionError(f'names of data.yaml must go by whole numbers from 0 on, got {short_repr(names)}')
        names = [names.get(number, f'class {number}') for number in range(max(names) + 1)]
    if names is None:
        files = [folder / name for folder in (reading.root, reading.root / 'labels') for name in NAMES]
        found = next((path for path in files if path.is_file()), None)
        names = [line for _, line in _text(found)] if found else []
        names = names or list(reading.options.classes)
    if not isinstance(names, list) or not names:
        raise ConversionError('nothing says what the classes are called: add --classes with their names, in order')
    if not all(isinstance(name, str | int | float) for name in names):  # YAML takes 1 and yes for what they look like
        raise ConversionError(f'names of data.yaml must be names, got {short_repr(names)}')
    if settings.get('nc') not in (None, len(names)):
        reading.notes.append(f'data.yaml says nc: {short_repr(settings["nc"])}, and has {len(names)} names')
    return [str(name) for name in names]


def _keypoints(settings: Mapping) -> tuple[int, int]:
    """How many keypoints stand behind a box, and of how many numbers each; 0 where there are none."""
    shape = settings.get('kpt_shape')
    is_shape = isinstance(shape, list) and len(shape) == 2 and all(type(it) is int for it in shape)
    return (shape[0], shape[1]) if is_shape else (0, 0)


def _text(path: Path) -> list[tuple[int, str]]:
    """The lines of a file that have something in them, with their numbers."""
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except ValueError as error:
        raise ConversionError(f'{path} is no text in UTF-8: save it as that') from error
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def _find_pictures(reading: Reading, settings: Mapping) -> list[tuple[Path, str, str]]:
    """Each picture with its split and its name there."""
    root, found, of_splits = reading.root, [], {}
    for key, split in SPLITS.items():
        entries = settings.get(key)
        entries = entries if isinstance(entries, list) else [entries] if entries else []
        first = of_splits.setdefault(repr(entries), split)
        if first != split and entries:
            reading.notes.append(f'{split} has the same pictures as {first}: they are read as {first} alone')
            continue
        for entry in entries:
            found += _in_entry(reading, settings, entry, split)
    if found:
        return _once(found)
    images = root / 'images' if (root / 'images').is_dir() else root
    for path in reading.picture_files(images):
        first, *rest = path.relative_to(images).parts
        split = SPLITS.get(DARKNET.sub(r'\1', first)) if rest else None
        steps = [step for step in (rest if split else (first, *rest)) if split is None or step != 'images']
        found.append((path, split or 'all', '/'.join(steps)))
    return found


def _once(found: list[tuple[Path, str, str]]) -> list[tuple[Path, str, str]]:
    return list({(path, split): (path, split, name) for path, split, name in found}.values())


def _in_entry(reading: Reading, settings: Mapping, entry: object, split: str) -> list[tuple[Path, str, str]]:
    """The pictures of a folder, or of a file that lists them; a path that leads elsewhere is looked for below here."""
    base, place = settings.get('path'), None
    if isinstance(entry, str):
        inside = _below(reading, Path(base) / entry) if isinstance(base, str) else None
        place = inside or _below(reading, Path(entry))
    if place is None:
        reading.notes.append(f'{split}, {short_repr(entry)}, is not in the folder: it is left out')
        return []
    if place.is_dir():
        return [(path, split, path.relative_to(place).as_posix()) for path in reading.picture_files(place)]
    found = []
    for number, line in _text(place):
        path = reading.below(line, reading.root, place.parent)
        if path is None:
            reading.leave_out('the file is not there', f'{reading.shown(place)}:{number}', 'pictures')
        else:
            steps = [
                step
                for step in reading.shown(path).split('/')
                if step not in ('images', *SPLITS) and not DARKNET.match(step)
            ]
            found.append((path, split, '/'.join(steps)))
    return found


def _below(reading: Reading, path: Path) -> Path | None:
    """A folder or file of the source; of a path that leads elsewhere the longest end that is there."""
    steps = [step for step in path.parts if step not in ('..', '/', '.')]
    for start in range(len(steps) + 1):
        inside = reading.root.joinpath(*steps[start:])
        if inside.exists() and not reading.why_unused(inside) and (inside != reading.root or not steps):
            return inside
    return None


def _labels_of(picture: Path, root: Path) -> Path:
    """Where the labels of a picture lie: ``labels`` in place of the last ``images`` of its path, or beside it."""
    steps = list(picture.relative_to(root).parts)
    if 'images' in steps[:-1]:
        place = len(steps) - 2 - steps[-2::-1].index('images')
        return root.joinpath(*steps[:place], 'labels', *steps[place + 1 :]).with_suffix('.txt')
    return picture.with_suffix('.txt')


def _label_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob('*.txt')) if path.name not in NOT_LABELS][:PROBED]


def _is_label_file(path: Path) -> bool:
    try:
        with path.open(encoding='utf-8') as file:
            line = file.readline(LARGEST).split()
        return len(line) >= BOX and all(math.isfinite(float(value)) for value in line) and float(line[0]) % 1 == 0
    except ValueError:
        return False


def _lines(path: Path, reading: Reading) -> list[tuple[str, str]]:
    """The lines of a label file that have something in them, each with where it is."""
    if not path.is_file() or reading.is_outside(path, 'label files'):
        return []
    try:
        if path.stat().st_size > LONGEST:
            raise ConversionError('too long')
        return [(f'{reading.shown(path)}:{number}', line) for number, line in _text(path)]
    except ConversionError:
        reading.leave_out('no text in UTF-8, or longer than any', reading.shown(path), 'label files')
        return []


def _object(
    where: str, line: str, picture: LabelledPicture, names: list[str], keypoints: tuple[int, int], reading: Reading
) -> LabelledObject | None:
    """The object of a line; None if it is none, which is counted."""
    try:
        numbers = [float(value) for value in line.split()]
    except ValueError:
        return reading.leave_out('the line has something else than numbers', where)
    number, values = numbers[0], numbers[1:]
    if not math.isfinite(number) or number % 1 or not 0 <= number < len(names):
        return reading.leave_out(f'the class number is none of 0 to {len(names) - 1}', where)
    if len(values) < BOX - 1:
        return reading.leave_out('the line has fewer than 5 numbers', where)
    points = values[4:] if len(values) == 4 + math.prod(keypoints) else []
    if points:
        reading.leave_out('not read', where, 'keypoints', keypoints[0])
    elif len(values) % 2:
        reading.leave_out('not read', where, 'confidences')
    if points or len(values) <= BOX:
        x, y, width, height = np.array(values[:4]) * (*picture.size, *picture.size)
        return LabelledObject(names[int(number)], where, box=(x - width / 2, y - height / 2, width, height))
    outline = np.array(values[: len(values) // 2 * 2]).reshape(-1, 2)
    return LabelledObject(names[int(number)], where, parts=tuple(_scaled(it, picture) for it in take_apart(outline)))


def _scaled(part: Part, picture: LabelledPicture) -> Part:
    """A part in pixels."""
    return Part(part.outline * picture.size, tuple(hole * picture.size for hole in part.holes))


def _report_orphans(reading: Reading, used: set[Path]) -> None:
    """Count labels without a picture, where those of pictures lie."""
    for path in sorted(path for folder in {path.parent for path in used} for path in folder.glob('*.txt')):
        is_label = 'labels' in path.parent.parts[len(reading.root.parts) :] or _is_label_file(path)
        if path not in used and path.name not in NOT_LABELS and is_label:
            reading.lost(path, len(_lines(path, reading)))
