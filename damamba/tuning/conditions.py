"""The conditions under which the trials of a study are compared: what in a config decides on their values.

Where files lie on a machine does not, but what is in them does; neither do the processes that load pictures, the logs,
or the checkpoints that are kept.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from damamba.engine.records import sha256_of

OF_THE_MACHINE = {'data_root', 'num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory'}
LOGS = {'log_level', 'log_processor', 'visualizer', 'vis_backends'}
WITHOUT_EFFECT = {'work_dir', 'resume', 'launcher', 'env_cfg'} | LOGS
HOOKS = {f'default_hooks.{name}' for name in ('checkpoint', 'logger', 'timer', 'visualization')}
BEFORE = ('base_', 'test_')  # second names of settings, and what comes after the training
FILES = {'ann_file', 'load_from', 'checkpoint', 'pretrained'}
LONGEST, SHOWN = 100, 3  # letters of a value, and keys that an error names


def conditions(cfg: Config, processes: int) -> dict[str, Any]:
    """Values by their dotted keys, of a settled config and of the command that trains it."""
    content = {key: value for key, value in cfg.to_dict().items() if not _is_idle(key)}
    roots = sorted({root.rstrip('/') for root in _roots(cfg.to_dict())}, key=len, reverse=True)
    digest = cache(_digest)  # of a file that is named more than once
    sections = (item for key, value in content.items() for item in _leaves(value, key, ''))
    return {'--gpus': processes, **{key: _comparable(key, leaf, root, roots, digest) for key, leaf, root in sections}}


def _is_idle(key: str) -> bool:
    return key in WITHOUT_EFFECT | OF_THE_MACHINE or key.startswith(BEFORE)


def _roots(node: Any) -> Iterator[str]:
    """The folders that paths begin with."""
    if isinstance(node, dict) and isinstance(node.get('data_root'), str) and node['data_root'].strip('./'):
        yield node['data_root']
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        yield from _roots(item)


def _leaves(node: Any, key: str, root: str) -> Iterator[tuple[str, Any, str]]:
    """Keys, values, and the folder that a data set around them has; a list of plain values is one of them."""
    if isinstance(node, dict) and node:
        root = node.get('data_root') or root
        for name, item in node.items():
            if name not in OF_THE_MACHINE and f'{key}.{name}' not in HOOKS:
                yield from _leaves(item, f'{key}.{name}', root)
    elif isinstance(node, list | tuple) and any(isinstance(item, dict | list | tuple) for item in node):
        for number, item in enumerate(node):
            yield from _leaves(item, f'{key}.{number}', root)
    else:
        yield key, node, root


def _comparable(key: str, value: Any, root: str, roots: list[str], digest: Callable) -> Any:
    """As another machine would have it: a file by its content, another path without what leads to it."""
    if isinstance(value, str):
        name = key.rsplit('.', 1)[-1]
        path = os.path.join(root, value)
        if ('/' in value or name in FILES) and os.path.isfile(path):
            return digest(path)
        value = _without_root(value, roots)
        if os.path.isabs(value) or (name in FILES and '://' not in value):
            return os.path.basename(value.rstrip('/'))
    text = json.dumps(value, default=_named)
    return json.loads(text) if len(text) <= LONGEST else f'sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}'


def _without_root(path: str, roots: list[str]) -> str:
    return next((path.removeprefix(f'{root}/') for root in roots if path.startswith(f'{root}/')), path)


def _named(value: Any) -> Any:
    """What JSON has no word for: functions and classes by their names, sets in order."""
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else getattr(value, '__qualname__', str(value))


def _digest(path: str) -> str:
    return f'sha256 {(sha256_of(Path(path)) or "unknown")[:12]}'


def differences(first: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is not the same, the keys of the highest level first; empty where all is."""
    keys = [key for key in {*first, *now} if _text(first, key) != _text(now, key)]
    keys.sort(key=lambda key: (key.count('.'), key))
    texts = [f'{key} ({_text(first, key)} then, {_text(now, key)} now)' for key in keys[:SHOWN]]
    return ', '.join(texts) + (f' and {len(keys) - SHOWN} more' if len(keys) > SHOWN else '')


def _text(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else 'not set'
