"""Values at dotted keys of a config, such as ``optim_wrapper.optimizer.lr`` or ``param_scheduler.0.end``."""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from damamba.engine.config import read_config
from damamba.engine.settings import settle
from damamba.tuning import TuningError

MISSING = object()


def value_at(node: Any, key: str) -> Any:
    """The plain value at a key; ``MISSING`` where there is none."""
    for part in key.split('.'):
        if isinstance(node, dict | Config) and part in node:
            node = node[part]
        elif isinstance(node, list | tuple) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return MISSING
    return plain(node)


def plain(value: Any) -> Any:
    """Without MMEngine's own kinds of dictionaries."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    return value


def same(value: Any, other: Any) -> bool:
    """Whether two settings are one; a tuple and a list of the same are."""
    return _as_lists(value) == _as_lists(other) and isinstance(value, bool) == isinstance(other, bool)


def _as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_lists(item) for key, item in value.items()}
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


def described(values: Mapping[str, Any]) -> str:
    """In a line, numbers in short."""
    texts = {key: f'{value:.4g}' if isinstance(value, float) else f'{value}' for key, value in values.items()}
    return ', '.join(f'{key}={text}' for key, text in texts.items())


def short_key(key: str) -> str:
    """The end of a key; with what lies in a list, or has a name that many have, what it belongs to."""
    parts = key.split('.')
    if len(parts) > 2 and parts[-2].isdigit():
        return '.'.join(parts[-3:])
    return '.'.join(parts[-2:]) if parts[-1] in ('type', 'end') else parts[-1]


def nearest_key(cfg: Config, key: str) -> str | None:
    """The key of a config that is most like one which is not in it."""
    found = difflib.get_close_matches(key, list(_keys(cfg, '')), n=1, cutoff=0.5)
    return found[0] if found else None


def _keys(node: Any, prefix: str) -> Iterator[str]:
    items = node.items() if isinstance(node, dict | Config) else enumerate(node)
    for name, value in items:
        yield f'{prefix}{name}'
        if isinstance(value, dict | list | tuple):
            yield from _keys(value, f'{prefix}{name}.')


def configured(config: Path, options: Mapping[str, Any], values: Mapping[str, Any]) -> Config:
    """A config with command line options merged into it as a training does, and values in the place of others.

    A dictionary among ``values`` replaces what the config has there as a whole: of two optimizers, say, each keeps
    its own arguments.
    """
    cfg = merged(config, options)
    for key, value in values.items():
        _put(cfg, key, value)
    settle(cfg)
    return cfg


def merged(config: Path, options: Mapping[str, Any]) -> Config:
    """A config with command line options merged into it, and not settled yet."""
    cfg = read_config(str(config))
    cfg.merge_from_dict(dict(options))
    return cfg


def _put(cfg: Config, key: str, value: Any) -> None:
    *parents, last = key.split('.')
    node = cfg
    for part in parents:
        if isinstance(node, list):
            node = node[int(part)]
        else:
            if part not in node:
                node[part] = {}
            node = node[part]
        if not isinstance(node, dict | list):
            raise TuningError(f'{key} can not be set: {part} holds {node!r}')
    node[int(last) if isinstance(node, list) else last] = value


def write_overrides(
    path: Path, config: Path, options: Mapping[str, Any], values: Mapping[str, Any], comment: str = ''
) -> Path:
    """Write a config file that inherits from ``config`` and holds the options and values alone.

    What lies in a list can't be overridden by itself: the whole list is written, with the settings in it settled.
    """
    cfg = configured(config, options, values)
    content = {}
    for key in (*options, *values):
        _nest(content, cfg, key, replaced=key in values)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, config, content, comment)
    lacking = _lacking(cfg, read_config(str(path)))
    if lacking:
        _write(path, config, {**content, **lacking}, comment)
    return path


def _write(path: Path, config: Path, content: dict, comment: str) -> None:
    base = _relative(config.resolve(), path.resolve().parent)
    comments = ''.join(f'# {line}'.rstrip() + '\n' for line in comment.splitlines())
    text = Config(content).pretty_text if content else ''
    beside = path.with_name(f'.{path.name}')  # whoever reads the file never sees half of it
    beside.write_text(f'{comments}_base_ = {base!r}\n{text.rstrip()}\n', encoding='utf-8')
    os.replace(beside, path)


def _lacking(wanted: Config, found: Config) -> dict[str, Any]:
    """Whole sections that a file does not settle as a command line does.

    A config may have used a setting itself, such as ``scale`` in its pipeline: in a file that inherits from it another
    one comes too late for that.
    """
    sections = {key: plain(value) for key, value in wanted.items() if not same(plain(found.get(key)), plain(value))}
    return {key: {**value, '_delete_': True} if isinstance(value, dict) else value for key, value in sections.items()}


def _nest(content: dict, cfg: Config, key: str, replaced: bool) -> None:
    """Put the settled value at a key into nested dictionaries; of a list on the way to it the whole list."""
    *parents, last = key.split('.')
    node = content
    for depth, part in enumerate(parents):
        here = value_at(cfg, '.'.join(parents[: depth + 1]))
        if isinstance(here, list | tuple):
            node[part] = here
            return
        node = node.setdefault(part, {})
    value = value_at(cfg, key)
    node[last] = {**value, '_delete_': True} if isinstance(value, dict) and replaced else value


def _relative(config: Path, folder: Path) -> str:
    """The path from one to the other, unless nothing but the root is common to them."""
    common = os.path.commonpath([config, folder])
    return str(config) if Path(common) == Path(config.anchor) else os.path.relpath(config, folder)
