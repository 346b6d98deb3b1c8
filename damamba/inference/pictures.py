"""What a detector is given, as pictures one by one: files, folders, patterns, arrays, videos, cameras, streams.

A picture is an array [H, W, 3] of uint8, blue first, as OpenCV has it, and has a name, under which its results lie.
"""

import glob
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from damamba.datasets.categories import DatasetError
from damamba.datasets.inspection.picture_files import read_picture_file

PICTURES = {'.bmp', '.gif', '.jfif', '.jpe', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp'}
VIDEOS = {'.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv'}
ORDERS = {'bgr': cv2.COLOR_BGRA2BGR, 'rgb': cv2.COLOR_RGBA2BGR}  # of an array's colours: what drops its transparency

Load = Callable[[str], np.ndarray]


class PictureError(DatasetError):
    """A picture that can't be read, or a source that there is not; the text names it and says why."""


@dataclass(frozen=True)
class Picture:
    """One picture, or why there is none."""

    name: str  # relative, with folders where these tell pictures apart
    pixels: np.ndarray | None = None  # [H, W, 3], uint8, blue first
    path: str | None = None  # of the file
    frame: int | None = None  # of a video, from 0 on
    fps: float | None = None  # frames a second, of a video that says it
    milliseconds: float = 0.0  # that reading it took
    problem: str | None = None  # why it can't be read


@dataclass(frozen=True)
class _Item:
    """A source, and what its pictures are called after."""

    kind: str  # picture, video, array
    value: Any
    name: str


def read_pictures(source: Any, load: Load, order: str = 'bgr') -> Iterator[Picture]:
    """Read pictures one after the other; no more than one is held. Where files are named, they are looked for at once.

    Args:
        source: a path, folder (with its subfolders), pattern with ``*``, ``?`` or ``[]``, video, URL of a stream, or
            number of a camera; an array [H, W], [H, W, 3] or [H, W, 4] of uint8; a PIL picture; or several of these,
            also an iterator that goes on for ever.
        load: reads a picture file, as the config's pipeline does.
        order: of an array's colours, ``'bgr'`` or ``'rgb'``.

    Raises:
        PictureError: there is no such file, or nothing in a folder; or, while reading, an array that is no picture.
    """
    if order not in ORDERS:
        raise PictureError(f"order must be 'bgr' or 'rgb', got {order!r}")
    is_one = isinstance(source, str | os.PathLike | int | np.integer | np.ndarray | Image.Image)
    if is_one or isinstance(source, list | tuple):
        found = _named([item for it in ([source] if is_one else source) for item in _items(it)])
    elif isinstance(source, Iterable):
        found = (item for it in source for item in _items(it))
    else:
        raise PictureError(f'no picture: {type(source).__name__}')
    return (picture for number, item in enumerate(found) for picture in _read(item, number, load, order))


def paths_of(source: str) -> list[str]:
    """The files, or the URL, that a text stands for; none of a camera.

    Raises:
        PictureError: there is nothing there.
    """
    return [item.value for item in _items(source) if isinstance(item.value, str)]


def _items(source: Any) -> Iterator[_Item]:
    if isinstance(source, np.ndarray | Image.Image):
        yield _Item('array', source, '')
    elif isinstance(source, int | np.integer) or _is_camera(source):
        yield _Item('video', int(source), f'camera_{int(source)}')
    elif isinstance(source, str) and '://' in source:
        yield _Item('video', source, Path(source.split('?')[0]).name or 'stream')
    elif isinstance(source, str | os.PathLike):
        yield from (_of_file(path) for path in _find(os.fspath(source)))
    else:
        raise PictureError(f'no picture: {type(source).__name__}')


def _is_camera(source: Any) -> bool:
    return isinstance(source, str) and source.isdecimal() and not os.path.exists(source)


def _of_file(path: str) -> _Item:
    return _Item('video' if Path(path).suffix.lower() in VIDEOS else 'picture', path, path)


def _find(source: str) -> list[str]:
    """The files that a path stands for, in order."""
    if os.path.isfile(source):
        return [source]
    if os.path.isdir(source):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(source) for name in names]
        what = 'has no pictures and no videos in it'
    else:
        found = glob.glob(source, recursive=True)
        what = 'matches no pictures and no videos' if glob.has_magic(source) else 'does not exist'
    found = sorted(path for path in found if Path(path).suffix.lower() in PICTURES | VIDEOS and not os.path.isdir(path))
    if not found:
        raise PictureError(f'{source} {what}')
    return found


def _named(items: list[_Item]) -> list[_Item]:
    """Name files by their paths below the folder that all of them share."""
    files = {
        item.value: os.path.abspath(item.value)
        for item in items
        if isinstance(item.value, str) and '://' not in item.value
    }
    root = os.path.commonpath(map(os.path.dirname, files.values())) if files else ''
    named = {path: os.path.relpath(absolute, root) for path, absolute in files.items()}
    return [_Item(it.kind, it.value, named.get(it.value, it.name)) if isinstance(it.value, str) else it for it in items]


def _read(item: _Item, number: int, load: Load, order: str) -> Iterator[Picture]:
    start = time.perf_counter()
    if item.kind == 'video':
        yield from _frames(item)
    elif item.kind == 'array':
        name = f'picture_{number:06d}'
        pixels = _of_array(item.value, order, name)
        yield Picture(name, pixels, milliseconds=_since(start))
    else:
        pixels, problem = _of_picture_file(item.value, load)
        yield Picture(item.name, pixels, item.value, None, None, _since(start), problem)


def _of_picture_file(path: str, load: Load) -> tuple[np.ndarray | None, str | None]:
    """Its pixels, or why there are none."""
    problem = read_picture_file(Path(path), decode=True).problem
    if problem:
        return None, problem[1]
    try:
        return load(path), None
    except Exception as error:  # OpenCV refuses a few that Pillow reads
        return None, ' '.join(f'{type(error).__name__}: {error}'.split())


def _since(start: float) -> float:
    return 1000 * (time.perf_counter() - start)


def _of_array(value: Any, order: str, name: str) -> np.ndarray:
    """An array or a PIL picture, turned as its EXIF says -> [H, W, 3], blue first."""
    if isinstance(value, Image.Image):
        value, order = np.asarray(ImageOps.exif_transpose(value).convert('RGB')), 'rgb'
    if (
        value.dtype != np.uint8
        or value.ndim not in (2, 3)
        or not value.size
        or value.shape[2:] not in ((), (1,), (3,), (4,))
    ):
        wanted = '[height, width], or with 3 or 4 colours, of uint8'
        raise PictureError(f'{name}: an array {list(value.shape)} of {value.dtype} is no picture: wanted {wanted}')
    if value.ndim == 2 or value.shape[2] == 1:
        return cv2.cvtColor(np.ascontiguousarray(value), cv2.COLOR_GRAY2BGR)
    if value.shape[2] == 4:
        return cv2.cvtColor(np.ascontiguousarray(value), ORDERS[order])
    return np.ascontiguousarray(value if order == 'bgr' else value[..., ::-1])


def _frames(item: _Item) -> Iterator[Picture]:
    video = cv2.VideoCapture(item.value)
    try:
        path, fps = item.value if isinstance(item.value, str) else None, video.get(cv2.CAP_PROP_FPS) or None
        number, start = 0, time.perf_counter()
        while (found := video.read())[0]:
            yield Picture(f'{item.name}/{number:06d}', found[1], path, number, fps, _since(start))
            number, start = number + 1, time.perf_counter()
        if not number:
            yield Picture(item.name, path=path, problem='no frame of it can be read')
    finally:
        video.release()
