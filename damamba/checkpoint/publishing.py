"""Writing weights alone, for others to use."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from damamba.checkpoint.files import CheckpointError, read
from damamba.checkpoint.states import state_dict_of


def publish(source: str | os.PathLike, target: str | os.PathLike) -> Path:
    """Write the weights of a training checkpoint and nothing else, the start of their SHA-256 in the file's name.

    Args:
        source: a training checkpoint, path or URL.
        target: where to write, ending in ``.pth`` or ``.safetensors``; ``-<8 hex digits>`` goes before the ending.

    Returns:
        The path written.

    Raises:
        CheckpointError: the source can't be read or holds no tensors, or the target can't be written.
    """
    target = Path(target)
    if target.suffix not in ('.pth', '.safetensors'):
        raise CheckpointError(f'{target} must end in .pth or .safetensors')
    content = read(source)
    state, _ = state_dict_of(content)
    if not state:
        raise CheckpointError(f'{source} holds no tensors; wanted a training checkpoint')
    meta = content.get('meta')
    try:
        meta = {'dataset_meta': _plain(meta.get('dataset_meta') or {}) if isinstance(meta, Mapping) else {}}
    except RecursionError as error:
        raise CheckpointError(f'{source}: its dataset_meta holds itself, or is nested too deep') from error
    with _beside(target) as part:
        if target.suffix == '.safetensors':
            state = {name: value.contiguous().clone() for name, value in state.items()}  # it refuses shared memory
            safetensors.torch.save_file(state, part, metadata={'meta': json.dumps(meta)})
        else:
            with part.open('wb') as file:  # given a path, torch writes its name into the file, and into the hash
                torch.save({'meta': meta, 'state_dict': state}, file)
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        final = target.with_name(f'{target.stem}-{digest[:8]}{target.suffix}')
        part.replace(final)
    return final


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A scratch file in the target's folder, gone afterwards, so that no half-written file has a final name."""
    part = target.with_name(f'.{target.name}.{os.getpid()}.part')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:  # the latter two for what lies below Python
        raise CheckpointError(f'{target} could not be written: {error}') from error


def _plain(value):
    """Reduce a value to what JSON holds."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
