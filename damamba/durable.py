"""Files that are there as a whole, whenever the machine stops: written beside, flushed to the disk, renamed."""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PART = re.compile(r'\..+\.\d+\.part', re.DOTALL)  # what part_of calls its files
NO_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)  # of file systems that flush no folders


@contextmanager
def part_of(target: Path) -> Iterator[IO[bytes]]:
    """A new file beside the target, ``.NAME.PID.part``, locked for as long as its process lives, gone at the end.

    The target's folder is made. :func:`settle` gives the file its final name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f'.{target.name}.{os.getpid()}.part')
    try:
        with part.open('w+b') as file:
            _lock(file)
            yield file
    finally:
        part.unlink(missing_ok=True)


def settle(file: IO[bytes], target: Path) -> None:
    """Give a file of :func:`part_of` its final name, once its bytes are on the disk; and flush the name too."""
    file.flush()
    os.fsync(file.fileno())
    os.replace(file.name, target)
    _flush_folder(target.parent)


def write_text(target: Path, text: str) -> None:
    """Write a small file of text."""
    with part_of(target) as file:
        file.write(text.encode())
        settle(file, target)


def is_leftover(path: Path) -> bool:
    """Whether this is a file of :func:`part_of` whose process is no more."""
    if not PART.fullmatch(path.name) or path.is_symlink() or not path.is_file():
        return False
    try:
        with path.open('r+b') as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # it is being written, or is not ours
        return False
    return True


def _lock(file: IO[bytes]) -> None:
    """By a lock of the process, which no fork inherits: a data worker may outlive its parent."""
    with suppress(OSError):  # there are file systems without locks
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise
    finally:
        os.close(descriptor)
