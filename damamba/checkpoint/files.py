"""Reading checkpoint files and nothing that could run: ``weights_only=True``, and a short list of harmless types.

What else a file carries could be code, and is refused unless :func:`trust_checkpoints` was called. What is wrong with a
file is one :class:`CheckpointError`.
"""

import argparse
import hashlib
import json
import logging
import os
import pickle
import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import safetensors
import torch
from filelock import FileLock

from damamba.checkpoint.arrays import PlainArray, PlainType, no_bytes, reconstruct, scalar
from damamba.checkpoint.checks import first_sentence, kind_of, why_hollow, why_too_large
from damamba.checkpoint.plain_pickles import protocol_of, read_model

logger = logging.getLogger('damamba.checkpoint')

WANTED = 'wanted a checkpoint (.pth or .safetensors)'
STATISTICS = ('min', 'max', 'mean', 'current')
_trusted = False


class CheckpointError(RuntimeError):
    """A file that can't be used as weights; the text names it, what it holds and what was wanted."""


class PlainHistory:
    """What MMEngine's log history becomes where MMEngine is not imported."""


def trust_checkpoints(trust: bool = True) -> None:
    """Let files run the code they carry while they are read, from now on, in this process."""
    global _trusted
    _trusted = trust
    if trust:
        logger.warning('Checkpoints are trusted: code that they carry will be run.')


def is_url(source: str | os.PathLike) -> bool:
    """Whether ``source`` is to be downloaded."""
    return str(source).startswith(('http://', 'https://'))


def read(source: str | os.PathLike, map_location: str | torch.device | None = 'cpu') -> dict:
    """Read a checkpoint as it was saved: a dict of whatever the trainer kept, or a bare state dict.

    Args:
        source: a path or URL of a ``.pth`` (any torch pickle) or ``.safetensors`` file. The latter gives
            ``dict(state_dict=..., meta=...)``.
        map_location: as in :func:`torch.load`.

    Raises:
        CheckpointError: the file is missing, can't be downloaded, is broken, or carries code.
    """
    if not is_url(source):
        return _read_file(Path(source).expanduser(), map_location)
    path = download(str(source))
    try:
        return _read_file(path, map_location)
    except CheckpointError as error:
        path.unlink(missing_ok=True)  # perhaps the download was cut off: the next call tries again
        raise CheckpointError(f'{source} was downloaded, and {error}') from error


