"""What shows only when annotation files are held against their pictures and against each other."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from damamba.datasets.inspection.defects import Findings, told
from damamba.datasets.inspection.files import shorten, split_of
from damamba.datasets.inspection.pictures import UNTURNED, Look
from damamba.datasets.inspection.records import Picture
from damamba.datasets.inspection.tally import Tally


@dataclass
class File:
    """What is in one annotation file."""

    path: Path
    name: str  # the path below the folder that is inspected
    folder: Path  # of its pictures
    pictures: list[Picture]
    categories: dict[int, str]
    tally: Tally
    findings: Findings

    @property
    def split(self) -> str | None:
        return split_of(self.path)

    def places(self) -> Iterator[Path]:
        """Where each picture that has a name should lie."""
        return (self.folder / picture.file_name for picture in self.named)

    @property
    def named(self) -> list[Picture]:
        return [picture for picture in self.pictures if picture.file_name]

    def to_dict(self) -> dict:
        names = [dict(id=number, name=name) for number, name in self.categories.items()]
        return (
            dict(file=self.name, images=str(self.folder), split=self.split, category_ids=names) | self.tally.to_dict()
        )


def compare_with_files(file: File, looks: dict[Path, Look]) -> list[str]:
    """Add what is wrong with the pictures of an annotation file; return what is worth knowing."""
    turned = []
    for picture, place in zip(file.named, file.places(), strict=True):
        look = looks[place]
        if look.problem:
            file.findings.add(*look.problem, picture)
        elif picture.size and picture.size != look.fed:
            kind = 'exif_turned' if picture.size == look.size else 'size_mismatch'
            turn = f', after EXIF orientation {look.orientation}' if look.orientation != UNTURNED else ''
            file.findings.add(kind, f'listed as {_by(picture.size)}, MMDetection reads {_by(look.fed)}{turn}', picture)
        elif look.orientation != UNTURNED:
            turned.append(picture.file_name)
    if not turned:
        return []
    return [
        f'{file.name}: {_pictures(len(turned))} with an EXIF orientation, which MMDetection heeds; their annotations '
        f'have to be of the turned picture: {shorten(turned)}'
    ]


def _by(size: tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'


def _pictures(count: int) -> str:
    return f'{count:,} picture{"" if count == 1 else "s"}'


def find_twins(files: Sequence[File], contents: dict[Path, object]) -> list[str]:
    """Add pictures that are listed twice: a leak between splits, or copies within a file; return the rest as notes."""
    listed = defaultdict(list)
    for file in files:
        for picture, place in zip(file.named, file.places(), strict=True):
            listed[contents[place]].append((file, picture))
    shared = defaultdict(list)
    for members in listed.values():
        if len(members) > 1:
            _compare_twins(members, shared)
    return [f'{a} and {b} share {_pictures(len(names))}: {shorten(names)}' for (a, b), names in shared.items()]


def _compare_twins(members: list[tuple[File, Picture]], shared: dict) -> None:
    """Each of the members against the first one that is in its own file, and against the first of another."""
    first_of = {}
    for file, picture in members:
        twin = first_of.get(file.name)
        if twin is None:
            first_of[file.name] = (file, picture)
        elif twin[1].file_name != picture.file_name:  # equal names are another kind
            file.findings.add('same_picture', f'it has the same bytes as {told(twin[1].file_name)}', picture)
    (first, picture), *others = first_of.values()
    for other, twin in others:
        if first.split and other.split and first.split != other.split:
            first.findings.add('leak', f'it is in {other.name} too, as {told(twin.file_name)}', picture)
        else:
            shared[first.name, other.name].append(picture.file_name)


def notes_on_categories(files: Sequence[File]) -> list[str]:
    """Names that are missing in a file or have another id in it: no defects where the mapping goes by name."""
    files = [file for file in files if file.categories]
    ids = {file.name: {name.casefold(): number for number, name in file.categories.items()} for file in files}
    names = {name.casefold(): name for file in reversed(files) for name in file.categories.values()}
    notes = []
    for key, name in names.items():
        lacking = [file.name for file in files if key not in ids[file.name]]
        if lacking:
            notes.append(f'{name} is not in {shorten(lacking)}: classes are mapped by name')
        by_id = defaultdict(list)
        for file in files:
            if key in ids[file.name]:
                by_id[ids[file.name][key]].append(file.name)
        if len(by_id) > 1:
            where = '; '.join(f'{number} in {shorten(where)}' for number, where in by_id.items())
            notes.append(f'{name} has unlike ids: {where}: classes are mapped by name')
    return notes
