"""Weights as Hugging Face lays them: a folder, one file or several by an index, and the names of the classes beside."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from damamba.checkpoint.conversion.coco import CLASSES
from damamba.checkpoint.conversion.mask2former import PANOPTIC
from damamba.checkpoint.files import CheckpointError, is_url, read
from damamba.checkpoint.states import state_dict_of

INDEX = '.index.json'
FILES = tuple(f'{name}{end}' for name in ('model.safetensors', 'pytorch_model.bin') for end in ('', INDEX))
SHARD = re.compile(r'-\d{5}-of-(?!00001)\d{5}\.\w+$')
OTHER_NAMES = {  # as Hugging Face's configs of COCO's instances have them
    'motorbike': 'motorcycle', 'aeroplane': 'airplane', 'sofa': 'couch', 'pottedplant': 'potted plant',
    'diningtable': 'dining table', 'tvmonitor': 'tv',
}  # fmt: skip


class Labels(NamedTuple):
    """Names of classes, and the file that gives them."""

    names: tuple[str, ...]  # by their ids, which are the rows of the weights
    path: Path


def files_of(source: str | os.PathLike) -> list[str | os.PathLike]:
    """The files of weights that a path or URL stands for: itself, or those of a folder or of an index.

    Raises:
        CheckpointError: a folder has none, an index names none or files elsewhere, or it is one shard of several.
    """
    path, remote = Path(source).expanduser(), is_url(source)
    if SHARD.search(path.name):
        where = 'download the folder that it lies in, and give that' if remote else f'give its folder, {path.parent}'
        raise CheckpointError(f'{source} is one shard of several: {where}')
    if remote and path.name.endswith(INDEX):
        raise CheckpointError(f'{source} names shards: download the folder that it lies in, and give that')
    if not remote and path.is_dir():
        path = source = _weights_in(path)
    return _shards(path) if path.name.endswith(INDEX) else [source]


def read_source(source: str | os.PathLike) -> dict:
    """Read what :func:`files_of` finds, as :func:`damamba.checkpoint.read` does; shards become one state dict.

    Raises:
        CheckpointError: of both, or two shards hold the same tensor.
    """
    first, *others = files_of(source)
    if not others:
        return read(first)
    state = {}
    for path in (first, *others):
        part, _ = state_dict_of(read(path))
        if twice := next((name for name in part if name in state), None):
            raise CheckpointError(f'{path} holds {twice}, which another shard holds, too')
        state |= part
    return {'state_dict': state}


def labels_beside(source: str | os.PathLike) -> Labels | None:
    """The classes that ``id2label`` of config.json names, in a folder or beside a file; None where none does.

    None also of transformers' own ``LABEL_0`` and of things and stuff; names of COCO's classes are those of COCO.
    """
    folder = Path(source).expanduser()
    path = (folder if folder.is_dir() else folder.parent) / 'config.json'
    try:
        content = {} if is_url(source) else json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):  # then --classes is asked for
        return None
    names = _names(content.get('id2label') if isinstance(content, Mapping) else None)
    return Labels(names, path) if names else None


def _names(labels: object) -> tuple[str, ...] | None:
    """By their ids, which go from 0 on without a gap."""
    if not isinstance(labels, Mapping) or not all(isinstance(it, str) for it in labels.values()):
        return None
    names = tuple(labels.get(str(number), '') for number in range(len(labels)))
    if not all(names) or len(names) == PANOPTIC or names[0] == 'LABEL_0':
        return None
    coco = tuple(CLASSES.values())
    return coco if tuple(OTHER_NAMES.get(name, name) for name in names) == coco else names


def _weights_in(folder: Path) -> Path:
    found = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(f'{folder} has none of {", ".join(FILES)}: give the file of the weights itself')
    return found


def _shards(index: Path) -> list[Path]:
    """The files that an index names, all in its own folder."""
    try:
        content = json.loads(index.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f'{index} can not be read as an index of shards: {error or type(error).__name__}'
        ) from error
    places = content.get('weight_map') if isinstance(content, Mapping) else None
    if not isinstance(places, Mapping) or not places:
        raise CheckpointError(f'{index} names no shards under weight_map, as an index of Hugging Face does')
    names = list(dict.fromkeys(map(str, places.values())))
    for name in names:
        if not re.fullmatch(r'[\w.-]+\.(safetensors|bin)', name) or '..' in name:
            raise CheckpointError(f'{index} names {name!r}, which is no file of weights in its own folder')
    return [index.parent / name for name in names]
