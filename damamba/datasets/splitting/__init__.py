"""Split a data set in COCO's format into parts: by fractions of its pictures, and with no picture in two of them."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from damamba.datasets.inspection import Inspection, inspect_files
from damamba.datasets.inspection.annotation_files import find_picture_folder
from damamba.datasets.inspection.records import AnnotationFile
from damamba.datasets.json_files import read_json
from damamba.datasets.splitting.allotment import allot
from damamba.datasets.splitting.grouping import FOLDER, KEY, NAME, GroupBy, join, labels_of, note_on_labels
from damamba.datasets.splitting.near_duplicates import ALIKE
from damamba.datasets.splitting.parts import Part, columns_of, make_parts, notes_on
from damamba.datasets.splitting.same_pictures import compare_pictures
from damamba.datasets.splitting.source import SplitError, check_fractions, owners_of, read_source
from damamba.durable import write_text

__all__ = ['ALIKE', 'FOLDER', 'KEY', 'NAME', 'GroupBy', 'Part', 'Split', 'SplitError', 'split_dataset']

OnPicture = Callable[[int, int], object]


@dataclass(frozen=True)
class Split:
    """What a data set was split into.

    Attributes:
        parts: each with its file.
        folder: of the pictures, which stay where they are.
        categories: of the annotation file.
        notes: sentences on what was kept together, what is left out, and where a part has not what it should.
        inspection: of the written files: it would name a picture that is in two of them.
    """

    parts: list[Part]
    folder: Path
    categories: list[dict]
    notes: list[str]
    inspection: Inspection


def split_dataset(
    annotations: Path,
    out: Path,
    fractions: Mapping[str, float],
    by: GroupBy | None = None,
    near: float | None = None,
    images: Path | None = None,
    seed: int = 0,
    by_objects: bool = False,
    workers: int | None = None,
    on_picture: OnPicture = lambda done, total: None,
) -> Split:
    """Write ``out/instances_<name>.json`` for each part; records stay as they are.

    Args:
        annotations: a file in COCO's format.
        out: a folder, which is made.
        fractions: of each part, by its name; they sum to 1, or as percents to 100.
        by: what pictures share that may not be cut apart.
        near: the correlation from which on pictures are near-duplicates, and stay together; None for any.
        images: the folder of the pictures; by default it is looked for.
        seed: of what is left to chance.
        by_objects: fractions are of the objects, not of the pictures.
        workers: threads that read pictures; by default one a core.
        on_picture: is called with how many pictures were looked at, and of how many.

    Raises:
        SplitError: it can't be split so, or a file is there already; nothing is written.
        OSError: nothing can be written.
    """
    fractions = check_fractions(fractions)
    paths = [out / f'instances_{name}.json' for name in fractions]
    _check_free(paths)
    document, workers = read_source(annotations), workers or os.cpu_count() or 1
    folder = images or find_picture_folder(annotations, [it['file_name'] for it in document['images']])
    same = compare_pictures(document['images'], folder, near, workers, on_picture)
    asked = [labels_of(document['images'], by)] if by else []
    groups = join(len(document['images']), [*same.labels, *asked])
    _check_number(groups, len(paths), by, near)
    owners = owners_of(document)
    columns = columns_of(document, owners, by_objects)
    counted = [sum((columns[place] for place in group), Counter()) for group in groups]
    places = allot(counted, [*fractions.values()], seed)
    parts = make_parts(document, owners, fractions, paths, groups, places)
    for part in parts:
        kept = dict(images=part.images, annotations=part.annotations)
        write_text(part.path, json.dumps(document | kept))
    notes = [*same.notes, *(note for labels in asked for note in note_on_labels(labels, by))]
    notes += notes_on(document, owners, parts, counted, by_objects)
    return Split(parts, folder, document['categories'], notes, _inspect(parts, folder, workers, on_picture))


def _check_free(paths: Sequence[Path]) -> None:
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        raise SplitError(f'{there[0]} is there already: remove it, or name another folder')


def _check_number(groups: Sequence[list[int]], parts: int, by: GroupBy | None, near: float | None) -> None:
    if len(groups) < parts:
        reasons = ['the same picture', *([f'near-duplicates from {near:g} on'] if near is not None else [])]
        reasons += [f'by {by}'] if by else []
        text = f'{parts} parts need as many groups, and there are only {len(groups)} ({", ".join(reasons)})'
        raise SplitError(f'{text}: ask for fewer parts, or for smaller groups')


def _inspect(parts: Sequence[Part], folder: Path, workers: int, on_picture: OnPicture) -> Inspection:
    """Look through what was written, each part a split of its own."""
    files = []
    for part in parts:
        files.append(AnnotationFile(part.path.name, part.name, folder))
        files[-1].read(read_json(part.path))
    return inspect_files(files, decode=False, workers=workers, on_picture=on_picture)
