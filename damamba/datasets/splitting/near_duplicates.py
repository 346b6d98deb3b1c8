"""Pictures of nearly the same view: saved again, made smaller, a little brighter, or the next one of a film."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from damamba.datasets.inspection.picture_files import DENSEST, LARGE, PictureFile

SIDE = 16  # pixels of what is compared
ALIKE = 0.95  # correlation; of unlike pictures, in one tote too, it is 0.7 at most
ROWS = 256  # compared at once


def find_near_duplicates(
    files: Mapping[Path, PictureFile], least: float, workers: int
) -> tuple[dict[Path, int], list[Path]]:
    """A number for each picture, and the pictures that can't be compared.

    Those of one number hang together by pairs whose small copies correlate by ``least`` or more.
    """
    with ThreadPoolExecutor(workers) as pool:
        copies = dict(zip(files, pool.map(small_copy, files, files.values()), strict=True))
    paths = [path for path, copy in copies.items() if copy is not None]
    others = [path for path, copy in copies.items() if copy is None]
    numbers = _connect(np.stack([copies[path] for path in paths]), least).tolist() if paths else []
    return dict(zip([*paths, *others], [*numbers, *range(len(paths), len(files))], strict=True)), others


def small_copy(path: Path, file: PictureFile) -> np.ndarray | None:
    """A picture in 16 x 16 pixels, as a vector of mean 0 and length 1; None where it is unreadable, or of one colour.

    Its proportions do not count, nor do brightness and contrast; its EXIF orientation does.
    """
    if file.problem or math.prod(file.size) > max(LARGE, DENSEST * file.bytes):
        return None
    try:
        with Image.open(path) as picture:
            picture.draft('RGB', (8 * SIDE, 8 * SIDE))  # a JPEG is not computed in full
            turned = ImageOps.exif_transpose(picture).convert('RGB')
            pixels = np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()
    except Exception:  # a broken file raises whatever its decoder stumbles upon; the check of the result names it
        return None
    pixels = pixels - pixels.mean()
    length = float(np.linalg.norm(pixels))
    return pixels / length if length > len(pixels) ** 0.5 else None


def _connect(copies: np.ndarray, least: float) -> np.ndarray:
    """Rows of [N, D], of length 1 -> [N], equal for those that hang together; pairs are forgotten block by block."""
    count = len(copies)
    numbers = np.arange(count)
    for start in range(0, count, ROWS):
        one, other = np.nonzero(copies[start : start + ROWS] @ copies[start:].T >= least)
        edges = numbers[start + one], numbers[start + other]
        graph = coo_array((np.ones(len(one), bool), edges), shape=(count, count))
        numbers = connected_components(graph, directed=False)[1][numbers]
    return numbers
