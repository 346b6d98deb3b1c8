"""The picture files themselves: are they there, whole, of the size that is listed, and different from each other?"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import cv2
from PIL import Image, ImageFile

from damamba.datasets.inspection.defects import told

ORIENTATION = 0x0112  # EXIF's tag
UNTURNED, SWAPPING = 1, (5, 6, 7, 8)  # its values: as it lies, and a quarter turn
HEEDED = ('JPEG', 'MPO', 'PNG')  # where OpenCV, and so MMDetection, looks at the tag


@dataclass(frozen=True, slots=True)
class Look:
    """What a file turned out to be: a ``problem`` (kind of defect, text), or its size as it is stored, in pixels."""

    problem: tuple[str, str] | None = None
    size: tuple[int, int] = (0, 0)  # width, height
    orientation: int = UNTURNED
    bytes: int = 0

    @property
    def fed(self) -> tuple[int, int]:
        """The size that MMDetection sees: it heeds the orientation, as OpenCV does."""
        return self.size[::-1] if self.orientation in SWAPPING else self.size


def look_at_all(
    paths: Iterable[Path], decode: bool, workers: int, on_picture: Callable[[int, int], object]
) -> dict[Path, Look]:
    """Look at each file once, in threads: decoders work without Python's lock."""
    paths, looks = list(dict.fromkeys(paths)), {}
    pool = ThreadPoolExecutor(workers)
    try:
        for path, found in zip(paths, pool.map(lambda path: look_at(path, decode), paths), strict=True):
            looks[path] = found
            on_picture(len(looks), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
    return looks


def look_at(path: Path, decode: bool) -> Look:
    """Read a file's header and, with ``decode``, all of it."""
    try:
        if not path.is_file():
            return Look(('missing_picture', f'{told(str(path))} is not there'))
        return _read(path, decode)
    except Exception as error:  # a broken file raises whatever its decoder stumbles upon
        return Look(('undecodable_picture', ' '.join(f'{type(error).__name__}: {error}'.split())))


def _read(path: Path, decode: bool) -> Look:
    with Image.open(path) as picture:
        if picture.format not in HEEDED and not cv2.haveImageReader(str(path)):
            return Look(
                ('undecodable_picture', f'{picture.format} is no format that OpenCV, and so MMDetection, reads')
            )
        size = picture.size
        if decode:
            _decode(picture)
        exif = Image.Image.getexif(picture)  # that of PNG would decode for it
        orientation = exif.get(ORIENTATION, UNTURNED) if picture.format in HEEDED else UNTURNED
    return Look(size=size, orientation=orientation, bytes=path.stat().st_size)


def _decode(picture: ImageFile.ImageFile) -> None:
    picture.draft('L', (1, 1))  # a JPEG is read to its end all the same, but not computed in full
    picture.load()


def contents(looks: dict[Path, Look]) -> dict[Path, bytes | Path]:
    """What is equal for files with equal bytes. Only those of equal length are read; others are their own name."""
    by_length = defaultdict(list)
    for path, found in looks.items():
        if found.bytes:
            by_length[found.bytes].append(path)
    read = {path: _digest(path) for paths in by_length.values() if len(paths) > 1 for path in paths}
    return {path: read.get(path, path) for path in looks}


def _digest(path: Path) -> bytes | Path:
    try:
        return blake2b(path.read_bytes()).digest()
    except OSError:  # gone since
        return path
