"""Read, verify, strip and write weights. Torch only.

A checkpoint is read with ``weights_only=True`` and a short list of harmless types: what else it carries could be code,
and is refused unless :func:`trust_checkpoints` was called. What is wrong with a file is one :class:`CheckpointError`.
"""

import argparse
import hashlib
import json
import logging
import os
import pickle
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

CONTAINERS = ('model', 'model_ema', 'state_dict')  # where trainers put the state dict, the preferred one first
STATISTICS = ('min', 'max', 'mean', 'current')
CLASSIFIER = 'head.'  # of the published ImageNet models

_trusted = False


class CheckpointError(RuntimeError):
    """A file that can't be used as weights; the text names it, what it holds and what was wanted."""


class PlainDict(dict):
    """What a pickled dict of a class that we don't import becomes."""


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
    path = Path(download(str(source)) if is_url(source) else source).expanduser()
    _check_file(path)
    content = (
        _read_safetensors(path, map_location) if path.suffix == '.safetensors' else _read_torch(path, map_location)
    )
    if not isinstance(content, Mapping):
        raise CheckpointError(f'{path} holds a {type(content).__name__}; wanted a checkpoint: a dict with tensors')
    meta = content.get('meta')
    if isinstance(meta, dict):
        meta.pop('config', None)  # MMCV 1.x keeps its config here as Python source, which MMEngine runs on --resume
    return dict(content)


def download(url: str) -> str:
    """Fetch a URL into torch's cache of checkpoints, unless it lies there; return the path.

    A Hugging Face page (``.../blob/...``) is rewritten to the file that it shows (``.../resolve/...``).
    """
    if urlsplit(url).hostname == 'huggingface.co':
        url = url.replace('/blob/', '/resolve/', 1)
    name = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}-{Path(urlsplit(url).path).name}'
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=sys.stderr.isatty())
        except (URLError, OSError) as error:
            raise CheckpointError(f'{url} could not be downloaded: {error}') from error
    return str(path)


def _check_file(path: Path) -> None:
    """Raise for what is visibly no checkpoint, in words that say what it is."""
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist or is not a file; wanted a checkpoint (.pth or .safetensors)')
    with path.open('rb') as file:
        start = file.read(512).lstrip()
    kind = None
    if not start:
        kind = 'is empty'
    elif re.match(rb'<(!doctype|html|\?xml)', start, re.IGNORECASE):
        kind = 'is a web page, not weights: take the link of the file itself (on Hugging Face, "resolve", not "blob")'
    elif start.startswith(b'version https://git-lfs'):
        kind = 'is a Git LFS pointer, not the weights: run "git lfs pull"'
    if kind:
        raise CheckpointError(f'{path} {kind}; wanted a checkpoint (.pth or .safetensors)')


def _read_torch(path: Path, map_location) -> object:
    try:
        if _trusted:
            return torch.load(path, map_location=map_location, weights_only=False)
        with torch.serialization.safe_globals(_harmless()):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).strip().split('\n')[0]
        raise CheckpointError(f'{path} is cut off or is not a torch checkpoint: {reason}') from error


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    named = re.findall(r'(?:GLOBAL|REDUCE|class) ([\w.]+)', str(error))
    if not named and 'TorchScript' not in str(error):
        return f'{path} is cut off or is not a torch checkpoint: {str(error).strip().splitlines()[-1]}'
    what = named[0] if named else 'TorchScript'
    return (
        f'{path} was refused: besides weights it carries {what}, which could run code when it is read. '
        'If you trust where the file comes from, give --trust-checkpoint '
        '(in Python: damamba.checkpoint.trust_checkpoints())'
    )


def _harmless() -> list:
    """The types in checkpoints of MMCV 1.x, MMEngine and timm that hold data and run nothing."""
    multiarray = np._core.multiarray
    arrays = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ('bool', *np.typecodes['AllInteger'], *'efdU'))]
    functions = [
        (getattr(multiarray, name), f'numpy.{core}.multiarray.{name}')
        for name in ('_reconstruct', 'scalar')
        for core in ('core', '_core')  # before and after NumPy 2
    ]
    dicts = [
        (PlainDict, name)
        for name in ('mmcv.utils.config.ConfigDict', 'mmengine.config.config.ConfigDict', 'yacs.config.CfgNode')
    ]
    mmengine = sys.modules.get('mmengine.logging.history_buffer')
    buffer = mmengine.HistoryBuffer if mmengine else PlainHistory
    history = [(buffer, 'mmengine.logging.history_buffer.HistoryBuffer'), (_statistic, 'builtins.getattr')]
    return [*arrays, *functions, *dicts, *history, argparse.Namespace]


def _statistic(owner: object, name: str) -> object:
    """Stand in for the getattr with which MMEngine's log history names its own min, max, mean and current."""
    if getattr(owner, '__name__', None) not in ('HistoryBuffer', 'PlainHistory') or name not in STATISTICS:
        raise pickle.UnpicklingError(f'GLOBAL getattr of {name}')
    return getattr(owner, name, None)


