"""Reading the logs that a training leaves in its work folder."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from damamba.run_record import check_shape
from damamba.tables import is_figure

NUMBERS = ('loss', 'epoch', 'iter', 'step')  # of a row, where it has them


@dataclass(frozen=True)
class TrainingLog:
    """What a training logged."""

    train: list[dict] = field(default_factory=list)  # rows of iter, epoch, loss and so on
    val: list[dict] = field(default_factory=list)  # rows of epoch and metrics
    left_out: list[str] = field(default_factory=list)  # logs that count in iterations alone, without epochs
    broken: list[str] = field(default_factory=list)  # logs that can't be read

    def iterations_per_epoch(self) -> float:
        """How many iterations an epoch has, by the first rows of epochs; of a single epoch, what was logged of it."""
        firsts = {row['epoch']: row['iter'] for row in reversed(self.train)}
        if len(firsts) < 2:
            return max((row['iter'] for row in self.train), default=1) or 1
        early, late = min(firsts), max(firsts)
        return (firsts[late] - firsts[early]) / (late - early) or 1

    def validated(self, metric: str) -> list[tuple[int, float]]:
        """Epochs and values of a metric such as ``segm_mAP``, where there was something to find."""
        cells = ((row['epoch'], key.split('/')[-1], value) for row in self.val for key, value in row.items())
        return [(epoch, value) for epoch, name, value in cells if name == metric and is_figure(value)]


def read_log(work_dir: Path) -> TrainingLog:
    """Read the scalars of all runs in a work folder as one training.

    A later run replaces what earlier ones logged from its own first iteration and epoch on: a resumed training goes on;
    one that begins with the first epoch starts anew. One that counts in iterations alone, without epochs, is left out.
    """
    train, val, left_out, broken = [], [], [], []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        try:
            rows = _rows(path)
        except (OSError, ValueError, RecursionError):
            broken.append(str(path))
            continue
        losses = [row for row in rows if 'loss' in row]
        metrics = [{**row, 'epoch': row['step']} for row in rows if 'loss' not in row and 'step' in row]
        if any('epoch' not in row for row in losses):
            left_out.append(str(path))
            continue
        epoch = min((row['epoch'] for row in (*losses, *metrics)), default=math.inf)
        iteration = min((row['iter'] for row in losses), default=math.inf)
        if epoch <= 1:
            train, val = [], []
        train = [row for row in train if row['iter'] < iteration] + losses
        val = [row for row in val if row['epoch'] < epoch] + metrics
    return TrainingLog(train, val, left_out, broken)


def _rows(path: Path) -> list[dict]:
    """The lines of a log, of which the last may have been cut off; ValueError where one is none of a training."""
    rows = []
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        check_shape(row, 'object')
        for key in NUMBERS:
            if key in row or (key == 'iter' and 'loss' in row):
                check_shape(row.get(key), 'number')
        rows.append(row)
    return rows
