"""The check for duplicate images: the same bytes in two splits, which is a leak, or twice in a file."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from pathlib import Path

from damamba.datasets.inspection.defects import count_pictures, list_names, short_repr
from damamba.datasets.inspection.picture_files import PictureFile
from damamba.datasets.inspection.records import AnnotationFile


def find_duplicates(annotations: Sequence[AnnotationFile], files: dict[Path, PictureFile]) -> list[str]:
    """Report leaks between splits, and copies within a file; return other pictures that files share as notes."""
    contents = contents_of(files)
    listed, shared = defaultdict(list), defaultdict(list)
    for file in annotations:
        for picture, path in file.located():
            listed[contents[path]].append((file, picture))
    for copies in listed.values():
        firsts = {}  # of each file
        for file, picture in copies:
            first = firsts.setdefault(file.name, (file, picture))[1]
            if first.file_name != picture.file_name:  # equal names are another kind
                file.report('same_picture', f'it has the same bytes as {short_repr(first.file_name)}', picture)
        (file, picture), *others = firsts.values()
        for other, copy in others:
            if file.split and other.split and file.split != other.split:
                file.report('leak', f'it is in {other.name} too, as {short_repr(copy.file_name)}', picture)
            else:
                shared[file.name, other.name].append(picture.file_name)
    return [f'{a} and {b} share {count_pictures(names)}: {list_names(names)}' for (a, b), names in shared.items()]


def contents_of(files: dict[Path, PictureFile]) -> dict[Path, Hashable]:
    """For each file what is equal for those of the same bytes."""
    lengths = Counter(file.bytes for file in files.values() if file.bytes)  # others can't be equal, and are not read
    return {path: _digest_file(path) if lengths[file.bytes] > 1 else path for path, file in files.items()}


def _digest_file(path: Path) -> bytes | Path:
    try:
        return blake2b(path.read_bytes()).digest()
    except OSError:  # gone since
        return path
