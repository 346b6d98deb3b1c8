"""The picture files themselves: are they there, whole, and of the size that is listed, EXIF's orientation heeded?"""

import math
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from damamba.datasets.folders import Folder, is_inside
from damamba.datasets.inspection.defects import Problem, count_pictures, list_names, short_repr
from damamba.datasets.inspection.records import AnnotationFile

ORIENTATION = 0x0112  # EXIF's tag
UNTURNED, SWAPPING = 1, (5, 6, 7, 8)  # its values: as it lies, and a quarter turn
DEEP = ('PNG', 'TIFF', 'PPM', 'JPEG2000')  # may have more than 8 bits
HALF = 2**15  # of the highest value: above it a picture of 16 bits is fed as bright as one of 8
LARGE, DENSEST = 2**26, 200  # pixels, and pixels of a byte, beyond which a picture is taken for a bomb
HEEDED = ('JPEG', 'MPO', 'PNG')  # where OpenCV, and so MMDetection, looks at the tag


class PictureFile(NamedTuple):
    """What a file turned out to be: a problem, or its size as it is stored, in pixels."""

    problem: Problem | None = None
    size: tuple[int, int] = (0, 0)  # width, height
    orientation: int = UNTURNED
    bytes: int = 0

    @property
    def fed(self) -> tuple[int, int]:
        """The size that MMDetection sees: it heeds the orientation, as OpenCV does."""
        return self.size[::-1] if self.orientation in SWAPPING else self.size


def read_picture_files(
    annotations: Iterable[AnnotationFile],
    decode: bool,
    workers: int,
    on_picture: Callable[[int, int], object],
    root: Path | None = None,
) -> dict[Path, PictureFile]:
    """Read each file of the folder ``root`` or of its pictures once, in threads: decoders work without Python's lock.

    What lies elsewhere, by its name or by a link, is not read.
    """
    found = {}
    for file in annotations:
        own = str(file.folder)
        is_below = root and is_inside(os.path.abspath(own), os.path.abspath(root))
        folder = Folder(str(root) if is_below else own, (own,))
        for _, path in file.located():
            if path not in found:
                reason = folder.why_outside(str(path))
                found[path] = PictureFile(('outside_picture', f'{short_repr(str(path))}: {reason}')) if reason else None
    paths = [path for path, outside in found.items() if outside is None]
    done = len(found) - len(paths)
    pool = ThreadPoolExecutor(workers)
    try:
        for path, file in zip(paths, pool.map(lambda path: read_picture_file(path, decode), paths), strict=True):
            found[path] = file
            done += 1
            on_picture(done, len(found))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def read_picture_file(path: Path, decode: bool) -> PictureFile:
    """Read a file's header and, with ``decode``, all of it."""
    try:
        if not path.is_file():
            return PictureFile(('missing_picture', f'{short_repr(str(path))} is not there'))
        with Image.open(path) as picture:
            heeded, size = picture.format in HEEDED, picture.size
            if not heeded and not cv2.haveImageReader(str(path)):
                text = f'{picture.format} is no format that OpenCV, and so MMDetection, reads'
                return PictureFile(('undecodable_picture', text))
            if decode and math.prod(size) > max(LARGE, DENSEST * path.stat().st_size):
                text = f'{size[0]} x {size[1]} pixels out of {path.stat().st_size} bytes: it is not decoded'
                return PictureFile(('undecodable_picture', text))
            if decode:
                picture.draft('L', (1, 1))  # a JPEG is read to its end all the same, but not computed in full
                picture.load()
                if picture.format in DEEP and (problem := _problem_of_depth(path)):
                    return PictureFile(problem)
            exif = Image.Image.getexif(picture)  # that of PNG would decode for it
        return PictureFile(None, size, exif.get(ORIENTATION, UNTURNED) if heeded else UNTURNED, path.stat().st_size)
    except Exception as error:  # a broken file raises whatever its decoder stumbles upon
        return PictureFile(('undecodable_picture', ' '.join(f'{type(error).__name__}: {error}'.split())))


def _problem_of_depth(path: Path) -> Problem | None:
    """What MMDetection's loader, OpenCV, makes of a picture that may have more than 8 bits."""
    content = np.fromfile(path, np.uint8)
    if cv2.imdecode(content, cv2.IMREAD_COLOR) is None:
        return 'undecodable_picture', 'OpenCV, and so MMDetection, can not read it: save it with 8 bits a channel'
    pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        return None
    highest = int(pixels.reshape(*pixels.shape[:2], -1)[..., :3].max())  # alpha is not fed
    if highest >= HALF:
        return None
    return 'deep_picture', f'16 bits with values up to {highest}, fed as {highest // 256} of 255: scale them to 8 bits'


def compare_with_listed(annotations: AnnotationFile, files: dict[Path, PictureFile]) -> list[str]:
    """Report what is wrong with the pictures of an annotation file; return what is worth knowing."""
    turned = []
    for picture, path in annotations.located():
        file = files[path]
        turn = f', after EXIF orientation {file.orientation}' if file.orientation != UNTURNED else ''
        if file.problem:
            annotations.report(*file.problem, picture)
        elif picture.size and picture.size != file.fed:
            kind = 'exif_turned' if picture.size == file.size else 'size_mismatch'
            listed, fed = (f'{width} x {height}' for width, height in (picture.size, file.fed))
            annotations.report(kind, f'listed as {listed}, MMDetection reads {fed}{turn}', picture)
        elif turn:
            turned.append(picture.file_name)
    heeded = 'with an EXIF orientation, which MMDetection heeds; their annotations have to be of the turned picture'
    return [f'{annotations.name}: {count_pictures(turned)} {heeded}: {list_names(turned)}'] if turned else []
