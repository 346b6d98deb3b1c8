"""Settings that a config says once, at its top level, and that hold wherever a base config had put them.

A base config gives each a second name (``base_data_root = data_root``), by which it is known what to replace once a
leaf config or ``--cfg-options`` has set another: by then MMEngine has used the first one already.

    data_root       the folder that all paths begin with
    train_subset    the folder below it to train and to validate on
    test_subset     the folder below it to test on
    classes         what every data set and every head is about
    scale           what pictures are resized to
    image_size      what Mask2Former is trained at, and pads to
    max_epochs      for how long to train
"""

import os
from collections.abc import Iterator, Sequence

from mmengine.config import Config

SECTIONS = ('dataloader', 'evaluator')
FILES = ('ann_file', 'img')
PATHS = ('data_root', *FILES)
SIZES = ('scale', 'crop_size', 'size')


class SettingError(ValueError):
    """A setting that can't be meant; the text says what it takes."""


def spread(cfg: Config) -> list[str]:
    """Carry every such setting to where it is used, in place; return what the user should be told."""
    settle(cfg)
    return test_on_validation(cfg)


def settle(cfg: Config) -> None:
    """Carry every such setting to where it is used, in place, whatever files are there."""
    spread_data_root(cfg)
    spread_subsets(cfg)
    spread_classes(cfg)
    spread_sizes(cfg)
    spread_epochs(cfg)


def spread_data_root(cfg: Config) -> None:
    """Every data set and evaluator whose paths still begin with the base's root gets the new one."""
    old, new = _changed(cfg, 'data_root')
    if old is not None:
        for node in _sections(cfg, 'train', 'val', 'test'):
            _replace_paths(node, lambda path: _moved(path, old, new))


def spread_subsets(cfg: Config) -> None:
    """Replace one folder in the paths of what is trained on, or of what is tested on, below ``data_root`` alone.

    Raises:
        SettingError: a subset is no folder below ``data_root``.
    """
    for name, splits in (('train_subset', ('train', 'val')), ('test_subset', ('test',))):
        folder = subset(cfg, name)
        if folder is not None:
            cfg[name] = folder
        old, new = _changed(cfg, name)
        if old is not None:
            for split in splits:
                _rename_folder(cfg, split, old, new)


def subset(cfg: Config, name: str) -> str | None:
    """The folder that ``train_subset`` or ``test_subset`` names; None where a config does not know the setting.

    Raises:
        SettingError: it is no folder below ``data_root``.
    """
    if f'base_{name}' not in cfg:
        return None
    said = cfg.get(name)
    folder = said.rstrip('/') if isinstance(said, str) else ''
    if {'', '.', '..'} & set(folder.split('/')):
        raise SettingError(f'{name} must be a folder below data_root, such as mix-object-tote, got {said!r}')
    return folder


def spread_classes(cfg: Config) -> None:
    """Set ``metainfo.classes`` of the data sets, and the sizes of the heads that follow from them.

    Raises:
        SettingError: classes are a text where a tuple is wanted, or none.
    """
    old, new = _changed(cfg, 'classes')
    if isinstance(new, str) or (new is not None and not len(new)):
        raise SettingError(f'classes must be a tuple of names, got {new!r}; one class needs its comma: ("Object",)')
    if old is None:
        return
    for node in _sections(cfg, 'train', 'val', 'test'):
        for dataset in _dicts(node):
            metainfo = dataset.get('metainfo')
            if isinstance(metainfo, dict) and tuple(metainfo.get('classes', ())) == tuple(old):
                metainfo['classes'] = tuple(new)
    for module in _dicts(cfg.get('model')):
        _resize_head(module, len(old), len(new))


def spread_sizes(cfg: Config) -> None:
    """Set the sizes of pictures, in pixels, in all pipelines and in the padding of a batch.

    Raises:
        SettingError: a size is not two whole numbers.
    """
    for name in ('scale', 'image_size'):
        old, new = _changed(cfg, name)
        if new is not None and not _is_size(new):
            raise SettingError(f'{name} must be two whole numbers of pixels, such as (1333, 800), got {new!r}')
        for node in (*_sections(cfg, 'train', 'val', 'test'), cfg.get('model', {}).get('data_preprocessor')):
            for holder in _dicts(node) if old is not None else ():
                holder.update({key: tuple(new) for key in SIZES if _plain(holder.get(key)) == _plain(old)})


