"""What shows only when annotation files are held against their pictures and against each other."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from damamba.datasets.inspection.defects import Findings, told
from damamba.datasets.inspection.files import group, shorten, split_of
from damamba.datasets.inspection.pictures import UNTURNED, Look
from damamba.datasets.inspection.records import Picture
from damamba.datasets.inspection.tally import Tally

BY_NAME = 'where categories differ between files, NamedCocoDataset and ARMBenchDataset go by their names'


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
    """Names that are missing in files or have another id there: no defects where the mapping goes by name."""
    files = [file for file in files if file.categories]
    ids = {file.name: {name.casefold(): number for number, name in file.categories.items()} for file in files}
    names = {name.casefold(): name for file in reversed(files) for name in file.categories.values()}
    lacking, unlike = defaultdict(list), defaultdict(list)
    for key, name in names.items():
        lacking[tuple(file for file in ids if key not in ids[file])].append(name)
        unlike[_by_id(ids, key)].append(name)
    notes = [f'not in {group(where)}: {shorten(found)}' for where, found in lacking.items() if where]
    for parts, found in unlike.items():
        if len(parts) > 1:
            notes.append(f'unlike ids in {"; in ".join(map(group, parts))}: {shorten(found)}')
    return [*notes, BY_NAME] if notes else []


def _by_id(ids: dict[str, dict[str, int]], key: str) -> tuple[tuple[str, ...], ...]:
    """The files that have a category, those with the same id of it together."""
    found = defaultdict(list)
    for file, own in ids.items():
        if key in own:
            found[own[key]].append(file)
    return tuple(map(tuple, found.values()))
