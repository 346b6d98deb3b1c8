"""What the benchmarks' tests share: reading what they write."""

import csv
from pathlib import Path

ORIGIN = ['device', 'machine', 'cores', 'threads', 'torch', 'triton', 'numba', 'timm', 'mmdet', 'damamba']
ORIGIN += ['commit', 'date']


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows, each with its origin at the end."""
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-len(ORIGIN) :] == ORIGIN
    assert all(row['machine'] and row['torch'] and row['damamba'] and row['date'].endswith('+00:00') for row in rows)
    return rows