def spread_epochs(cfg: Config) -> None:
    """Set for how long to train, and stretch to it what schedulers do by epoch until the end.

    Raises:
        SettingError: this is no whole number.
    """
    old, new = _changed(cfg, 'max_epochs')
    if old is None:
        return
    if type(new) is not int or new < 1:
        raise SettingError(f'max_epochs must be a whole number of epochs, got {new!r}')
    if (cfg.get('train_cfg') or {}).get('max_epochs') == old:
        cfg.train_cfg['max_epochs'] = new
    for scheduler in _dicts(cfg.get('param_scheduler')):
        if scheduler.get('by_epoch', True) and scheduler.get('end', old) == old:
            _stretch(scheduler, old, new)


def _stretch(scheduler: dict, old: int, new: int) -> None:
    """Milestones stay in proportion, and before the end."""
    scheduler.update({key: new for key in ('end', 'T_max') if scheduler.get(key) == old})
    if 'milestones' in scheduler:
        scaled = {min(max(round(epoch * new / old), 1), new - 1) for epoch in scheduler['milestones']}
        scheduler['milestones'] = sorted(scaled - {0})


def _is_size(value) -> bool:
    return (
        isinstance(value, (list, tuple)) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)
    )


def _resize_head(module: dict, old: int, new: int) -> None:
    """Mask R-CNN's heads count ``num_classes``; Mask2Former's things, and weights of all classes and of none."""
    for key in ('num_classes', 'num_things_classes'):
        if module.get(key) == old:
            module[key] = new
    weights = module.get('class_weight')
    if isinstance(weights, (list, tuple)) and len(weights) == old + 1:
        module['class_weight'] = [weights[0]] * new + [weights[-1]]


def test_on_validation(cfg: Config) -> list[str]:
    """Where an ARMBench subset has come without its test.json, test on its val.json, and say so."""
    notes = []
    for node in _sections(cfg, 'test'):
        for holder in _dicts(node):
            if holder.get('type') in ('ARMBenchDataset', 'CocoInstanceMetric'):
                notes += _without_test(holder)
    return notes


def _without_test(holder: dict) -> list[str]:
    name = holder.get('ann_file') or ''
    path = os.path.join(holder.get('data_root') or '', name)
    other = os.path.join(os.path.dirname(path), 'val.json')
    if os.path.basename(name) != 'test.json' or os.path.exists(path) or not os.path.exists(other):
        return []
    holder['ann_file'] = os.path.join(os.path.dirname(name), 'val.json')
    return [f'{path} is not there: testing on {other}'] if holder['type'] == 'ARMBenchDataset' else []


def _changed(cfg: Config, name: str) -> tuple:
    """What the base config said, and what holds now; (None, now) where nothing has changed. The base's name follows."""
    old, new = cfg.get(f'base_{name}'), cfg.get(name)
    if old is None or new is None or _plain(old) == _plain(new):
        return None, new
    cfg[f'base_{name}'] = new
    return old, new


def _plain(value):
    """A tuple and a list of the same are the same setting."""
    return list(value) if isinstance(value, (list, tuple)) else value


def _sections(cfg: Config, *splits: str) -> Iterator:
    for section in SECTIONS:
        for split in splits:
            if cfg.get(f'{split}_{section}'):
                yield cfg[f'{split}_{section}']


def _dicts(node) -> Iterator[dict]:
    """A node of a config, and all dictionaries below it."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, (dict, list, tuple)):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _dicts(item)


def _replace_paths(node, replaced, keys: Sequence[str] = PATHS) -> None:
    for holder in _dicts(node):
        for key in keys:
            if isinstance(holder.get(key), str):
                holder[key] = replaced(holder[key])


def _moved(path: str, old: str, new: str) -> str:
    if path.rstrip('/') == old.rstrip('/'):
        return new
    inside = old.rstrip('/') + '/'
    return os.path.join(new, path.removeprefix(inside)) if path.startswith(inside) else path


def _rename_folder(cfg: Config, split: str, old: str, new: str) -> None:
    """Data sets have paths that are relative to ``data_root``, or whole ones, as evaluators have."""
    root = cfg.get('data_root') or ''

    def in_dataset(path: str) -> str:
        return _renamed(path, root if os.path.isabs(path) else '', old, new)

    _replace_paths(cfg.get(f'{split}_dataloader'), in_dataset, FILES)
    _replace_paths(cfg.get(f'{split}_evaluator'), lambda path: _renamed(path, root, old, new), FILES)


def _renamed(path: str, root: str, old: str, new: str) -> str:
    """Rename a folder in what follows ``root``; a path that lies elsewhere stays."""
    inside = f'{root.rstrip("/")}/' if root else ''
    if not path.startswith(inside):
        return path
    below = f'/{path.removeprefix(inside)}/'.replace(f'/{old}/', f'/{new}/')
    return inside + below[1:-1]
