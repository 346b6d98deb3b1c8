"""What a run records of a data set: its name, and the digest that tells whether two are the same."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

SPLITS = ('train', 'val', 'test')
BLOCK = 2**20  # bytes that are read at a time


def describe(files: Sequence[str], classes: Sequence[str] | None, info: dict | None) -> dict:
    """A data set: its name, classes, what its file says of itself, and the file's SHA-256; null what is not known.

    Its name is that of its file, ``instances_val2017``, or of the folder if the file is called after a split. Names of
    several files are joined, and the digest is that of their digests.
    """
    paths = [Path(file).absolute() for file in files]
    names = [path.parent.name if path.stem in SPLITS else path.stem for path in paths]
    digests = [sha256_of(path) for path in paths]
    if len(digests) > 1 and None not in digests:
        digests = [hashlib.sha256(' '.join(digests).encode()).hexdigest()]
    description = info.get('description') if isinstance(info, dict) else None
    return {
        'name': ' and '.join(names) or None,
        'classes': list(classes) if classes else None,
        'description': description if isinstance(description, str) else None,
        'sha256': digests[0] if len(digests) == 1 else None,
    }


def sha256_of(path: Path) -> str | None:
    """Of a file, in hexadecimal digits; None if it is not on this machine."""
    digest = hashlib.sha256()
    try:
        with path.open('rb') as file:
            for block in iter(partial(file.read, BLOCK), b''):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()
