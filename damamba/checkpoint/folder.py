"""The checkpoints in a run's own folder: written so that none is ever broken, and found again.

The order of a save: the file beside, its bytes on the disk, its name; the manifest ``checkpoints.json`` with its size
and SHA-256; the pointer ``last_checkpoint`` with its bare name; and only then are older ones deleted. Whenever the
process is killed, what has a final name is whole. Names lead nowhere else, so that a folder can be moved.
"""

import hashlib
import json
import math
import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from damamba.checkpoint.files import CheckpointError, read
from damamba.checkpoint.writing import explained, save
from damamba.durable import is_leftover, part_of, settle, write_text

MANIFEST, POINTER = 'checkpoints.json', 'last_checkpoint'
REGULAR, INTERRUPTED, BEST = 'regular', 'interrupted', 'best'
EARLIER = 'earlier'  # of a training before this one, which began anew: never deleted
NUMBERED = re.compile(r'(epoch|iter)_(\d+)\.pth')
ENTRY = {  # what the manifest says of a file
    'size': int,
    'sha256': str | None,
    'epoch': int | None,
    'iter': int | None,
    'kind': str,
    'validated': bool,
}
FEWEST = 2  # checkpoints that are always kept
BLOCK = 2**20  # bytes that are read at a time


class CheckpointFolder:
    """One folder, in which one process writes; every process may read.

    Args:
        root: the folder. It is made by the first :meth:`write`.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self._lock = threading.RLock()

    def write(
        self, name: str, content: dict, *, step: int, epoch: int, kind: str = REGULAR, validated: bool = False
    ) -> Path:
        """Write a checkpoint, which takes the place of one of the same name, and enter it into the manifest.

        Args:
            name: of the file, without a folder.
            step: iterations that were finished.
            epoch: epochs that were finished.
            kind: ``regular``, ``interrupted`` or ``best``; the latter is none to go on from.
            validated: whether nothing is left to be validated at this step.

        Raises:
            CheckpointError: it could not be written. What was there before is there still.
        """
        path = self._path(name)
        with self._lock, explained(path, content):
            with part_of(path) as file:
                size, sha256 = save(content, file)
                self._change(name, None)  # killed before the new entry, the file is judged by its content
                settle(file, path)
            entry = dict(size=size, sha256=sha256, epoch=epoch, iter=step, kind=kind, validated=validated)
            self._change(name, entry)
            if kind != BEST:
                write_text(self.root / POINTER, name)
        return path

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the manifest says, by name, in the order of writing. What names no file of this folder is left out."""
        try:
            content = json.loads((self.root / MANIFEST).read_text(encoding='utf-8'))
        except (OSError, ValueError, RecursionError):  # none yet, or broken: then files are judged by their content
            return {}
        found = content.items() if isinstance(content, dict) else ()
        return {name: entry for name, entry in found if _is_bare(name) and _is_entry(entry)}

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, in this folder itself."""
        return _is_bare(name) and (self.root / name).is_file() and not (self.root / name).is_symlink()

    def mark_validated(self, name: str) -> None:
        """Note that nothing is left to be validated at a checkpoint's step."""
        with self._lock:
            entry = self.entries().get(name)
            if entry and not entry['validated']:
                self._enter({**self.entries(), name: {**entry, 'validated': True}})

    def remove(self, name: str) -> None:
        """Delete a file of this folder, if it is there, and then its entry."""
        with self._lock:
            if self.has(name):
                (self.root / name).unlink()
            self._change(name, None)

    def prune(self, keep: int) -> list[str]:
        """Delete all but the newest checkpoints to go on from; of interrupted steps all but the two newest.

        Args:
            keep: so many are kept, two at least; 0 or less keeps all that are regular.

        Returns:
            The names of the files that were deleted. Best ones, and files that were not written here, stay.
        """
        limits, kept, removed = {REGULAR: max(keep, FEWEST) if keep > 0 else math.inf, INTERRUPTED: FEWEST}, 0, []
        for name, entry in reversed(self.entries().items()):
            if entry['kind'] not in limits:
                continue
            if kept < limits[entry['kind']]:
                kept += self.has(name) and (self.root / name).stat().st_size == entry['size']
            else:
                self.remove(name)
                removed.append(name)
        return removed

    def clear_leftovers(self) -> None:
        """Delete what a save that was killed has left, and forget entries whose files are gone."""
        for path in self.root.iterdir() if self.root.is_dir() else ():
            if is_leftover(path):
                path.unlink(missing_ok=True)
        with self._lock:
            entries = self.entries()
            there = {name: entry for name, entry in entries.items() if self.has(name)}
            if there != entries:
                self._enter(there)

    def set_aside(self) -> None:
        """Before a training begins anew: what lies here is of an earlier one, which is no more newest, nor deleted."""
        unlisted = [path for group in self._unlisted() for path in reversed(group)]
        rest = dict(sha256=None, epoch=None, iter=None, kind=EARLIER, validated=False)
        with self._lock:
            listed = {name: {**it, 'kind': EARLIER} for name, it in self.entries().items() if it['kind'] != BEST}
            earlier = {path.name: dict(size=path.stat().st_size, **rest) for path in unlisted} | listed
            if earlier != self.entries():
                self._enter(earlier)

    def go_on_from(self, name: str, step: int, epoch: int) -> None:
        """Before a training goes on from a file of this folder: what lies beyond it is of one that was abandoned.

        Args:
            name: of the file. It is the newest then.
            step: iterations that it has finished, as far as the manifest does not say it.
            epoch: epochs that it has finished.
        """
        with self._lock:
            entries = self.entries()
            own = entries.pop(name, None)
            if own and own['iter'] is not None:
                step = own['iter']
            rest = dict(sha256=None, epoch=None, iter=None, kind=EARLIER, validated=False)
            changed = {
                path.name: dict(size=path.stat().st_size, **rest) for path in self._numbered_beyond(name, step, epoch)
            }
            for other, it in entries.items():
                is_beyond = it['kind'] != BEST and (it['iter'] or 0) > step
                changed[other] = {**it, 'kind': EARLIER} if is_beyond else it
            if own and own['iter'] is not None:  # one without is judged by its content again
                changed[name] = {**own, 'kind': REGULAR if own['kind'] == EARLIER else own['kind']}
            if list(changed.items()) != list(self.entries().items()):
                self._enter(changed)

    def _numbered_beyond(self, name: str, step: int, epoch: int) -> list[Path]:
        """Files without an entry whose names say that they are of later steps or epochs than another one."""
        limits = {'epoch': epoch, 'iter': step}
        paths = [path for group in self._unlisted() for path in reversed(group) if path.name != name]
        found = [(NUMBERED.fullmatch(path.name), path) for path in paths]
        return [path for match, path in found if match and int(match[2]) > limits[match[1]]]

    def newest_whole(self, fits: Callable[[Path], bool] = lambda path: True) -> tuple[Path | None, list[str]]:
        """The newest checkpoint to go on from that is as it was written.

        Files without an entry (MMEngine's, or written just before a kill) count by their own name and content. A path
        in ``last_checkpoint`` that leads to another folder is not followed. Where all files are gone there is none.

        Args:
            fits: which of the whole ones are looked for.

        Returns:
            Its path, None if there is none; and a sentence about each newer one that is damaged.
        """
        damaged: dict[str, str] = {}
        entries = self.entries()
        names = [name for name, entry in reversed(entries.items()) if entry['kind'] != BEST]
        names.sort(key=lambda name: entries[name]['kind'] == EARLIER)  # the others first
        listed = self._first_whole((self.root / name for name in names), damaged, fits)
        found = [self._first_whole(group, damaged, fits) for group in self._unlisted()]
        newest = max(filter(None, found), key=_progress, default=None)
        if listed and (newest is None or _place(entries[listed.name]) >= _progress(newest)):
            newest = listed
        if newest is None and not any(map(self.has, damaged)):
            return None, []
        instead = f'{newest.name} is taken' if newest else 'nothing whole is left'
        return newest, [f'{self.root / name} is damaged ({reason}): {instead}' for name, reason in damaged.items()]

    def verify(self, path: str | Path) -> None:
        """Hold a file of this folder against the manifest, or read it where that says nothing.

        Raises:
            CheckpointError: it is damaged; the text says how.
        """
        reason = self._damage(Path(path))
        if reason:
            raise CheckpointError(f'{path} is damaged ({reason})')

    def _first_whole(self, paths: Iterable[Path], damaged: dict[str, str], fits: Callable[[Path], bool]) -> Path | None:
        for path in paths:
            reason = self._damage(path)
            if reason:
                damaged[path.name] = reason
            elif fits(path):
                return path
        return None

    def _damage(self, path: Path) -> str | None:
        """What is wrong with a file; None if it is whole."""
        if not self.has(path.name):
            return 'it is gone'
        entry, size = self.entries().get(path.name), path.stat().st_size
        if entry and size != entry['size']:
            return f'{size:,} of {entry["size"]:,} bytes'
        if entry and entry['sha256']:
            return None if _sha256_of(path) == entry['sha256'] else 'its content is not what was written'
        return _why_unreadable(path)

    def _unlisted(self) -> list[list[Path]]:
        """The files without an entry that are checkpoints by their names, newest first: epochs, iterations, others."""
        entries, groups = self.entries(), {'epoch': [], 'iter': []}
        for path in self.root.iterdir() if self.root.is_dir() else ():
            numbered = NUMBERED.fullmatch(path.name)
            if numbered and path.name not in entries and self.has(path.name):
                groups[numbered[1]].append((int(numbered[2]), path))
        last = self._pointed_at()
        others = [self.root / last] if last and last not in entries and not NUMBERED.fullmatch(last) else []
        return [*([path for _, path in sorted(group, reverse=True)] for group in groups.values()), others]

    def _pointed_at(self) -> str | None:
        """The bare name in the pointer, if it is one of this folder's files."""
        try:
            name = Path((self.root / POINTER).read_text(encoding='utf-8').strip()).name
        except (OSError, ValueError):
            return None
        return name if self.has(name) else None

    def _path(self, name: str) -> Path:
        if not _is_bare(name):
            raise CheckpointError(f'{name!r} is no name of a file in {self.root}')
        return self.root / name

    def _change(self, name: str, entry: dict | None) -> None:
        """Put an entry at the end of the manifest, or take it out."""
        entries = self.entries()
        if entries.pop(name, None) or entry:
            self._enter(entries | ({name: entry} if entry else {}))

    def _enter(self, entries: dict) -> None:
        write_text(self.root / MANIFEST, json.dumps(entries, indent=1))


