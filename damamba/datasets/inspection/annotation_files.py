"""Annotation files: which of a folder are COCO's, their splits, where their pictures lie, how categories differ."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

from damamba.datasets.inspection.defects import list_names
from damamba.datasets.inspection.records import AnnotationFile
from damamba.datasets.json_files import read_json

SPLITS = {  # by the words that name them
    'train': {'train', 'training'},
    'val': {'val', 'valid', 'validation', 'minival'},
    'test': {'test', 'testing'},
}
SAMPLE = 50  # file names that a folder of pictures is tried with
BY_NAME = 'where categories differ between files, NamedCocoDataset and ARMBenchDataset go by their names'


class InspectionError(ValueError):
    """There is nothing to inspect; the text says why."""


def read_annotation_files(path: Path, images: Path | None) -> tuple[list[AnnotationFile], dict[str, str]]:
    """COCO's files, checked, and why others were left out. A file that was named itself is taken for one of COCO's."""
    files, left_out = [], {}
    for place in _find_json_files(path):
        name = place.name if place == path else str(place.relative_to(path))
        file = AnnotationFile(name, split_of(place), images or place.parent)
        document, problem = _read_json_file(place)
        if not problem and place != path and (reason := _why_not_coco(document)):
            left_out[name] = reason
            continue
        files.append(file)
        if problem:
            file.report('not_json', problem)
        else:
            file.read(document)
            file.folder = images or find_picture_folder(place, [picture.file_name for picture, _ in file.located()])
    if not files:
        raise InspectionError(f"{path} has no annotations in COCO's format in it, only {list_names(list(left_out))}")
    return files, left_out


def _find_json_files(path: Path) -> list[Path]:
    """The file itself, or every JSON file below a folder, through links too."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InspectionError(f'{path} does not exist; wanted an annotation file, or a folder with some')
    found, seen = [], set()
    for place, inner, names in os.walk(path, followlinks=True):
        if os.path.realpath(place) in seen:  # by a link
            inner.clear()
        else:
            found += [Path(place, name) for name in names if name.lower().endswith('.json')]
        seen.add(os.path.realpath(place))
    if not found:
        raise InspectionError(f'{path} has no .json file in it: where are the annotations?')
    return sorted(found)


def _read_json_file(path: Path) -> tuple[object, str | None]:
    """What is in a file, or why it is no JSON: to MMDetection, which reads UTF-8 without a byte-order mark."""
    try:
        return read_json(path), None
    except UnicodeDecodeError as error:
        return None, f'not UTF-8 ({error}): save it as that'
    except (OSError, ValueError) as error:
        if 'BOM' in str(error):
            return None, 'it begins with a byte-order mark: save it as UTF-8 without one'
        return None, getattr(error, 'strerror', None) or str(error)


def _why_not_coco(document) -> str | None:
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
    words, folder = re.findall('[a-z]+', path.stem.lower()), re.sub(r'\d+$', '', path.resolve().parent.name.lower())
    found = [split for split, own in SPLITS.items() if own.intersection(words)]
    found = found or [split for split, own in SPLITS.items() if folder in own]
    return found[0] if len(found) == 1 else None


def find_picture_folder(path: Path, names: Sequence[str]) -> Path:
    """The folder that most of the pictures are in, of those where COCO, ARMBench and others have theirs."""
    beside, above = path.parent, path.parent.parent
    ends = path.stem.split('_', 1)[-1], path.stem.rsplit('_', 1)[-1]  # person_keypoints_train2017
    own = dict.fromkeys([path.stem, *ends, split_of(path) or 'images'])
    places = [*(above / name for name in own), beside / 'images', *(beside / name for name in own)]
    places += [above / 'images', *(above / 'images' / name for name in own), beside, above]
    sample = names[:: max(len(names) // SAMPLE, 1)][:SAMPLE]
    found = {place: sum(os.path.isfile(place / name) for name in sample) for place in places if place.is_dir()}
    return max(found, key=found.get, default=beside)


def compare_categories(files: Sequence[AnnotationFile]) -> list[str]:
    """Names that are missing in files or have another id there: no defects where the mapping goes by name."""
    files = [file for file in files if file.categories]
    ids = {file.name: {name.casefold(): number for number, name in file.categories.items()} for file in files}
    names = {name.casefold(): name for file in reversed(files) for name in file.categories.values()}
    lacking, unlike = defaultdict(list), defaultdict(list)
    for key, name in names.items():
        by_id = defaultdict(list)
        for file, numbers in ids.items():
            by_id[numbers.get(key)].append(file)
        lacking[tuple(by_id.pop(None, ()))].append(name)
        unlike[tuple(map(tuple, by_id.values()))].append(name)
    notes = [f'not in {braced_paths(where)}: {list_names(found)}' for where, found in lacking.items() if where]
    for where, found in unlike.items():
        if len(where) > 1:
            notes.append(f'unlike ids in {"; in ".join(map(braced_paths, where))}: {list_names(found)}')
    return [*notes, BY_NAME] if notes else []


def braced_paths(names: Sequence[str]) -> str:
    """A few files, what they share said once: ``{mix, other}/{test, train}.json, all.json``."""
    stems, folders = defaultdict(list), defaultdict(list)
    for path in map(PurePath, names):
        stems[path.parent, path.suffix].append(path.stem)
    for (folder, suffix), found in stems.items():
        folders[tuple(found), suffix].append(str(folder))
    groups = [str(PurePath(_braced(where), f'{_braced(found)}{suffix}')) for (found, suffix), where in folders.items()]
    return list_names(groups, shown=str)


def _braced(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f'{{{list_names(names)}}}'
