"""What is held against a config before anything slow begins: keys that nothing reads, files, packages, version 2."""

import difflib
import importlib.util
import inspect
import os
import re
import typing
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

import mmdet.registry
import mmengine.registry
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
from mmengine.utils.dl_utils import set_multi_processing
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from damamba.datasets.armbench import ARMBenchDataset, existing_file
from damamba.types import is_of, listed, name_of

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
REGISTRIES = [it for room in (mmdet, mmengine) for it in vars(room.registry).values() if isinstance(it, Registry)]
ARGUMENTS = {*inspect.signature(Runner.__init__).parameters} - {'self', 'cfg'}
READ_BY_RUNNER = {  # at the top level
    *ARGUMENTS,
    *('runner_type', 'custom_imports', 'find_unused_parameters', 'model_wrapper_cfg', 'sync_bn', 'compile'),
    *('efficient_conv_bn_eval', 'activation_checkpointing', 'tta_model', 'tta_pipeline'),
    *('max_left_out', 'max_skipped_steps', 'restarted'),
}
LOADER = ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'num_batch_per_epoch', 'worker_init_fn')
HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint', 'visualization')
PARAMWISE = (
    *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult', 'flat_decay_mult'),
    *('dcn_offset_lr_mult', 'bypass_duplicate', 'decay_rate'),
)
WITHOUT_TYPE = {
    '': (Runner.__init__, *READ_BY_RUNNER),
    # what reads a section, or names in it, that has no type of its own
    **dict.fromkeys(('train_dataloader', 'val_dataloader', 'test_dataloader'), (DataLoader, *LOADER)),
    'train_cfg': (EpochBasedTrainLoop, IterBasedTrainLoop, 'by_epoch', 'type'),
    'val_cfg': (ValLoop, 'type'),
    'test_cfg': (TestLoop, 'type'),
    'optim_wrapper': (OptimWrapper, AmpOptimWrapper, 'optimizer', 'constructor', 'paramwise_cfg', 'type'),
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'randomness': (Runner.set_randomness,),
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'custom_imports': ('imports', 'allow_failed_imports'),
    'log_processor': (LogProcessor, 'type'),
    'default_hooks': HOOKS,
    'paramwise_cfg': PARAMWISE,
    'compile': (torch.compile,),
    'tta_model': ('tta_cfg', 'type'),
    'tta_cfg': ('nms', 'max_per_img'),
    'mp_cfg': (set_multi_processing,),
    'dist_cfg': ('backend', 'init_backend', 'timeout', 'init_method'),
    'clip_grad': (clip_grad_norm_, clip_grad_value_, 'type'),
    'loss_scale': (torch.amp.GradScaler,),
    'filter_cfg': ('filter_empty_gt', 'min_size', 'bbox_min_size'),
    'metainfo': ('classes', 'palette', 'by_name'),
    'data_prefix': ('img', 'img_path', 'seg', 'ann'),
}
ANYWHERE = {  # these lie below others
    *('paramwise_cfg', 'metainfo', 'data_prefix', 'mp_cfg', 'dist_cfg', 'clip_grad', 'loss_scale', 'filter_cfg'),
    'tta_cfg',
}
BESIDE_TYPE = {
    'optim_wrapper': (AmpOptimWrapper, 'constructor', 'paramwise_cfg', 'optimizer'),  # of --amp
    'param_scheduler': ('convert_to_iter_based',),
    **dict.fromkeys(('default_hooks', 'custom_hooks'), ('priority',)),
    'norm_cfg': ('requires_grad',),
    'dcn': ('fallback_on_stride',),
    'init_cfg': ('override',),
}
FREE = {'custom_keys', 'backend_args', 'init_kwargs'}  # the names are somebody's own
HANDED_IN = {'self', 'cfg', 'runner', 'dataloader', 'evaluator', 'params', 'parameters', 'distributed'}  # by MMEngine
COUNTS = re.compile(
    r'train_cfg\.(max_epochs|max_iters|val_interval)|(train|val|test)_dataloader\.batch_size|log_processor\.window_size|'
    r'optim_wrapper\.accumulative_counts|auto_scale_lr\.base_batch_size|default_hooks\.(logger|visualization)\.interval|(train|val|test)_dataloader\.num_workers'
)
BACKENDS = {  # the packages that MMEngine's write through
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
    'MLflowVisBackend': 'mlflow',
    'ClearMLVisBackend': 'clearml',
    'NeptuneVisBackend': 'neptune',
    'DVCLiveVisBackend': 'dvclive',
    'AimVisBackend': 'aim',
}
ANY = None  # name will do


class ConfigError(ValueError):
    """A config that can't be run as it stands; the text says what to change."""


# Keys.


