"""Where a conversion puts its files: into a new folder beside the source, there as a whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from damamba.datasets.conversion.labels import ConversionError
from damamba.datasets.folders import is_inside


def check_places(source: Path, target: Path) -> None:
    """Refuse a target that holds something, or lies in the source, or the other way round.

    Raises:
        ConversionError: it is so.
    """
    if not source.is_dir():
        raise ConversionError(f'{source} is no folder: name the one that the labels and the pictures lie in')
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConversionError(f'{target} is there already, and not empty: name another folder')
    real, other = os.path.realpath(source), os.path.realpath(target)
    if is_inside(other, real) or is_inside(real, other):
        raise ConversionError(f'{target} and {source} lie in one another: name a folder outside of it')


@contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """A folder beside the target that takes its name at the end, and is gone if something fails."""
    target = target.resolve()
    folder = target.with_name(f'.{target.name}.{os.getpid()}.part')
    folder.mkdir(parents=True)
    try:
        yield folder
        os.replace(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(picture: Path, target: Path, copy: bool) -> None:
    """Put a picture where it belongs: the same file under a second name where that can be, or else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    bring = shutil.copyfile if copy else _link_or_copy
    bring(picture.resolve(), target)  # of a link, what it leads to


def _link_or_copy(picture: Path, target: Path) -> None:
    try:
        os.link(picture, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(picture, target)


def check_name(name: str) -> None:
    """Refuse a picture's name that leads out of its folder."""
    if not name or PurePosixPath(name).is_absolute() or '..' in PurePosixPath(name).parts:
        raise ConversionError(f'{name!r} is no name of a picture in a folder: rename it')