def _read_safetensors(path: Path, map_location) -> dict:
    device = str(map_location or 'cpu')
    try:
        with safetensors.safe_open(path, framework='pt', device=device) as file:
            meta = json.loads((file.metadata() or {}).get('meta', '{}'))
            return {'meta': meta, 'state_dict': {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f'{path} is cut off or is not a safetensors file: {error}') from error


def state_dict_of(content: Mapping) -> tuple[dict[str, Tensor], str | None]:
    """Find the state dict in what :func:`read` returned; strip ``module.``; name the key it lay under, or None."""
    container = next((key for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
    tensors = content[container] if container else content
    state = {_without(name, 'module.'): value for name, value in tensors.items() if isinstance(value, Tensor)}
    return state, container


def backbone_state(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Keep a backbone's tensors, without ``backbone.`` and the classifier; also return the names left out."""
    prefix = 'backbone.' if any(name.startswith('backbone.') for name in state) else ''
    kept = {name: value for name, value in state.items() if name.startswith(prefix) and not name.startswith(CLASSIFIER)}
    left = [name for name in state if name not in kept]
    return {name.removeprefix(prefix): value for name, value in kept.items()}, left


def _without(name: str, prefix: str) -> str:
    while name.startswith(prefix):
        name = name.removeprefix(prefix)
    return name


@dataclass(frozen=True)
class Match:
    """How a state dict fits a module: names, each a list in the module's or the file's order."""

    filled: list[str]
    missing: list[str]
    mismatched: list[str]  # "name (file 80x3, model 112x3)"
    unexpected: list[str]

    @property
    def complete(self) -> bool:
        """Whether every tensor of the module is in the file, in its shape."""
        return not (self.missing or self.mismatched)

    def __str__(self) -> str:
        total = len(self.filled) + len(self.missing) + len(self.mismatched)
        parts = [f'{len(self.filled)} of {total} tensors match']
        for label in ('missing', 'mismatched', 'unexpected'):
            names = getattr(self, label)
            if names:
                parts.append(f'{len(names)} {label}: {_first(names)}')
        return '; '.join(parts)


def match(module: nn.Module, state: Mapping[str, Tensor]) -> Match:
    """Hold a state dict against a module's own."""
    own = module.state_dict()
    found = {name: value for name, value in own.items() if name in state}
    mismatched = [name for name, value in found.items() if value.shape != state[name].shape]
    return Match(
        filled=[name for name in found if name not in set(mismatched)],
        missing=[name for name in own if name not in state],
        mismatched=[f'{n} (file {_size(state[n])}, model {_size(own[n])})' for n in mismatched],
        unexpected=[name for name in state if name not in own],
    )


def describe(state: Mapping[str, Tensor]) -> str:
    """Say in a few words what model a state dict is of."""
    state = backbone_state(state)[0]
    depths: dict[int, int] = {}
    for name in state:
        if found := re.match(r'stages\.(\d+)\.blocks\.(\d+)\.token_mixer\.', name):
            stage, block = map(int, found.groups())
            depths[stage] = max(depths.get(stage, 0), block + 1)
    dims = [state[f'norm{i + 1}.norm.weight'].numel() for i in sorted(depths) if f'norm{i + 1}.norm.weight' in state]
    if depths:
        return f'a DAMamba of depths {_numbers(depths.values())} and dims {_numbers(dims)}'
    return f'{len(state)} tensors of another model ({_first(list(state))})' if state else 'no tensors'


def load_backbone(backbone: nn.Module, source: str | os.PathLike) -> Match:
    """Fill every tensor of a DAMamba backbone from a checkpoint of a classifier, a backbone or a detector.

    Raises:
        CheckpointError: the file is unusable, or not every tensor of the backbone is in it, in its shape.
    """
    state, container = state_dict_of(read(source))
    state, left = backbone_state(state)
    result = match(backbone, state)
    if not result.complete or result.unexpected:
        raise CheckpointError(f'{source} holds {describe(state)}; wanted {describe(backbone.state_dict())}: {result}')
    backbone.load_state_dict(state)
    where = f', under {container!r}' if container else ''
    unused = f'; left out {_first(left)}' if left else ''
    logger.info(
        'Filled %d of %d tensors of the backbone from %s%s%s', len(result.filled), len(state), source, where, unused
    )
    return result


def _size(value: Tensor) -> str:
    return 'x'.join(map(str, value.shape)) or 'scalar'


def _numbers(values) -> str:
    return ', '.join(map(str, values))


def _first(names: list[str], count: int = 3) -> str:
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '')


def publish(source: str | os.PathLike, target: str | os.PathLike) -> Path:
    """Write the weights of a training checkpoint and nothing else, the start of their SHA-256 in the file's name.

    Args:
        source: a training checkpoint, path or URL.
        target: where to write, ending in ``.pth`` or ``.safetensors``; ``-<8 hex digits>`` goes before the ending.

    Returns:
        The path written.
    """
    target = Path(target)
    if target.suffix not in ('.pth', '.safetensors'):
        raise CheckpointError(f'{target} must end in .pth or .safetensors')
    content = read(source)
    state, _ = state_dict_of(content)
    if not state:
        raise CheckpointError(f'{source} holds no tensors; wanted a training checkpoint')
    meta = {'dataset_meta': _plain((content.get('meta') or {}).get('dataset_meta') or {})}
    with _beside(target) as part:
        if target.suffix == '.safetensors':
            state = {name: value.contiguous() for name, value in state.items()}
            safetensors.torch.save_file(state, part, metadata={'meta': json.dumps(meta)})
        else:
            torch.save({'meta': meta, 'state_dict': state}, part)
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        final = target.with_name(f'{target.stem}-{digest[:8]}{target.suffix}')
        part.replace(final)
    return final


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A scratch file in the target's folder, gone afterwards, so that no half-written file has a final name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f'.{target.name}.{os.getpid()}.part')
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _plain(value):
    """Reduce a value to what JSON holds."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
