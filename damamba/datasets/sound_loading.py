"""Loading the pictures of a data set, and no others: what can't be read says so, in little memory, and what it is.

``SoundLoading`` stands in a pipeline around MMDetection's own transform, which trusts names and sizes of a file.
"""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets.transforms import LoadImageFromNDArray
from PIL import Image
from torch.utils.data import Dataset

from damamba.datasets.fetching import UnreadablePicture
from damamba.datasets.folders import Folder, folder_of

LARGE, TIMES = 2**26, 4  # pixels, and times what is annotated, beyond which a picture is not decoded
MOST_PIXELS = 2**30  # OpenCV reads no larger picture


class Journal:
    """A file to which any process adds pictures that it could not read, and from which one reads what is new."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.read_bytes = str(path), 0

    def add(self, file: str, reason: str, image_id: object = None) -> None:
        """Add a line, whole, whatever others write at the same time."""
        line = json.dumps({'file': file, 'reason': reason, 'image_id': image_id}, default=str) + '\n'
        os.makedirs(os.path.dirname(self.path), exist_ok=True)  # on another machine it may not be there
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def new(self) -> list[dict]:
        """The entries since the last call."""
        try:
            if os.stat(self.path).st_size <= self.read_bytes:
                return []
        except FileNotFoundError:
            return []
        with open(self.path, 'rb') as file:
            file.seek(self.read_bytes)
            content = file.read()
        whole = content[: content.rfind(b'\n') + 1]
        self.read_bytes += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


class SoundLoading:
    """A transform that loads pictures, which must lie in the folder of their data set and be of the annotated size.

    Args:
        inner: the transform itself.
        folder: of the data set; None if its pictures may lie anywhere.
        journal: where a picture is tested on, it is what is told of one that can't be read, and a black one of the
            annotated size takes its place; its size is then held against the annotations by the evaluation alone.

    Raises:
        UnreadablePicture: a picture to train on can't be used.
    """

    def __init__(
        self, inner: Callable[[dict], dict], folder: Folder | None = None, journal: Journal | None = None
    ) -> None:
        self.inner, self.folder, self.journal = inner, folder, journal

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or 'inner' not in vars(self):  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __call__(self, results: dict) -> dict | None:
        path, size = results['img_path'], (results.get('width'), results.get('height'))
        reason = None
        try:
            reason = self._why_not(path, size)
            loaded = None if reason else self.inner(dict(results))
            if loaded is not None:
                reason = self._why_unlike(loaded, size)
        except Exception as error:  # a broken file raises whatever its decoder stumbles upon
            reason = _why_broken(error)
        if reason is None:
            return loaded
        if self.journal is None:
            raise UnreadablePicture(path, reason)
        if not all(size):
            raise UnreadablePicture(path, f'{reason}; and its annotations do not say of which size it is')
        self.journal.add(path, reason, results.get('img_id'))
        return self._stand_in(results, size)

    def _why_not(self, path: str, size: tuple[int | None, int | None]) -> str | None:
        """What is wrong with a file as far as its name and its header tell."""
        if '://' in path:
            return None
        if self.folder and (reason := self.folder.why_outside(path)):
            return reason
        if not stat.S_ISREG(os.stat(path).st_mode):
            return 'it is no file'  # a pipe would be waited for
        return self._why_unread(header_size(path), size)

    def _why_unread(self, header: tuple[int, int] | None, size: tuple[int | None, int | None]) -> str | None:
        if header is None:
            return None  # OpenCV knows formats that Pillow does not
        annotated = size[0] * size[1] if all(size) else MOST_PIXELS / TIMES
        if header[0] * header[1] > max(LARGE, TIMES * annotated):
            return f'it would be {header[0]} x {header[1]} pixels, too many to be decoded'
        if self.journal is None and all(size) and sorted(header) != sorted(size):  # it may be turned
            return _unlike(header, size)
        return None

    def _why_unlike(self, loaded: dict, size: tuple[int | None, int | None]) -> str | None:
        found = tuple(loaded['img'].shape[1::-1])
        return _unlike(found, size) if self.journal is None and all(size) and found != size else None

    def _stand_in(self, results: dict, size: tuple[int, int]) -> dict:
        channels = () if str(getattr(self.inner, 'color_type', 'color')).startswith('gray') else (3,)
        kind = np.float32 if getattr(self.inner, 'to_float32', False) else np.uint8
        picture = np.zeros((size[1], size[0], *channels), kind)
        return {**results, 'img': picture, 'img_shape': picture.shape[:2], 'ori_shape': picture.shape[:2]}

    def __repr__(self) -> str:
        return repr(self.inner)


def _why_broken(error: Exception) -> str:
    if isinstance(error, AssertionError):  # MMDetection's own, which names the file again
        return 'it can not be decoded'
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:300]


def _unlike(found: tuple[int, int], size: tuple[int, int]) -> str:
    return f'it is {found[0]} x {found[1]} pixels, and annotated as {size[0]} x {size[1]}'


def header_size(path: str) -> tuple[int, int] | None:
    """Width and height in pixels, as a file's header has them; None if Pillow does not know its format."""
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # Pillow warns of some that are welcome here
    try:
        with Image.open(path) as picture:
            return picture.size
    except Exception as error:  # a broken file raises whatever its decoder stumbles upon
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return None
    finally:
        Image.MAX_IMAGE_PIXELS = most


def secure(dataset: Dataset, journal: Journal | None = None) -> None:
    """Put :class:`SoundLoading` around what loads pictures in a data set's pipeline, once."""
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', None) or []
    for place, transform in enumerate(transforms):
        if isinstance(transform, LoadImageFromFile) and not isinstance(transform, LoadImageFromNDArray):
            transforms[place] = SoundLoading(transform, folder_of(dataset), journal)
