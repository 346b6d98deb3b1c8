"""What a config goes through before a runner is built from it."""

import ast
import os
from collections.abc import Container, Iterator
from pathlib import Path

from mmengine.config import Config

from damamba.engine.amp import fit_amp
from damamba.engine.settings import settle, spread

VERSION_2 = {
    'data': 'train_dataloader, val_dataloader, test_dataloader and their evaluators',
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer_config': 'optim_wrapper',
    'lr_config': 'param_scheduler',
    'runner': 'train_cfg',
    'total_epochs': 'train_cfg.max_epochs',
    'evaluation': 'val_evaluator and train_cfg.val_interval',
    'checkpoint_config': 'default_hooks.checkpoint',
    'log_config': 'default_hooks.logger',
    'fp16': 'optim_wrapper.type="AmpOptimWrapper"',
}


class ConfigError(ValueError):
    """A config that can't be run as it stands; the text says what to change."""


def prepare(cfg: Config) -> list[str]:
    """Fit a config, in place, to its own settings and to this machine; return what the user should be told.

    Raises:
        ConfigError: it is written for MMDetection 2.x.
    """
    refuse_version_2(cfg, cfg.filename)
    return [note for note in (*spread(cfg), fit_amp(cfg)) if note]


def read_config(path: str) -> Config:
    """Read a config file, and settle what it says once: what is merged into it later stands for itself.

    Raises:
        ConfigError: it, or one that it inherits from, does not exist or is no Python.
    """
    if not os.path.isfile(path):
        raise ConfigError(f'{path} does not exist; wanted a config file, such as those in configs/')
    try:
        cfg = Config.fromfile(path)
    except SyntaxError as error:
        place = error.filename if error.filename and os.path.isfile(error.filename) else path
        raise ConfigError(f'{place}, line {error.lineno}: {error.msg}') from error
    except FileNotFoundError as error:
        refuse_version_2(_assigned(path), path)  # its bases lie in an MMDetection 2.x, not here
        raise ConfigError(f'{path} can not be read: {error}') from error
    settle(cfg)
    return cfg


def _assigned(path: str) -> set[str]:
    """The names that a config file assigns at its top level, without running it."""
    statements = ast.parse(Path(path).read_text()).body
    targets = [target for node in statements if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def refuse_version_2(names: Container[str], path: str | None) -> None:
    """Raise if a config (or the names that it sets) has settings of MMDetection 2.x, which 3.x ignores in silence."""
    found = [key for key in VERSION_2 if key in names]
    if found:
        replaced = '; '.join(f'{key} became {VERSION_2[key]}' for key in found)
        raise ConfigError(f'{path or "this config"} has settings of MMDetection 2.x: in 3.x {replaced}')


def check_files(cfg: Config, splits: tuple[str, ...]) -> None:
    """Raise if an annotation file or a folder of pictures of these splits is not there, before anything slow begins.

    Raises:
        ConfigError: names what is missing, and ``data_root``.
    """
    nodes = [cfg.get(f'{split}_{section}') for split in splits for section in ('dataloader', 'evaluator')]
    missing = sorted({path for path in _files(nodes, '') if '://' not in path and not os.path.exists(path)})
    if missing:
        raise ConfigError(
            f'{", ".join(missing)} not found: data_root is {cfg.get("data_root", "not set")!r}; '
            'edit it in the config or give --cfg-options data_root=PATH'
        )


def _files(node, root: str) -> Iterator[str]:
    """Every annotation file and folder of pictures below a node of the config, joined to its dataset's root."""
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from _files(item, root)
    elif isinstance(node, dict):
        root = node.get('data_root') or root
        pictures = node.get('data_prefix')
        for path in (node.get('ann_file'), pictures.get('img') if isinstance(pictures, dict) else None):
            if isinstance(path, str) and path:
                yield os.path.join(root, path)
        for key, value in node.items():
            if key != 'pipeline':
                yield from _files(value, root)
