"""Files that one process holds at a time."""

import fcntl
from pathlib import Path
from typing import IO


class Lock:
    """A file that one process of this machine holds at a time; it is free again once that has died."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path.resolve()
        self._file: IO | None = None

    def take(self, wait: bool = True) -> bool:
        file = self.path.open('a')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def give(self) -> None:
        """Let go of it, if it is held."""
        if self._file:
            self._file.close()
            self._file = None
