"""Writing weights alone, for others to use."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import safetensors.torch
from torch import Tensor

from damamba.checkpoint.files import CheckpointError, read
from damamba.checkpoint.states import state_dict_of
from damamba.checkpoint.writing import explained, save
from damamba.durable import part_of, settle


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
    if target.suffix == '.safetensors':
        state = {name: value.contiguous().clone() for name, value in state.items()}  # it refuses shared memory
        return _write_safetensors(state, {'meta': json.dumps(meta)}, target)
    return write_named_by_hash({'meta': meta, 'state_dict': state}, target)


def write_named_by_hash(content: dict, target: Path) -> Path:
    """Write a ``.pth`` file, ``-`` and the start of its SHA-256 before the ending of its name; return its path.

    Raises:
        CheckpointError: it could not be written.
    """
    with explained(target, content), part_of(target) as file:
        _, digest = save(content, file)
        return _settle(file, target, digest)


def write_weights(state: Mapping[str, Tensor], meta: dict | None, target: Path) -> None:
    """Write weights under this very name, ending in ``.pth`` or ``.safetensors``.

    Args:
        meta: what JSON holds, kept as the checkpoint's ``meta``; None: the weights alone, a bare state dict.

    Raises:
        CheckpointError: the name ends otherwise, or the file could not be written.
    """
    state = {name: value.contiguous().clone() for name, value in state.items()}  # a slice brings its whole storage
    if target.suffix == '.safetensors':
        data = _safetensors(state, {} if meta is None else {'meta': json.dumps(meta)}, target)
        with explained(target, state), part_of(target) as file:
            file.write(data)
            settle(file, target)
    elif target.suffix == '.pth':
        with explained(target, state), part_of(target) as file:
            save(state if meta is None else {'meta': meta, 'state_dict': state}, file)
            settle(file, target)
    else:
        raise CheckpointError(f'{target} must end in .pth or .safetensors')


def _write_safetensors(state: dict, metadata: dict[str, str], target: Path) -> Path:
    data = _safetensors(state, metadata, target)
    with explained(target, state), part_of(target) as file:
        file.write(data)
        return _settle(file, target, hashlib.sha256(data).hexdigest())


def _safetensors(state: dict, metadata: dict[str, str], target: Path) -> bytes:
    try:
        return safetensors.torch.save(state, metadata)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f'{target} could not be written: {error}') from error


def _settle(file: IO[bytes], target: Path, digest: str) -> Path:
    final = target.with_name(f'{target.stem}-{digest[:8]}{target.suffix}')
    settle(file, final)
    return final


def _plain(value):
    """Reduce a value to what JSON holds."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
