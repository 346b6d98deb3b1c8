"""Look through a data set in COCO's format: what it holds, and everything that is wrong with it."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path

from damamba.datasets.inspection.across import File, compare_with_files, find_twins, notes_on_categories
from damamba.datasets.inspection.annotations import Checker
from damamba.datasets.inspection.defects import KINDS, Defect, Findings, told
from damamba.datasets.inspection.files import InspectionError, find_json, guess_folder, read_json, shorten, why_not_coco
from damamba.datasets.inspection.pictures import contents, look_at_all
from damamba.datasets.inspection.records import read_categories, read_pictures
from damamba.datasets.inspection.tally import Tally

__all__ = ['KINDS', 'Defect', 'File', 'Inspection', 'InspectionError', 'Tally', 'inspect']


@dataclass
class Inspection:
    """A data set: its annotation files, what is worth knowing, and what is wrong."""

    files: list[File]
    left_out: dict[str, str] = field(default_factory=dict)  # JSON files that are not COCO's, and why
    notes: list[str] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    decoded: bool = True  # the pictures, whole

    @property
    def total(self) -> Tally:
        return reduce(add, (file.tally for file in self.files), Tally())

    @property
    def kinds(self) -> Counter[str]:
        """How many defects of each kind there are, in the order of :data:`KINDS`."""
        found = Counter(defect.kind for defect in self.defects)
        return Counter({kind: found[kind] for kind in KINDS if found[kind]})

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        return dict(
            decoded=self.decoded,
            files=[file.to_dict() for file in self.files],
            total=self.total.to_dict(),
            left_out=self.left_out,
            notes=self.notes,
            counts=dict(self.kinds),
            defects=[defect.to_dict() for defect in self.defects],
        )


def inspect(
    path: Path,
    images: Path | None = None,
    decode: bool = True,
    workers: int | None = None,
    on_picture: Callable[[int, int], object] = lambda done, total: None,
) -> Inspection:
    """Look through an annotation file, or through every one of COCO's in a folder.

    Args:
        path: the file or the folder.
        images: the folder of the pictures; by default it is looked for.
        decode: read each picture to its end. Otherwise only its header.
        workers: threads that look at pictures; by default one for each core.
        on_picture: called after each picture with how many are done, and of how many.

    Raises:
        InspectionError: there are no annotations.
    """
    files, left_out = _read_files(path, images)
    looks = look_at_all(
        (place for file in files for place in file.places()), decode, workers or os.cpu_count() or 1, on_picture
    )
    notes = notes_on_categories(files)
    for file in files:
        notes += compare_with_files(file, looks)
    notes += find_twins(files, contents(looks))
    return Inspection(files, left_out, notes, [defect for file in files for defect in file.findings.defects], decode)


def _read_files(path: Path, images: Path | None) -> tuple[list[File], dict[str, str]]:
    """COCO's files, checked, and why others were left out. A file that was named itself is taken for one of COCO's."""
    files, left_out = [], {}
    for place in find_json(path):
        name = place.name if place == path else str(place.relative_to(path))
        try:
            document = read_json(place)
        except ValueError as error:
            files.append(_unreadable(place, name, images, error))
            continue
        reason = why_not_coco(document) if place != path else None
        if reason:
            left_out[name] = reason
        else:
            files.append(_read_file(place, name, images, document))
    if not files:
        raise InspectionError(f"{path} has no annotations in COCO's format in it, only {shorten(list(left_out))}")
    return files, left_out


def _unreadable(place: Path, name: str, images: Path | None, error: ValueError) -> File:
    findings = Findings(name)
    findings.add('not_json', str(error))
    return File(place, name, images or place.parent, [], {}, Tally(), findings)


def _read_file(place: Path, name: str, images: Path | None, document) -> File:
    """Check all that can be checked without the pictures; the document itself is not kept."""
    findings = Findings(name)
    if not isinstance(document, dict):
        findings.add('wrong_type', f'the file holds {told(document)}, not an object')
    pictures = read_pictures(document, findings)
    categories = read_categories(document, findings)
    tally = Checker(pictures, categories, findings).check(document)
    names = [picture.file_name for picture in pictures if picture.file_name]
    return File(place, name, images or guess_folder(place, names), pictures, categories, tally, findings)
