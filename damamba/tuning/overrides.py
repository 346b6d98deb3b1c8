"""Values at dotted keys of a config, such as ``optim_wrapper.optimizer.lr`` or ``param_scheduler.0.end``."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from damamba.engine.config import read_config
from damamba.engine.config_checks import READ_BY_RUNNER, same
from damamba.tuning import TuningError

MISSING = object()


def value_at(cfg: Config, key: str) -> Any:
    """The plain value at a key; ``MISSING`` where there is none."""
    node = cfg.to_dict()
    with suppress(LookupError, TypeError, ValueError):
        for part in key.split('.'):
            node = node[int(part)] if isinstance(node, list | tuple) else node[part]
        return node
    return MISSING


def in_short(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def described(values: Mapping[str, Any]) -> str:
    """In a line, numbers in short."""
    return ', '.join(f'{key}={in_short(value)}' for key, value in values.items())


def short_key(key: str) -> str:
    """The end of a key; with what lies in a list, or has a name that many have, what it belongs to."""
    parts = key.split('.')
    if len(parts) > 2 and parts[-2].isdigit():
        return '.'.join(parts[-3:])
    return '.'.join(parts[-2:]) if parts[-1] in ('type', 'end') else parts[-1]


def configured(config: Path, options: Mapping[str, Any], values: Mapping[str, Any]) -> Config:
    """A config with command line options in it as a training has them, and values in the place of others.

    A dictionary among ``values`` replaces what the config has there as a whole: of two optimizers, say, each keeps
    its own arguments.
    """
    variables = {key: value for key, value in values.items() if '.' not in key}
    cfg = read_config(str(config), {**options, **variables})
    for key in values.keys() - variables:
        node, (*parents, last) = cfg, key.split('.')
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, ConfigDict())
            if not isinstance(node, dict | list):
                raise TuningError(f'{key} can not be set: {part} holds {node!r}')
        node[int(last) if isinstance(node, list) else last] = values[key]
    return cfg


def write_overrides(
    path: Path, config: Path, options: Mapping[str, Any], values: Mapping[str, Any], comment: Sequence[str] = ()
) -> Path:
    """Write a config file that inherits from ``config`` and holds what the options and values change, alone.

    What lies in a list can't be overridden by itself: the whole list is written. Nor can a variable, once a config has
    used it: what is derived from another value is written, section by section.
    """
    cfg, content = configured(config, options, values), Config()
    settings = [key.removeprefix('+') for key in (*options, *values) if '.' in key or key in READ_BY_RUNNER]
    keys = []
    for key in settings:  # itself, or that of the list on the way to it
        outer = accumulate(key.split('.')[:-1], '{}.{}'.format)
        keys.append(next((it for it in outer if isinstance(value_at(cfg, it), list | tuple)), key))
    content.merge_from_dict({key: _whole(value_at(cfg, key)) for key in keys})
    _write(path, config, content.to_dict(), comment)
    there, meant = (it.to_dict() for it in (read_config(str(path)), cfg))
    lacking = {key: _whole(meant[key]) for key in READ_BY_RUNNER & meant.keys() if not same(there.get(key), meant[key])}
    if lacking:
        _write(path, config, {**content.to_dict(), **lacking}, comment)
    return path


def _whole(value: Any) -> Any:
    """A value that is not merged into what a config inherits."""
    return {**value, '_delete_': True} if isinstance(value, dict) else value


def _write(path: Path, config: Path, content: Mapping[str, Any], comment: Sequence[str]) -> None:
    config, folder = config.resolve(), path.resolve().parent
    is_near = config.parts[:2] == folder.parts[:2]  # else they have nothing in common but the root
    base = os.path.relpath(config, folder) if is_near else str(config)
    lines = [*(f'# {line}' for line in comment), f'_base_ = {base!r}']
    text = Config(content).pretty_text.rstrip() if content else ''
    folder.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f'.{path.name}')  # whoever reads the file never sees half of it
    beside.write_text('\n'.join([*lines, text, '']), encoding='utf-8')
    os.replace(beside, path)