def check_keys(cfg: Config, keys: Sequence[str]) -> None:
    """Refuse settings of a command line that nothing reads.

    A key is known if the config has it, if the class that is named by the ``type`` beside it takes it, through its
    bases, or if MMEngine's runner reads it.

    Raises:
        ConfigError: a key is none of these; the text has the nearest one that is.
    """
    content = plain(cfg)
    for key in keys:
        _refuse_inside_of_variable(content, key)
        known = _known_beside(content, key.split('.'))
        if known is not ANY:
            near = nearest(key, [*known, *(other for other, _ in walk(content))])
            hint = f'; is {near} meant?' if near else '.'
            raise ConfigError(f'{key} is not in the config, and nothing reads it{hint} +{key}=VALUE would add it')


def _refuse_inside_of_variable(content: dict, key: str) -> None:
    """Refuse a setting in a variable: what is derived from that has been by then."""
    first, _, inner = key.partition('.')
    if not inner or first in READ_BY_RUNNER or first not in content:
        return
    found = dict(walk(content))
    keys = [
        other
        for other, value in found.items()
        if key in found
        and other.split('.')[0] in READ_BY_RUNNER
        and same(value, found[key])
        and other.rpartition('.')[2] == key.rpartition('.')[2]
    ]
    instead = f': set {", ".join(keys[:6])} instead' if keys else ''
    raise ConfigError(f'{key} lies in a variable, which the config has used by then{instead}; +{key}=VALUE sets it')


def _known_beside(node: Any, parts: Sequence[str]) -> list[str] | None:
    """The keys that are known beside one that is not; ``ANY`` where it is known."""
    if parts[-1] == '_delete_' or (parts[0] == 'default_hooks' and parts[2:] == ['type']):  # a hook of any name
        return ANY
    for place, part in enumerate(parts):
        if isinstance(node, list | tuple):
            names = set(map(str, range(len(node))))
        elif isinstance(node, dict):
            names = ANY if part in node else names_read(node, parts[:place])
        else:  # a plain value; what was None may become a dictionary
            names = ANY if node is None else set()
        if names is not ANY and part not in names:
            return ['.'.join([*parts[:place], name]) for name in sorted(names)]
        if isinstance(node, list | tuple):
            node = node[int(part)]
        elif isinstance(node, dict) and (part in node or _is_looked_into(parts, place)):
            node = node.get(part, {})
        else:
            return ANY
    return ANY


def _is_looked_into(parts: Sequence[str], place: int) -> bool:
    """Whether it is known what a section that is not there may hold."""
    if not place:
        return parts[place] in WITHOUT_TYPE
    return parts[place] in (*ANYWHERE, 'custom_keys') or parts[place - 1] == 'custom_keys'


def names_read(node: dict, path: Sequence[str]) -> dict[str, Any] | None:
    """The names that are read of a section which lies there, with their types; ``ANY`` where these can't be told."""
    section = path[-1] if path else ''
    if section in FREE:
        return ANY
    if path[-2:-1] == ['custom_keys']:
        return {'lr_mult': float, 'decay_mult': float}
    readers = WITHOUT_TYPE.get(section, ()) if len(path) < 2 or section in ANYWHERE else ()
    if 'type' in node:
        classes = [node['type']] if callable(node['type']) else [it.get(node['type']) for it in REGISTRIES]
        if any(classes):
            owner = path[0] if section.isdecimal() or path[0] == 'default_hooks' else section
            readers = [*filter(None, classes), *BESIDE_TYPE.get(owner, ())]
        elif not readers:
            return ANY  # the one who builds it will say so
    names = {it: Any for it in readers if isinstance(it, str)}
    for parameters in (_parameters(it) for it in readers if not isinstance(it, str)):
        if parameters is ANY:
            return ANY
        names |= parameters
    handed_in = {*HANDED_IN, 'optimizer'} if path[:1] == ['param_scheduler'] else HANDED_IN
    return {name: hint for name, hint in names.items() if name not in handed_in}


def _parameters(reader: Callable) -> dict[str, Any] | None:
    """The arguments of a function, or of a class, where its bases take the rest; with their annotated types."""
    names: dict[str, Any] = {}
    bases = reader.__mro__ if isinstance(reader, type) else ()
    makers = [vars(it)['__init__'] for it in bases if '__init__' in vars(it)] or [reader]
    if makers == [object.__init__]:
        return {}
    for function in makers:
        parameters, hints = inspect.signature(function).parameters.values(), _hints(function)
        for it in parameters:
            if it.kind in (it.POSITIONAL_OR_KEYWORD, it.KEYWORD_ONLY):
                hint = hints.get(it.name, Any)
                names.setdefault(it.name, hint | None if it.default is None else hint)
        if function is not object.__init__ and not any(it.kind == it.VAR_KEYWORD for it in parameters):
            return names
    return ANY


