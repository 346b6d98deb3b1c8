"""The conditions under which the trials of a study are compared: what in a config decides on their values.

Where files lie on a machine does not, but what is in them does; neither do the processes that load pictures, the logs,
or the checkpoints that are kept.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from damamba.engine.config_checks import READ_BY_RUNNER, leaves
from damamba.engine.records import sha256_of

OF_THE_MACHINE = {'data_root', 'num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory'}
LOGS = {'log_level', 'log_processor', 'visualizer', 'vis_backends'}
HOOKS = {f'default_hooks.{name}' for name in ('checkpoint', 'logger', 'timer', 'visualization')}
IDLE = {'work_dir', 'resume', 'launcher', 'env_cfg'} | LOGS | HOOKS
AFTER = 'test_'  # what comes after the training begins like that
FILES = {'ann_file', 'load_from', 'checkpoint', 'pretrained'}
LONGEST, SHOWN = 100, 3  # letters of a value, and keys that an error names


def conditions(cfg: Config, processes: int) -> dict[str, Any]:
    """Values by their dotted keys, of a settled config and of the command that trains it."""
    content = dict(leaves(cfg.to_dict()))
    folders = {key[: -len('data_root')]: it for key, it in content.items() if f'.{key}'.endswith('.data_root') and it}
    roots = sorted({folder.rstrip('/') for folder in folders.values() if folder.strip('./')}, key=len, reverse=True)
    found = {'--gpus': processes}
    for key, value in content.items():
        if _decides(key):
            around = max((holder for holder in folders if holder and key.startswith(holder)), key=len, default=None)
            found[key] = _comparable(key.rpartition('.')[2], value, folders.get(around, ''), roots)
    return found


def _decides(key: str) -> bool:
    """Whether a trial's value may depend on what a key has; a variable of the file only where it is used."""
    first, *rest = parts = key.split('.')
    if first not in READ_BY_RUNNER or first.startswith(AFTER):
        return False
    return not (IDLE & {first, '.'.join([first, *rest[:1]])} or OF_THE_MACHINE & {*parts})


def _comparable(name: str, value: Any, root: str, roots: list[str]) -> Any:
    """As another machine would have it: a file by its content, another path without what leads to it."""
    if isinstance(value, str):
        path = os.path.join(root, value)
        if ('/' in value or name in FILES) and os.path.isfile(path):
            return f'sha256 {(sha256_of(Path(path)) or "unknown")[:12]}'
        value = next((value.removeprefix(f'{root}/') for root in roots if value.startswith(f'{root}/')), value)
        if os.path.isabs(value) or (name in FILES and '://' not in value):
            return os.path.basename(value.rstrip('/'))
    text = json.dumps(value, default=_named)
    return json.loads(text) if len(text) <= LONGEST else f'sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}'


def _named(value: Any) -> Any:
    """What JSON has no word for: functions and classes by their names, sets in order."""
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else getattr(value, '__qualname__', str(value))


def differences(first: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is not the same, the keys of the highest level first; empty where all is."""
    first, now = ({key: json.dumps(it, ensure_ascii=False) for key, it in values.items()} for values in (first, now))
    keys = [key for key in {*first, *now} if first.get(key) != now.get(key)]
    keys.sort(key=lambda key: (key.count('.'), key))
    texts = [f'{key} ({first.get(key, "not set")} then, {now.get(key, "not set")} now)' for key in keys[:SHOWN]]
    return ', '.join(texts) + (f' and {len(keys) - SHOWN} more' if len(keys) > SHOWN else '')
