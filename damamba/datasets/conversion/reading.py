"""What readers of all formats share: pictures as MMDetection sees them, names of files, and a count of all there is."""

import os
from collections import defaultdict
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from damamba.datasets.conversion.counting import COUNTED, Tally
from damamba.datasets.conversion.labels import ConversionError, LabelledObject, LabelledPicture, LeftOut, Options, Size
from damamba.datasets.folders import Folder
from damamba.datasets.inspection.defects import list_names, short_repr
from damamba.datasets.inspection.picture_files import SWAPPING, read_picture_file

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.jp2', '.mpo')
SPLITS = {'train': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test'}  # by names of folders
UNSURE = 'it has no labels, and there are labels without a picture, which may be its own'
PICTURES = ('images', 'img', 'imgs')  # folders that no picture is named by


@dataclass
class Reading:
    """One source being read.

    A reader is a generator: it takes this and yields pictures with their objects, names categories in ``categories`` in
    the source's order, and counts here what it can't hand over. What it hands over is checked behind it.
    """

    root: Path
    options: Options = field(default_factory=Options)
    categories: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    notes: list[str] = field(default_factory=list)  # sentences that a user should know
    met: Tally = field(default_factory=Tally)  # what the source has
    cut: int = 0  # objects that are cut at the edge of their picture
    scratch: Path | None = None  # a folder for pictures that lie in label files
    _lost: int = 0  # objects whose picture is not there
    _outside: set[Path] = field(default_factory=set)  # what leads out of the source and was counted

    def picture(
        self, path: Path, split: str, name: str | None = None, stated: Size | None = None, labels: int = 0
    ) -> LabelledPicture | None:
        """A picture file, with no objects yet; None if it can't be used, which is counted, with its labels.

        Args:
            path: the file.
            split: what it belongs to: train, val, test, ...; 'all' where the source has none.
            name: what it is called below the folder of its split; by default its path below ``root``.
            stated: its width and height as the labels have them; if the file as it is stored has these, and EXIF's
                orientation turns it on its side, the labels are turned too.
            labels: how many objects it has.
        """
        found = self.why_unused(path)
        if not found:
            file = read_picture_file(path, decode=False)
            found = file.problem and f'{file.problem[0].replace("_", " ")}'
        if not found and stated and stated != file.fed and stated != file.size:
            found = f'the labels are of another size than the picture ({file.fed[0]} x {file.fed[1]} pixels)'
        if found:
            self.leave_out(found, self.shown(path), 'pictures')
            self.leave_out(f'the picture is left out ({found})', self.shown(path), count=labels)
            return None
        unturned = stated not in (None, file.fed) and file.orientation in SWAPPING
        picture = LabelledPicture(path, name or self.shown(path), split, file.fed)
        picture.orientation = file.orientation if unturned else 1
        return picture

    def why_unused(self, path: Path) -> str | None:
        """Why a file is not read: it leads out of the source's folder."""
        if self.scratch and path.is_relative_to(self.scratch):
            return None
        return 'it leads out of the folder' if self._folder.why_outside(str(path)) else None

    @cached_property
    def _folder(self) -> Folder:
        return Folder(str(self.root), None if self.options.follow_links else ())

    def leave_out(self, why: str, where: str, what: str = 'objects', count: int = 1) -> None:
        """Count what can't be handed over: objects, pictures, label files, and others by their names."""
        self.left_out.add(what, why, where, count)
        if what in COUNTED:
            setattr(self.met, what, getattr(self.met, what) + count)

    def lost(self, path: Path, count: int, why: str = 'the picture is not there') -> None:
        """Count a file of labels whose picture is not known, with its objects."""
        self.leave_out(why, self.shown(path), 'label files')
        self.leave_out(why, self.shown(path), count=count)
        self._lost += count

    def unlabelled(self, path: Path, split: str, name: str) -> LabelledPicture | None:
        """A picture that no labels belong to; None, and counted, while there are labels that may be its own."""
        if self._lost:
            return self.leave_out(UNSURE, self.shown(path), 'pictures')
        return self.picture(path, split, name)

    def category(self, name: str) -> str:
        """The name of a category, which is added to the others if it is new."""
        if name not in self.categories:
            self.categories.append(name)
        return name

    def shown(self, path: Path) -> str:
        """A path below the source, with slashes."""
        if self.scratch and path.is_relative_to(self.scratch):
            return path.relative_to(self.scratch).as_posix()
        return Path(os.path.relpath(path, self.root)).as_posix()

    def below(self, name: str, *folders: Path) -> Path | None:
        """The file that a label names, in one of these folders or below the root; None if there is none inside.

        Steps up are taken where they end in the source. Else Windows' separators, absolute paths and steps up of
        another machine are cut until a file is found.
        """
        name = PurePosixPath(*PureWindowsPath(name).parts)
        steps = [step for step in name.parts if step not in ('..', '/', '\\')]
        ends = [name] if '..' in name.parts else []
        ends += [PurePosixPath(*steps[start:]) for start in range(len(steps))]
        for end in ends:
            for folder in folders or (self.root,):
                path = Path(os.path.normpath(folder / end))
                if path.is_file() and path.is_relative_to(os.path.normpath(self.root)) and not self.why_unused(path):
                    return path
        return None

    def only(self, name: str) -> Path | None:
        """The one picture file of the source that has the name at the end of a path; None if there are none or more."""
        found = self._by_name.get(PureWindowsPath(name).name, [])
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for path in self.picture_files(self.root):
            found[path.name].append(path)
        return found

    def picture_files(self, folder: Path) -> list[Path]:
        """Every picture file below a folder, in the order of names; folders that links lead out to are left out."""
        found, seen = [], set()
        for place, inner, names in os.walk(folder, followlinks=True):
            if os.path.realpath(place) in seen or self.is_outside(Path(place), 'folders'):
                inner.clear()
                continue
            seen.add(os.path.realpath(place))
            found += [Path(place, name) for name in names if name.lower().endswith(SUFFIXES)]
        return sorted(found)

    def label_files(self, pattern: str) -> list[Path]:
        """Every file below the source whose name is like a pattern; those that links lead out to are left out."""
        found = sorted(path for path in self.root.rglob(pattern) if path.is_file())
        return [path for path in found if not self.is_outside(path, 'label files')]

    def is_outside(self, path: Path, what: str) -> bool:
        """Whether a file or folder leads out of the source; the first time it is counted."""
        why = self.why_unused(path)
        if why and path not in self._outside:
            self._outside.add(path)
            self.leave_out(why, self.shown(path), what)
        return why is not None

    def note_unlisted(self, listed: Container[Path]) -> None:
        """Say which pictures lie in the source and belong to no split."""
        others = [self.shown(path) for path in self.picture_files(self.root) if path not in listed]
        if others:
            one = len(others) == 1
            who = '1 other picture lies' if one else f'{len(others):,} other pictures lie'
            self.notes.append(f'{who} in the folder, and {"is" if one else "are"} not listed: {list_names(others)}')

    @property
    def wanted(self) -> list[str]:
        """The names of the categories that are written, in order; the reader may still add some."""
        return list(self.options.classes) or self.categories

    def drop(self, it: LabelledObject, why: str) -> None:
        """Count an object with its parts and holes."""
        for what, count in zip(('objects', 'parts', 'holes'), (1, *it.pieces), strict=True):
            self.left_out.add(what, why, it.where, count)


Reader = Callable[[Reading], Iterator[LabelledPicture]]


def list_pictures(folder: Path) -> list[Path]:
    """Every picture file below a folder, in the order of names; links to folders are not followed."""
    found = []
    for place, _, names in os.walk(folder):
        found += [Path(place, name) for name in names if name.lower().endswith(SUFFIXES)]
    return sorted(found)


def split_and_name(shown: str) -> tuple[str, str]:
    """A path below the source -> the split that its first folder names, or 'all', and what is left of the path."""
    first, *rest = PurePosixPath(shown).parts
    split = SPLITS.get(first.lower()) if rest else None
    steps = rest if split else [first, *rest]
    return split or 'all', '/'.join(steps[1:] if len(steps) > 1 and steps[0] in PICTURES else steps)


def with_article(kind: object) -> str:
    """What a label calls a kind of shape, as a message has it: a line, an alpha_mask."""
    shown = short_repr(kind).strip("'")
    return f'{"an" if shown[:1].lower() in tuple("aeiou") else "a"} {shown}'


def stated_size(width: object, height: object) -> Size | None:
    """The size that labels have; None where they have none of use."""
    return (width, height) if type(width) is int and type(height) is int and min(width, height) > 0 else None


def points_of(values: object) -> np.ndarray | None:
    """A list of x and y as [N, 2], or None where it is something else."""
    try:
        points = np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return points if points.ndim == 2 and points.shape[1] == 2 else None


def check_classes(reading: Reading) -> None:
    """Refuse classes that were asked for and that the source does not have.

    Raises:
        ConversionError: there are such.
    """
    lacking = [name for name in reading.options.classes if name not in reading.categories]
    if lacking:
        names = ', '.join(map(short_repr, reading.categories)) or 'none'
        raise ConversionError(f'no class is called {", ".join(map(short_repr, lacking))}: there are {names}')
