"""Which files of a folder are COCO's annotations, and where the pictures that they list lie."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from damamba.datasets.inspection.defects import told

SPLITS = {
    **dict.fromkeys(('train', 'training'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation', 'minival'), 'val'),
    **dict.fromkeys(('test', 'testing'), 'test'),
}
SAMPLE = 50  # file names that a folder of pictures is tried with
MOST = 5  # names that are said


class InspectionError(ValueError):
    """There is nothing to inspect; the text says why."""


def find_json(path: Path) -> list[Path]:
    """The file itself, or every JSON file below a folder, through links too.

    Raises:
        InspectionError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InspectionError(f'{path} does not exist; wanted an annotation file, or a folder with some')
    found = sorted(_below(path))
    if not found:
        raise InspectionError(f'{path} has no .json file in it: where are the annotations?')
    return found


def _below(folder: Path) -> Iterator[Path]:
    seen = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in seen:
            inner.clear()  # a link to a folder above it
            continue
        seen.add(os.path.realpath(place))
        yield from (Path(place, name) for name in names if name.lower().endswith('.json'))


def read_json(path: Path):
    """What is in a file.

    Raises:
        ValueError: it is no JSON; the text says where.
    """
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError('lists within lists, too deep to read') from error
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def why_not_coco(document) -> str | None:
    """Why a JSON file of a folder is not one of objects in COCO's format; None if it is."""
    if not isinstance(document, dict):
        return 'no object with images, annotations and categories'
    lacking = [name for name in ('images', 'annotations', 'categories') if name not in document]
    if lacking:
        return f'no {", ".join(lacking)}'
    annotations = document['annotations']
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    return 'panoptic segments' if isinstance(first, dict) and 'segments_info' in first else None


def split_of(path: Path) -> str | None:
    """``train``, ``val`` or ``test``: a word of the file's name, or else all of its folder's; None for any other."""
    folder = re.sub(r'\d+$', '', path.resolve().parent.name.lower())
    for words in (re.findall('[a-z]+', path.stem.lower()), [folder]):
        found = {SPLITS[word] for word in words if word in SPLITS}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def guess_folder(path: Path, names: Sequence[str]) -> Path:
    """The folder that most of the pictures are in, of those where data sets have them.

    COCO has ``train2017/`` beside ``annotations/instances_train2017.json``, ARMBench ``images/`` beside the file,
    others the pictures themselves.
    """
    beside, above = path.parent, path.parent.parent
    own = dict.fromkeys([path.stem, path.stem.split('_', 1)[-1], split_of(path) or 'images'])
    places = [*(above / name for name in own), beside / 'images', *(beside / name for name in own)]
    places += [above / 'images', *(above / 'images' / name for name in own), beside, above]
    folders = [place for place in places if place.is_dir()]
    sample = names[:: max(len(names) // SAMPLE, 1)][:SAMPLE]
    return max(folders, key=lambda folder: sum(has_file(folder, name) for name in sample), default=beside)


def has_file(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def shorten(names: Sequence[str], most: int = MOST) -> str:
    """A few names, and how many more there are."""
    return _few([told(name).strip('\'"') for name in names[:most]], len(names))


def group(names: Sequence[str]) -> str:
    """A few files, what they share said once: ``{mix, other}/{test, train}.json, all.json``."""
    stems, folders = defaultdict(list), defaultdict(list)
    for path in map(PurePath, names):
        stems[path.parent, path.suffix].append(path.stem)
    for (folder, suffix), found in stems.items():
        folders[tuple(found), suffix].append(str(folder))
    groups = [str(PurePath(_braced(where), f'{_braced(found)}{suffix}')) for (found, suffix), where in folders.items()]
    return _few(groups[:MOST], len(groups))


def _braced(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f'{{{shorten(names)}}}'


def _few(shown: Sequence[str], count: int) -> str:
    return ', '.join(shown) + (f' and {count - len(shown):,} more' if count > len(shown) else '')
