"""Writing a checkpoint: with its digest, and with errors that say what is missing."""

import errno
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from damamba.checkpoint.files import CheckpointError

PLACE = 256  # bytes that torch writes about a tensor, and to align it


def save(content: dict, file: IO[bytes]) -> tuple[int, str]:
    """Write a checkpoint as torch does; its size in bytes and its SHA-256 in hexadecimal digits."""
    sink = _Hashing(file)
    try:
        torch.save(content, sink)
    except RuntimeError:
        if sink.error:  # torch says that a position is unexpected, and hides why
            raise sink.error from None
        raise
    return sink.size, sink.digest.hexdigest()


class _Hashing:
    """What torch writes into: it takes the digest of what goes by."""

    def __init__(self, file: IO[bytes]):
        self.file, self.digest, self.size, self.error = file, hashlib.sha256(), 0, None

    def write(self, data) -> int:
        try:
            self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


@contextmanager
def explained(path: Path, content: dict) -> Iterator[None]:
    """Say which file could not be written; on a full disk also how much is missing, and where."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        text = f'{path} could not be written: {error}'
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = f'{path} could not be written: {error.strerror}: {_shortage(path.parent, content)}'
        raise CheckpointError(text) from error


def _shortage(folder: Path, content: dict) -> str:
    needed, free = size_of(content), shutil.disk_usage(folder).free
    mount = next(it for it in (folder.absolute(), *folder.absolute().parents) if it.is_mount())
    lacking = f', {_megabytes(needed - free)} too few' if needed > free else ''
    return f'it needs about {_megabytes(needed)}, {_megabytes(free)} are free on {mount}{lacking}'


def _megabytes(count: int) -> str:
    return f'{count / 1e6:,.1f} MB'


def size_of(content: Any) -> int:
    """About how many bytes a checkpoint takes: its tensors, those that share memory counted once, and their places."""
    storages = {it.untyped_storage().data_ptr(): it.untyped_storage().nbytes() for it in tensors_in(content)}
    return sum(storages.values()) + PLACE * len(storages)


def tensors_in(content: Any) -> Iterator[torch.Tensor]:
    """All tensors in dictionaries, lists and tuples."""
    if isinstance(content, torch.Tensor):
        yield content
    elif isinstance(content, Mapping | list | tuple):
        for value in content.values() if isinstance(content, Mapping) else content:
            yield from tensors_in(value)
