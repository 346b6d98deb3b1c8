"""Reading the logs that a training leaves in its work folder."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class TrainingLog:
    """What a training logged. ``train`` rows have iter, epoch, loss and so on; ``val`` rows epoch and metrics.

    ``left_out`` names the logs that count in iterations alone, without epochs, ``broken`` those that can't be read.
    """

    train: list[dict] = field(default_factory=list)
    val: list[dict] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def iterations_per_epoch(self) -> float:
        """How many iterations an epoch has, by the first rows of epochs; of a single epoch, what was logged of it."""
        firsts = {}
        for row in self.train:
            firsts.setdefault(row['epoch'], row['iter'])
        if len(firsts) < 2:
            return max((row['iter'] for row in self.train), default=1) or 1
        (early, start), *_, (late, end) = sorted(firsts.items())
        return (end - start) / (late - early) or 1

    def validated(self, metric: str) -> list[tuple[int, float]]:
        """Epochs and values of a metric such as ``segm_mAP``, where there was something to find."""
        found = (
            (row['epoch'], value) for row in self.val for key, value in row.items() if key.split('/')[-1] == metric
        )
        return [(epoch, value) for epoch, value in found if _measured(value)]  # -1: there was nothing to find


def read_log(work_dir: Path) -> TrainingLog:
    """Read the scalars of all runs in a work folder as one training.

    A later run replaces what earlier ones logged from its own first iteration and epoch on: a resumed training goes on;
    one that begins with the first epoch starts anew. One that counts in iterations alone, without epochs, is left out.
    """
    log, left_out, broken = TrainingLog(), [], []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        try:
            rows = _rows(path)
        except (OSError, ValueError):
            broken.append(str(path))
            continue
        train = [row for row in rows if 'loss' in row]
        val = [{**row, 'epoch': row['step']} for row in rows if 'loss' not in row and 'step' in row]
        if any('epoch' not in row for row in train):
            left_out.append(str(path))
            continue
        start = min((row['epoch'] for row in (*train, *val)), default=float('inf'))
        if start <= 1:
            log = TrainingLog()
        earlier = [row for row in log.val if row['epoch'] < start]
        log = TrainingLog(_joined(log.train, train), earlier + val)
    return replace(log, left_out=left_out, broken=broken)


def _rows(path: Path) -> list[dict]:
    """The lines of a log; the last one may have been cut off when the run was killed.

    Raises:
        OSError: it can't be read.
        ValueError: it is no text, or a line is none of a training.
    """
    rows = []
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not _is_row(row):
            raise ValueError(f'{path} has a line that is none of a training: {line[:80]}')
        rows.append(row)
    return rows


def _is_row(row: object) -> bool:
    """A training's has its iteration; what counts is a number."""
    return (
        isinstance(row, dict)
        and all(_is_number(row[key]) for key in ('loss', 'epoch', 'iter', 'step') if key in row)
        and ('loss' not in row or 'iter' in row)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _measured(value: object) -> bool:
    return _is_number(value) and math.isfinite(value) and value >= 0


def _joined(earlier: list[dict], later: list[dict]) -> list[dict]:
    start = min((row['iter'] for row in later), default=float('inf'))
    return [row for row in earlier if row['iter'] < start] + later