def download(url: str) -> Path:
    """Fetch a URL into torch's cache of checkpoints, unless it lies there; return the path.

    Of several processes one fetches it, and the others wait. A Hugging Face page (``.../blob/...``) is rewritten to the
    file that it shows (``.../resolve/...``).
    """
    url = re.sub(r'^(https?://huggingface\.co/[^/]+/[^/]+)/blob/', r'\1/resolve/', url)
    name = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}-{Path(urlsplit(url).path).name}'
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    lock = path.parents[1] / 'locks' / f'{name}.lock'
    try:
        for folder in (path.parent, lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not path.exists():
                torch.hub.download_url_to_file(url, str(path), progress=sys.stderr.isatty())
    except (OSError, HTTPException, ValueError) as error:
        raise CheckpointError(f'{url} could not be downloaded: {error}') from error
    return path


def _read_file(path: Path, map_location) -> dict:
    _check_file(path)
    reader = _read_safetensors if path.suffix == '.safetensors' else _read_torch
    content = reader(path, map_location)
    hollow = why_hollow(content, path.stat().st_size) if map_location != 'meta' else None
    if hollow:
        raise CheckpointError(f'{path} can not be used: {hollow}; {WANTED}')
    if not isinstance(content, Mapping):
        raise CheckpointError(f'{path} holds a {type(content).__name__}; {WANTED}')
    meta = content.get('meta')
    if isinstance(meta, dict):
        meta.pop('config', None)  # MMCV 1.x keeps its config here as Python source, which MMEngine runs on --resume
    return dict(content)


def _check_file(path: Path) -> None:
    """Raise for what is visibly no checkpoint, in words that say what it is."""
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist or is not a file; {WANTED}')
    try:
        with path.open('rb') as file:
            start = file.read(512).lstrip()
    except OSError as error:
        raise CheckpointError(f'{path} can not be read: {error.strerror}; {WANTED}') from error
    kind = None
    if not start:
        kind = 'is empty'
    elif re.match(rb'<(!doctype|html|\?xml)', start, re.IGNORECASE):
        kind = 'is a web page, not weights: take the link of the file itself (on Hugging Face, "resolve", not "blob")'
    elif start.startswith(b'version https://git-lfs'):
        kind = 'is a Git LFS pointer, not the weights: run "git lfs pull"'
    if kind:
        raise CheckpointError(f'{path} {kind}; {WANTED}')


def _read_torch(path: Path, map_location) -> object:
    try:
        if reason := why_too_large(path):
            raise CheckpointError(f'{path} was not read: {reason}; {WANTED}')
        if protocol_of(path):
            return _read_plain(path, map_location)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # of protocols and the like, to who wrote the file
            if _trusted:
                return torch.load(path, map_location=map_location, weights_only=False)
            with torch.serialization.safe_globals(_harmless()):
                return torch.load(path, map_location=map_location, weights_only=True)
    except CheckpointError:
        raise
    except ImportError as error:
        raise CheckpointError(f'{path} needs a package that is not installed: {error}') from error
    except Exception as error:  # what torch's readers raise on bytes that are no checkpoint has no end
        raise CheckpointError(_reason(path, error)) from error


def _read_plain(path: Path, map_location) -> dict:
    try:
        return read_model(path, map_location or 'cpu')
    except Exception as error:  # as of torch's readers
        met = str(error).removeprefix('GLOBAL ') or type(error).__name__
        whole = 'is' if isinstance(error, pickle.UnpicklingError) else 'is cut off or is not a torch checkpoint, but'
        raise CheckpointError(
            f'{path} {whole} {kind_of(path)}: {met}; wanted arrays under "model", as detectron2 writes them'
        ) from error


def _reason(path: Path, error: Exception) -> str:
    """Say why torch does not read a file: it carries code, or it is no whole checkpoint."""
    text, kind = str(error), kind_of(path)
    carried = re.search(r"(?:GLOBAL |REDUCE |class '?)([\w.]+)", text)
    if carried or 'TorchScript' in text or 'tar archive' in kind:
        what = carried[1] if carried else 'TorchScript' if 'TorchScript' in text else f'what comes with it as {kind}'
        return (
            f'{path} was refused: besides weights it carries {what}, '
            'which could run code when it is read. If you trust where the file comes from, give --trust-checkpoint '
            '(in Python: damamba.checkpoint.trust_checkpoints())'
        )
    met = first_sentence(text)
    met = (
        f'{type(error).__name__}: {met}'
        if isinstance(error, LookupError)
        else met or f'torch.load stops with {type(error).__name__}'
    )
    return f'{path} is cut off or is not a torch checkpoint ({kind}: {met}); {WANTED}'


def _harmless() -> list:
    """The types in checkpoints of MMCV 1.x, MMEngine and timm that hold data and run nothing."""
    functions = [
        (function, f'numpy.{core}.multiarray.{name}')
        for function, name in ((reconstruct, '_reconstruct'), (scalar, 'scalar'))
        for core in ('core', '_core')  # before and after NumPy 2
    ]
    arrays = [(PlainType, 'numpy.dtype'), (PlainArray, 'numpy.ndarray'), (no_bytes, 'builtins.bytes'), *functions]
    dicts = [
        (OrderedDict, name)
        for name in ('mmcv.utils.config.ConfigDict', 'mmengine.config.config.ConfigDict', 'yacs.config.CfgNode')
    ]
    mmengine = sys.modules.get('mmengine.logging.history_buffer')
    buffer = mmengine.HistoryBuffer if mmengine else PlainHistory
    history = [(buffer, 'mmengine.logging.history_buffer.HistoryBuffer'), (_statistic, 'builtins.getattr')]
    return [*arrays, *dicts, *history, argparse.Namespace]


def _statistic(owner: object, name: str) -> object:
    """Stand in for the getattr with which MMEngine's log history names its own min, max, mean and current."""
    if getattr(owner, '__name__', None) not in ('HistoryBuffer', 'PlainHistory') or name not in STATISTICS:
        raise pickle.UnpicklingError(f'GLOBAL getattr of {name}')
    return getattr(owner, name, None)


def _read_safetensors(path: Path, map_location) -> dict:
    device = str(map_location or 'cpu')
    if device == 'cuda' and torch.cuda.is_available():
        device = f'cuda:{torch.cuda.current_device()}'  # safetensors takes it for the first one
    try:
        with safetensors.safe_open(path, framework='pt', device=device) as file:
            meta = json.loads((file.metadata() or {}).get('meta', '{}'))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return {'meta': meta if isinstance(meta, dict) else {}, 'state_dict': state}
    except (safetensors.SafetensorError, ValueError, OSError, RecursionError, MemoryError) as error:
        raise CheckpointError(
            f'{path} is cut off or is not a safetensors file ({error or type(error).__name__}); {WANTED}'
        ) from error