def _hints(function: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # of what is imported for checkers of types alone
        return {}


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The key that is most like one that is not known."""
    return next(iter(difflib.get_close_matches(key, dict.fromkeys(known), n=1, cutoff=0.5)), None)


def plain(value: Any) -> Any:
    """A config, or a part of one, as Python's own dictionaries, lists and tuples, without MMEngine's scopes."""
    if isinstance(value, Config | ConfigDict):
        return plain(value.to_dict())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != '_scope_'}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


def walk(node: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of all that lies below a node."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield f'{prefix}{name}', value
        if isinstance(value, dict | list | tuple):
            yield from walk(value, f'{prefix}{name}.')


def leaves(node: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; a list of plain values is one of them, and so is what is empty."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        if items and (isinstance(value, dict) or any(isinstance(item, dict | list | tuple) for item in items)):
            yield from leaves(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def same(value: Any, other: Any) -> bool:
    """Whether two settings are one; a tuple and a list of the same are."""
    return _as_lists(value) == _as_lists(other) and isinstance(value, bool) == isinstance(other, bool)


def _as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_lists(item) for key, item in value.items()}
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


# Everything else.


def check_counts(cfg: Config) -> None:
    """Refuse what is to be counted and is no whole number from 1 on, and a share that is none; ConfigError."""
    for key, value in walk(plain({name: cfg[name] for name in cfg if name in READ_BY_RUNNER})):
        least = 0 if key.endswith('num_workers') else 1
        is_whole = type(value) in (int, float) and value % 1 == 0  # some of MMDetection's divide
        if COUNTS.fullmatch(key) and value is not None and not (is_whole and value >= least):
            raise ConfigError(f'{key} must be a whole number from {least} on, got {value!r}')
    share = cfg.get('max_left_out', 0)
    if type(share) not in (int, float) or not 0 <= share <= 1:
        raise ConfigError(f'max_left_out must be a share of the training set, from 0 to 1, got {share!r}')


def check_packages(cfg: Config) -> None:
    """Refuse a visualizer's backend whose package is not installed.

    Raises:
        ConfigError: names it.
    """
    backends = [backend for it in listed(cfg.get('visualizer')) for backend in listed(it.get('vis_backends'))]
    for name in map(name_of, backends):
        package = BACKENDS.get(name)
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(f'visualizer: {name} needs {package}, which is not installed: pip install {package}')


def refuse_version_2(names: Container[str], path: str | None) -> None:
    """Raise if a config (or the names that it sets) has settings of MMDetection 2.x, which 3.x ignores in silence."""
    found = [key for key in VERSION_2 if key in names]
    if found:
        replaced = '; '.join(f'{key} became {VERSION_2[key]}' for key in found)
        raise ConfigError(f'{path or "this config"} has settings of MMDetection 2.x: in 3.x {replaced}')


def check_files(cfg: Config, splits: tuple[str, ...]) -> None:
    """Raise if an annotation file or a folder of pictures of these splits is not there, before anything slow begins.

    Raises:
        ConfigError: names what is missing, and the folders that data sets lie in.
    """
    nodes = [cfg.get(f'{split}_{section}') for split in splits for section in ('dataloader', 'evaluator')]
    paths = {path for path, _ in _files(nodes, '')} - {path for path, _ in stand_ins(nodes)}
    missing = sorted(path for path in paths if '://' not in path and not os.path.exists(path))
    if missing:
        raise ConfigError(
            f'{", ".join(missing)} not found: data_root is {cfg.get("data_root", "not set")!r}; '
            'edit it in the config or give --cfg-options data_root=PATH'
        )


def stand_ins(node: Any) -> Iterator[tuple[str, str]]:
    """Annotations of ARMBench below a node of a config that are not there, and what is taken in their place."""
    for path, dataset in _files(node, ''):
        if is_of(dataset, DATASETS, ARMBenchDataset) and existing_file(path) != path:
            yield path, existing_file(path)


def _files(node: Any, root: str) -> Iterator[tuple[str, dict]]:
    """Annotation files and folders of pictures below a node of a config, joined to their roots; and what names them."""
    if isinstance(node, list | tuple):
        for item in node:
            yield from _files(item, root)
    elif isinstance(node, dict):
        root = node.get('data_root') or root
        pictures = node.get('data_prefix')
        for path in (node.get('ann_file'), pictures.get('img') if isinstance(pictures, dict) else None):
            if isinstance(path, str) and path:
                yield os.path.join(root, path), node
        for key, value in node.items():
            if key != 'pipeline':
                yield from _files(value, root)
