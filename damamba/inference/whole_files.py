"""Files that are there as a whole, or not at all."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a path beside this one, of the same suffix; what was written there takes its place at the end."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f'.{os.getpid()}-{threading.get_ident()}{path.suffix}')  # short: a name has 255 bytes
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that nobody ever sees half of; its folder is made."""
    with written_whole(path) as beside:
        beside.write_bytes(content)