def _is_bare(name: object) -> bool:
    """Whether a text names a file, and no way to another folder."""
    return isinstance(name, str) and name not in ('', '.', '..') and not re.search(r'[/\\\0]', name)


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and all(key in entry and isinstance(entry[key], kind) for key, kind in ENTRY.items())


def _place(entry: Mapping[str, Any]) -> tuple[float, float]:
    """How far a training was; one before this training was nowhere."""
    if entry['kind'] == EARLIER or entry['iter'] is None or entry['epoch'] is None:
        return -1, -1
    return entry['iter'], entry['epoch']


def _progress(path: Path) -> tuple[float, float]:
    """How far a training was by what its checkpoint says."""
    meta = read(path)['meta']
    return meta['iter'], meta['epoch']


def _why_unreadable(path: Path) -> str | None:
    """Read a file that no manifest knows: torch does not compare the checksums in it."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken:
                return f'the checksum of {broken} in it is another'
        meta = read(path).get('meta')
    except (CheckpointError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError) as error:
        return str(error)
    counts = [meta.get(name) for name in ('epoch', 'iter')] if isinstance(meta, Mapping) else [None]
    return None if all(type(count) is int for count in counts) else 'it does not say after which epoch and iteration'


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        for block in iter(partial(file.read, BLOCK), b''):
            digest.update(block)
    return digest.hexdigest()
