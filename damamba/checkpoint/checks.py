"""What a checkpoint file is, and whether what it announces is in it: asked before and after torch reads it."""

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

LEAST = 2**26  # bytes that any file may announce
TIMES = 10  # the length of the file; torch itself compresses nothing
LONGEST = 150  # characters of a reason
MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, 'little')  # torch's, before its files were zip archives


def kind_of(path: Path) -> str:
    """What a file that torch can't read is, by its first bytes."""
    with path.open('rb') as file:
        start = file.read(512)
    if start.startswith(b'PK\x03\x04'):
        return 'a zip archive'
    if start[257:262] == b'ustar':
        return 'a tar archive, as torch wrote before version 0.1.10'
    if MAGIC in start[:32]:
        return "torch's format before version 1.6"
    if start[:1] == b'\x80' and start[1:2] in (b'\2', b'\3', b'\4', b'\5'):
        return f'a plain pickle of protocol {start[1]}, which torch.save did not write'
    if re.match(rb'[(\]}cI]', start):
        return 'text, or a plain pickle, which torch.save did not write'
    return f'it begins with {start[:8]!r}'


def first_sentence(error: str) -> str:
    """What torch met, of all that it says."""
    found = re.search(r'WeightsUnpickler error: *(.+)|DefaultCPUAllocator: (.+?bytes)', error)
    text = found[1] or found[2] if found else next((line for line in error.splitlines() if line.strip()), '')
    return re.split(r'(?<=\w)\. |  ', text.strip())[0][:LONGEST]


def why_too_large(path: Path) -> str | None:
    """Why a zip archive must not be unpacked: it would be far larger than the file; None if it may be."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    return _larger('its archive unpacks', unpacked, TIMES * path.stat().st_size)


def why_hollow(content: object, size: int) -> str | None:
    """Why the tensors of a file of so many bytes are not to be used: their values are not in it; None if they are."""
    for tensor in _tensors(content):
        shape = 'x'.join(map(str, tensor.shape))
        if tensor.device.type == 'meta':
            return f'it holds a tensor of {shape} without its values (torch.device("meta"))'
        announced = tensor.numel() * tensor.element_size()
        if reason := _larger(f'one of its tensors, {shape}, comes', announced, size):
            return reason
    return None


def _larger(what: str, announced: int, most: int) -> str | None:
    if announced <= max(most, LEAST):
        return None
    return f'{what} to {announced / 2**30:.3g} GiB, which is more than such a file can hold'


def _tensors(content: object) -> Iterator[Tensor]:
    """All that lie in dictionaries and lists, of which one may hold itself."""
    todo, seen = [content], set()
    while todo:
        node = todo.pop()
        if isinstance(node, Tensor):
            yield node
        elif isinstance(node, Mapping | list | tuple) and id(node) not in seen:
            seen.add(id(node))
            todo += node.values() if isinstance(node, Mapping) else node
