"""Pictures that may not be in two parts: one file under two names, the same bytes, and where asked nearly the same."""

import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from damamba.datasets.inspection.defects import count_pictures, list_names
from damamba.datasets.inspection.duplicate_pictures import contents_of
from damamba.datasets.inspection.picture_files import PictureFile, read_picture_files
from damamba.datasets.inspection.records import AnnotationFile, Picture
from damamba.datasets.splitting.grouping import join
from damamba.datasets.splitting.near_duplicates import find_near_duplicates


@dataclass
class Sameness:
    """What of the pictures is equal, by their places in the list; what is worth saying of it."""

    labels: list[Sequence[Hashable]]  # each has an entry for every picture: equal ones stay together
    notes: list[str] = field(default_factory=list)


def compare_pictures(
    images: Sequence[dict],
    folder: Path,
    near: float | None,
    workers: int,
    on_picture: Callable[[int, int], object],
) -> Sameness:
    """Compare pictures by id, by file, by bytes, and from the correlation ``near`` on by what they show."""
    paths = [folder / image['file_name'] for image in images]
    listed = [Picture(None, image['file_name'], None) for image in images]
    files = read_picture_files([AnnotationFile('', None, folder, listed)], False, workers, on_picture)
    contents = contents_of(files)
    by_bytes = [contents[path] if files[path].bytes else path for path in paths]
    same = Sameness([[image['id'] for image in images], [os.path.normpath(path) for path in paths], by_bytes])
    names = [image['file_name'] for image in images]
    _note_equal(same, names)
    _note_unread(same, folder, files)
    if near is not None:
        _add_near(same, names, paths, files, near, workers)
    return same


def _note_equal(same: Sameness, names: Sequence[str]) -> None:
    groups = [group for group in join(len(names), same.labels) if len(group) > 1]
    if groups:
        text = f'pictures that are the same as another, by id, file or bytes, stay together: {sum(map(len, groups)):,}'
        same.notes.append(f'{text} ({_examples(groups, names)})')


def _note_unread(same: Sameness, folder: Path, files: dict[Path, PictureFile]) -> None:
    lost = [str(path) for path, file in files.items() if not file.bytes]
    if lost:
        text = f'{len(lost):,} of {count_pictures(files)} could not be read and were compared by name alone'
        text += f': --images names another folder than {folder}' if len(lost) == len(files) else ''
        same.notes.append(f'{text} ({list_names(lost)})')


def _add_near(
    same: Sameness,
    names: Sequence[str],
    paths: Sequence[Path],
    files: dict[Path, PictureFile],
    near: float,
    workers: int,
) -> None:
    numbers, skipped = find_near_duplicates(files, near, workers)
    same.labels.append([numbers[path] for path in paths])
    groups = [group for group in join(len(paths), same.labels[-1:]) if len(group) > 1]
    text = f'near-duplicates (correlation from {near:g} on)'
    if groups:
        shown = _examples(groups, names)
        sizes = f'groups: {len(groups):,}, the largest of {max(map(len, groups)):,} pictures'
        same.notes.append(f'{text} stay together; {sizes}: {shown}')
    else:
        same.notes.append(f'{text}: none')
    if skipped:
        text = 'missing, broken or of one colour, and were not looked at for near-duplicates'
        named = dict(zip(paths, names, strict=True))
        same.notes.append(f'pictures that are {text}: {len(skipped):,} ({list_names([named[it] for it in skipped])})')


def _examples(groups: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """The first few groups: ``a.jpg = b.jpg, c.jpg = d.jpg``."""
    return list_names([' = '.join(names[place] for place in group[:3]) for group in groups])
