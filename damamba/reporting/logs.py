"""Reading the logs that a training leaves in its work folder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class TrainingLog:
    """What a training logged. ``train`` rows have iter, epoch, loss and so on; ``val`` rows epoch and metrics."""

    train: list[dict] = field(default_factory=list)
    val: list[dict] = field(default_factory=list)

    def iterations_per_epoch(self) -> float:
        """How many iterations an epoch has, by the first rows of epochs; of a single epoch, what was logged of it."""
        firsts = {}
        for row in self.train:
            firsts.setdefault(row['epoch'], row['iter'])
        if len(firsts) < 2:
            return max((row['iter'] for row in self.train), default=1)
        (early, start), *_, (late, end) = sorted(firsts.items())
        return (end - start) / (late - early)

    def validated(self, metric: str) -> list[tuple[int, float]]:
        """Epochs and values of a metric such as ``segm_mAP``, where there was something to find."""
        found = (
            (row['epoch'], value) for row in self.val for key, value in row.items() if key.split('/')[-1] == metric
        )
        return [(epoch, value) for epoch, value in found if value >= 0]  # -1: there was nothing to find


def read_log(work_dir: Path) -> TrainingLog:
    """Read the scalars of all runs in a work folder as one training.

    A later run replaces what earlier ones logged from its own first iteration and epoch on: a resumed training goes on;
    one that begins with the first epoch starts anew. One that counts in iterations alone, without epochs, is left out.
    """
    log = TrainingLog()
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        rows = list(_rows(path))
        train = [row for row in rows if 'loss' in row]
        val = [{**row, 'epoch': row['step']} for row in rows if 'loss' not in row and 'step' in row]
        if any('epoch' not in row for row in train):
            continue
        start = min((row['epoch'] for row in (*train, *val)), default=float('inf'))
        if start <= 1:
            log = TrainingLog()
        earlier = [row for row in log.val if row['epoch'] < start]
        log = TrainingLog(_joined(log.train, train), earlier + val)
    return log


def _rows(path: Path) -> Iterator[dict]:
    """The lines of a log; the last one may have been cut off when the run was killed."""
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def _joined(earlier: list[dict], later: list[dict]) -> list[dict]:
    start = min((row['iter'] for row in later), default=float('inf'))
    return [row for row in earlier if row['iter'] < start] + later
