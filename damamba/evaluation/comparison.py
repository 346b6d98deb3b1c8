"""Whether one of two models is better, on the same pictures: a difference, and how sure it is."""

import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from damamba.durable import part_of, settle
from damamba.evaluation.intervals import interval

MEANINGLESS = 0.01  # a figure below it is too near to nothing to say which of two models is better
LEAST_PICTURES = 8  # below which resampling tells too little: two equal models would lead too often
MOST_PICTURES = 1_000_000  # more than anybody annotates for a test
DIGITS = 6  # of differences: what draws are kept with
UNREADABLE = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Difference:
    """How much a first model is ahead of a second, with its 95 % interval, on so many pictures."""

    value: float
    low: float
    high: float
    pictures: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves no room for the two to be equal."""
        return not self.low <= 0 <= self.high

    @property
    def more_pictures(self) -> int | None:
        """How many more pictures like these would tell, were the difference to stay; None where too many would.

        An interval shrinks with the root of their number.
        """
        if self.is_clear:
            return 0
        if self.pictures < LEAST_PICTURES:
            return LEAST_PICTURES - self.pictures
        reach = self.value - self.low if self.value > 0 else self.high - self.value
        wanted = self.pictures * (reach / self.value) ** 2 if self.value else math.inf
        more = wanted - self.pictures
        return max(1, math.ceil(more)) if more <= MOST_PICTURES else None


def compare(first: np.ndarray, second: np.ndarray, values: tuple[float, float], pictures: int) -> Difference:
    """Compare a figure of two models by their draws of the same pictures.

    Where the draws are not of the same pictures, or of less than LEAST_PICTURES, the difference can be anything from -1
    to 1.
    """
    ends = None
    if first.shape == second.shape and pictures >= LEAST_PICTURES:
        ends = interval(np.round(np.asarray(first, dtype=float) - second, DIGITS), pictures)
    low, high = ends or (-1.0, 1.0)
    return Difference(values[0] - values[1], low, high, pictures)


def is_meaningful(value: float, ends: tuple[float, float] | list[float] | None = None) -> bool:
    """Whether a figure, with the ends of its interval if there is one, is far enough from nothing to lead."""
    return min(value, ends[1] if ends else value) >= MEANINGLESS


def write_draws(path: Path, draws: Mapping[str, np.ndarray]) -> None:
    """Write the draws of a run by ``<prefix>/<kind>``, each as an ``Evaluation`` has it; without any, leave no file."""
    if not draws:
        path.unlink(missing_ok=True)
        return
    with part_of(path) as file:
        np.savez(file, **draws)
        settle(file, path)


def read_draws(path: Path) -> dict[str, np.ndarray]:
    """The draws of a file of :func:`write_draws`, a row each; empty where there is none, or it is broken."""
    try:
        with np.load(path, allow_pickle=False) as file:
            draws = {name: file[name] for name in file.files}
    except UNREADABLE:
        return {}
    return {name: it for name, it in draws.items() if it.ndim == 2 and it.dtype.kind == 'f'}
