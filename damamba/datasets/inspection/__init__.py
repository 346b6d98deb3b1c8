"""Look through a data set in COCO's format: what it holds, and everything that is wrong with it."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from damamba.datasets.inspection.annotation_files import InspectionError, compare_categories, read_annotation_files
from damamba.datasets.inspection.defects import KINDS, Defect
from damamba.datasets.inspection.duplicate_pictures import find_duplicates
from damamba.datasets.inspection.picture_files import compare_with_listed, read_picture_files
from damamba.datasets.inspection.records import AnnotationFile, tally_files

__all__ = ['KINDS', 'AnnotationFile', 'Defect', 'Inspection', 'InspectionError', 'inspect_dataset', 'inspect_files']


@dataclass
class Inspection:
    """A data set: its annotation files, what is worth knowing, and what is wrong."""

    files: list[AnnotationFile]
    tallies: list[dict]  # what each file holds
    total: dict  # what all of them do
    defects: list[Defect]
    notes: list[str]
    left_out: dict[str, str]  # JSON files that are not COCO's, and why
    decoded: bool  # the pictures, whole

    @property
    def kinds(self) -> dict[str, int]:
        """How many defects of each kind there are, in the order of :data:`KINDS`."""
        found = Counter(defect.kind for defect in self.defects)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        files = []
        for file, tally in zip(self.files, self.tallies, strict=True):
            ids = [dict(id=number, name=name) for number, name in file.categories.items()]
            files.append(dict(file=file.name, images=str(file.folder), split=file.split, category_ids=ids) | tally)
        return dict(
            decoded=self.decoded,
            files=files,
            total=self.total,
            left_out=self.left_out,
            notes=self.notes,
            counts=self.kinds,
            defects=[defect._asdict() for defect in self.defects],
        )


def inspect_dataset(
    path: Path,
    images: Path | None = None,
    decode: bool = True,
    workers: int | None = None,
    on_picture: Callable[[int, int], object] = lambda done, total: None,
) -> Inspection:
    """Look through an annotation file, or through every one of COCO's in a folder.

    The pictures are in the folder ``images``; by default it is looked for. With ``decode`` each is read to its end,
    otherwise only its header. As many threads as ``workers`` read them, by default one for each core. After each one
    ``on_picture`` is called with how many are done, and of how many. Raises InspectionError without annotations.
    """
    files, left_out = read_annotation_files(path, images)
    return inspect_files(files, path if path.is_dir() else None, decode, workers, on_picture, left_out)


def inspect_files(
    files: list[AnnotationFile],
    root: Path | None = None,
    decode: bool = True,
    workers: int | None = None,
    on_picture: Callable[[int, int], object] = lambda done, total: None,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> Inspection:
    """Look through annotation files that have been read; the rest is as for :func:`inspect_dataset`.

    Their pictures lie below ``root``, or else each file's in its own folder.
    """
    pictures = read_picture_files(files, decode, workers or os.cpu_count() or 1, on_picture, root)
    notes = compare_categories(files)
    notes += [f'{file.name}: {sentence}' for file in files for sentence in file.left_out_notes() if sentence]
    for file in files:
        notes += compare_with_listed(file, pictures)
    notes += find_duplicates(files, pictures)
    defects = [defect for file in files for defect in file.defects]
    tallies = [tally_files([file]) for file in files]
    return Inspection(files, tallies, tally_files(files), defects, notes, dict(left_out), decode)
