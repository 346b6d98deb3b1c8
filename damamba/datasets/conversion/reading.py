"""What readers of all formats share: pictures as MMDetection sees them, and labels that are checked one by one."""

import os
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.broken import FARTHEST, LONGEST
from damamba.datasets.conversion.counting import COUNTED, Tally
from damamba.datasets.conversion.geometry import area_of, beyond, cut_at_edges, enclosed, turn_mask, turn_points
from damamba.datasets.conversion.labels import (
    ConversionError,
    LabelledObject,
    LabelledPicture,
    LeftOut,
    Options,
    Part,
    Size,
    rle_of,
)
from damamba.datasets.folders import Folder
from damamba.datasets.inspection.defects import list_names, short_repr
from damamba.datasets.inspection.picture_files import SWAPPING, read_picture_file
from damamba.datasets.inspection.segmentations import NO_AREA

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.jp2', '.mpo')
SPLITS = {'train': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test'}  # by names of folders
PICTURES = ('images', 'img', 'imgs')  # folders that no picture is named by
LEAST = 0.05  # pixels that a side of a box has
EDGE = 0.5  # pixels by which rounding may carry an outline beyond the picture


@dataclass
class Reading:
    """One source being read.

    A reader is a generator: it takes this and yields pictures with their objects, names categories in ``categories`` in
    the source's order, and counts here what it can't hand over. What it hands over is checked by :meth:`pictures`.
    """

    root: Path
    options: Options = field(default_factory=Options)
    categories: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    notes: list[str] = field(default_factory=list)  # sentences that a user should know
    met: Tally = field(default_factory=Tally)  # what the source has
    cut: int = 0  # objects that are cut at the edge of their picture

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
        return 'it leads out of the folder' if self._folder.why_outside(str(path)) else None

    @cached_property
    def _folder(self) -> Folder:
        return Folder(str(self.root), None if self.options.follow_links else ())

    def leave_out(self, why: str, where: str, what: str = 'objects', count: int = 1) -> None:
        """Count what can't be handed over: objects, pictures, label files, and others by their names."""
        self.left_out.add(what, why, where, count)
        if what in COUNTED:
            setattr(self.met, what, getattr(self.met, what) + count)

    def category(self, name: str) -> str:
        """The name of a category, which is added to the others if it is new."""
        if name not in self.categories:
            self.categories.append(name)
        return name

    def shown(self, path: Path) -> str:
        """A path below the source, with slashes."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def below(self, name: str, *folders: Path) -> Path | None:
        """The file that a label names, in one of these folders or below the root; None if there is none inside.

        Windows' separators, absolute paths and steps up of another machine are cut until a file is found.
        """
        steps = [step for step in PurePosixPath(*PureWindowsPath(name).parts).parts if step not in ('..', '/', '\\')]
        for start in range(len(steps)):
            for folder in folders or (self.root,):
                path = folder.joinpath(*steps[start:])
                if path.is_file() and not self.why_unused(path):
                    return path
        return None

    def note_unlisted(self, listed: Container[Path]) -> None:
        """Say which pictures lie in the source and belong to no split."""
        others = [self.shown(path) for path in list_pictures(self.root) if path not in listed]
        if others:
            one = len(others) == 1
            who = '1 other picture lies' if one else f'{len(others):,} other pictures lie'
            self.notes.append(f'{who} in the folder, and {"is" if one else "are"} not listed: {list_names(others)}')

    def pictures(self, read: 'Reader') -> Iterator[LabelledPicture]:
        """What a reader hands over, turned where needed, without what encloses nothing; that is counted."""
        for picture in read(self):
            self.met.add(picture)
            turned = [_turned(it, picture) for it in picture.objects]
            sound = [self._sound(it, picture.size) for it in turned]
            yield replace(picture, objects=[it for it in sound if it], orientation=1)
        if self.cut:
            one = self.cut == 1
            who = '1 object reaches' if one else f'{self.cut:,} objects reach'
            self.notes.append(f'{who} beyond the edge of the picture, and {"is" if one else "are"} cut there')

    @property
    def wanted(self) -> list[str]:
        """The names of the categories that are written, in order; the reader may still add some."""
        return list(self.options.classes) or self.categories

    def _sound(self, it: LabelledObject, size: Size) -> LabelledObject | None:
        """The object with all that is of use, None if nothing is."""
        if self.options.classes and it.category not in self.options.classes:
            return self.drop(it, f'not a class that was asked for: {short_repr(it.category)}')
        if it.mask is not None:
            return self._sound_mask(it, size)
        return self._sound_parts(it, size) if it.parts else self._sound_box(it, size)

    def drop(self, it: LabelledObject, why: str) -> None:
        """Count an object with its parts and holes."""
        for what, count in zip(('objects', 'parts', 'holes'), (1, *it.pieces), strict=True):
            self.left_out.add(what, why, it.where, count)

    def _sound_mask(self, it: LabelledObject, size: Size) -> LabelledObject | None:
        if list(it.mask['size']) != [size[1], size[0]]:
            return self.drop(it, 'the mask is of another size than the picture')
        return it if coco_mask.area(dict(it.mask)) else self.drop(it, 'the mask is empty')

    def _sound_parts(self, it: LabelledObject, size: Size) -> LabelledObject | None:
        kept, left = [], []
        for part in it.parts:
            outline, why = sound_outline(part.outline, size)
            if why:
                left += [('parts', why, 1), ('holes', f'the part is left out ({why})', len(part.holes))]
                continue
            holes = [sound_outline(hole, size) for hole in part.holes]
            left += [('holes', wrong, 1) for _, wrong in holes if wrong]
            kept.append(Part(outline, tuple(hole for hole, wrong in holes if not wrong)))
        if not kept:
            return self.drop(it, f'nothing is left ({left[0][1]})')
        if not any(area_of(part, size) > 0 for part in kept):
            return self.drop(it, 'no pixel is covered')
        for what, why, count in left:
            self.left_out.add(what, why, it.where, count)
        self.cut += any(beyond(np.asarray(part.outline), size) > EDGE for part in it.parts)
        return replace(it, parts=tuple(kept))

    def _sound_box(self, it: LabelledObject, size: Size) -> LabelledObject | None:
        if it.box is None or not np.isfinite(it.box).all() or min(it.box[2:]) < LEAST:
            return self.drop(it, 'the box encloses nothing')
        x, y, width, height = it.box
        corners = np.array([[x, y], [x + width, y + height]])
        (left, top), (right, bottom) = np.clip(corners, 0, size).tolist()
        if min(right - left, bottom - top) < LEAST:
            return self.drop(it, 'the box is outside of the picture')
        self.cut += beyond(corners, size) > EDGE
        if self.options.boxes_as_masks:
            corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
            return replace(it, box=None, parts=(Part(corners),))
        return replace(it, box=(left, top, right - left, bottom - top))


Reader = Callable[[Reading], Iterator[LabelledPicture]]


def sound_outline(outline: np.ndarray, size: Size) -> tuple[np.ndarray | None, str | None]:
    """An outline within the picture, or why there is none."""
    outline = np.asarray(outline, np.float64)
    if outline.ndim != 2 or outline.shape[1:] != (2,) or len(outline) < 3:
        return None, 'fewer than 3 points'
    if not np.isfinite(outline).all():
        return None, 'a coordinate is not finite'
    if np.abs(outline).max() > FARTHEST or np.abs(np.diff(outline, axis=0)).sum() > LONGEST:
        return None, 'far beyond any picture, or longer'
    if enclosed(outline) < NO_AREA:
        return None, 'no area'
    if beyond(outline, size) > 0:
        outline = cut_at_edges(outline, size)
        if len(outline) < 3 or enclosed(outline) < NO_AREA:
            return None, 'outside of the picture'
    return outline, None


def _turned(it: LabelledObject, picture: LabelledPicture) -> LabelledObject:
    """The object, turned as its picture is."""
    if picture.orientation == 1:
        return it
    stored = picture.size[::-1]

    def turn(points: np.ndarray) -> np.ndarray:
        return turn_points(np.asarray(points, np.float64), picture.orientation, stored)

    if it.mask is not None:
        return replace(it, mask=rle_of(turn_mask(coco_mask.decode(dict(it.mask)), picture.orientation)))
    if it.parts:
        return replace(it, parts=tuple(Part(turn(p.outline), tuple(map(turn, p.holes))) for p in it.parts))
    if it.box:
        x, y, width, height = it.box
        corners = turn(np.array([[x, y], [x + width, y + height]]))
        low, high = corners.min(0), corners.max(0)
        return replace(it, box=(*low.tolist(), *(high - low).tolist()))
    return it


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
