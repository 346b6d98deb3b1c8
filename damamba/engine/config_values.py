"""What a value of a command line may be: what its parameter is annotated with, or else the kind that it replaces."""

import copy
import multiprocessing
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, Literal, Union
from unittest import mock

import mmengine.registry
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from torch import Tensor

from damamba.engine.config_checks import READ_BY_RUNNER, REGISTRIES, ConfigError, names_read, nearest, plain, same, walk
from damamba.types import class_of, name_of

MISSING = object()
HINTS = {  # of what is annotated with too little, or too narrowly
    'log_level': Literal['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'],
    'mp_cfg.mp_start_method': Literal[tuple(multiprocessing.get_all_start_methods())],
    'randomness.seed': int | None,
    'clip_grad.type': Literal['norm', 'value'],
    'optim_wrapper.loss_scale': float | str | dict,
    'metainfo.classes': Sequence[str],
    'train_cfg.by_epoch': bool,
}
LOOPS = {'train_cfg': (EpochBasedTrainLoop, IterBasedTrainLoop), 'val_cfg': (ValLoop,), 'test_cfg': (TestLoop,)}
WORDS = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'a text',
    type(None): 'None',
    Tensor: 'a number',
}


def check_values(before: Mapping, cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse values of a command line that what reads them can't take, or that something else overwrites.

    Args:
        before: the config without them.
        cfg: the config with them.
        options: the settings, by their keys.

    Raises:
        ConfigError: names the key, its value and what would do.
    """
    content, sections = plain(cfg), dict(cfg.items())
    for key in options:
        parts = key.split('.')
        _refuse_idle(content, key)
        _refuse_overwritten(sections, content, parts)
        for place in range(1, len(parts) + 1):
            if place == len(parts) or at(before, parts[:place]) is MISSING:
                _check_kind(before, content, parts[:place], key)
        if parts[-1] == 'type':
            _check_type(before, content, key)
    if 'default_scope' in options:
        _check_scope(content)


def at(node: Any, parts: Sequence[str]) -> Any:
    """What lies below a node, ``MISSING`` if nothing does."""
    for part in parts:
        if isinstance(node, list | tuple) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return MISSING
    return node


def _check_kind(before: Mapping, content: dict, parts: Sequence[str], key: str) -> None:
    """Hold a value against its parameter's annotation; a section that is new also needs to be known, or a type."""
    *parents, last = parts
    parent, value, old = at(content, parents), at(content, parts), at(before, parts)
    if value is MISSING:
        return  # _delete_, which is done
    hint = (names_read(parent, parents) or {}).get(last, Any) if isinstance(parent, dict) else Any
    hint = HINTS.get('.'.join(parts[-2:]), hint)
    if old is not MISSING and (hint is Any or not fits(old, hint)):  # some annotations are too narrow
        hint = _kind_of(old) | None
    if not fits(value, hint):
        example = f', such as {last}="[{{...}}]"' if isinstance(value, dict) else ''
        raise ConfigError(f'{".".join(parts)} can not be {value!r}: it takes {in_words(hint)}{example}')
    name, of_model = '.'.join(parts), parts[0] == 'model' and last in LOOPS
    if name != key and not of_model and 'type' not in value and names_read(value, parts) == {}:
        raise ConfigError(
            f'{key}: the config has no {name}, and nothing says what reads it; {name}.type=NAME does, '
            f'and +{key}=VALUE sets it all the same'
        )


def _kind_of(value: Any) -> Any:
    kinds = ((bool, bool), (int | float, float), (str, str), (list | tuple, list), (dict, dict), (object, Any))
    return next(hint for kind, hint in kinds if isinstance(value, kind))


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of a config is of an annotated type; a list does for a tuple, and a section for an object."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, type(None)):
        return hint is Any or value is None
    if origin in (Union, types.UnionType):
        return any(fits(value, it) for it in inner)
    if origin is Literal:
        return value in inner
    if isinstance(origin, type) and issubclass(origin, Sequence):
        items = isinstance(value, list | tuple)
        if origin is tuple and len(inner) > 1 and Ellipsis not in inner and items and len(value) != len(inner):
            return False
        loose = float if inner[:1] == (int,) else inner[0] if inner else Any
        return items and all(fits(item, loose) for item in value)
    kind = origin or hint
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    if kind is bool:
        return value in (0, 1)
    if kind in (list, tuple):
        return isinstance(value, list | tuple)
    if kind is str or not isinstance(kind, type):
        return isinstance(value, str) or kind is not str
    return isinstance(value, dict | kind) or (callable(value) and kind is not dict)


def in_words(hint: Any) -> str:
    """What an annotated type takes, for a sentence."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return ' or '.join(dict.fromkeys(map(in_words, inner)))
    if origin is Literal:
        return ' or '.join(map(str, inner))
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, list | tuple | Sequence) and kind is not str:
        sizes = f' of {len(inner)}' if kind is tuple and len(inner) > 1 and Ellipsis not in inner else ''
        return f'a list{sizes}'
    return WORDS.get(kind, 'a section')


def _check_type(before: Mapping, content: dict, key: str) -> None:
    """Hold a type against the registries that its predecessor lies in, and a loop against what it is for."""
    name, old = at(content, key.split('.')), at(before, key.split('.'))
    if not isinstance(name, str) or f'{".".join(key.split(".")[-2:])}' in HINTS:
        return
    own = [it for it in REGISTRIES if isinstance(old, str) and it.get(old)]
    if not own and old is not MISSING:
        return  # a function of mmcv's, such as nms
    registries = own or REGISTRIES
    found = [it.get(name) for it in registries if it.get(name)]
    if not found:
        near = nearest(name, [other for it in own for one in (it, it.parent) if one for other in one.module_dict])
        raise ConfigError(
            f'{key} can not be {name!r}: nothing of its kind is called that{f"; is {near} meant?" if near else ""}'
        )
    others = tuple(loop for section, loops in LOOPS.items() if f'{section}.type' != key for loop in loops)
    if key.removesuffix('.type') in LOOPS and issubclass(found[0], others):
        fitting = ' or '.join(loop.__name__ for loop in LOOPS[key.removesuffix('.type')])
        raise ConfigError(f'{key} can not be {name!r}, which is a loop for something else: it takes {fitting}')


def _check_scope(content: dict) -> None:
    """Refuse a scope in which the model is not found."""
    scope, kind = content['default_scope'], (content.get('model') or {}).get('type')
    root = mmengine.registry.MODELS
    scopes = {root.scope: root, **root.children}
    fitting = [name for name, registry in scopes.items() if name != root.scope and registry.get(kind)]
    if isinstance(kind, str) and fitting and scope not in fitting:
        raise ConfigError(f'default_scope can not be {scope!r}, where {kind} is not found: it is in {fitting[0]}')


def _refuse_idle(content: dict, key: str) -> None:
    """Refuse to filter what is tested, which MMDetection does not."""
    parts = key.split('.')
    if 'filter_cfg' in parts:
        dataset = at(content, parts[: parts.index('filter_cfg')])
        if isinstance(dataset, dict) and dataset.get('test_mode'):
            raise ConfigError(
                f'{key} changes nothing while test_mode=True stands beside it: of what is tested nothing is left out'
            )
    if parts[0] == 'data_preprocessor' and 'data_preprocessor' in content['model']:
        raise ConfigError(f'{key} changes nothing, since the model has one of its own: model.{key} would do')


def _refuse_overwritten(sections: dict, content: dict, parts: Sequence[str]) -> None:
    """Refuse a setting of a part of the model in the place of which the model hands its own to that part.

    That is seen by building what holds the part, with nothing inside of it.
    """
    typed = [place for place in range(1, len(parts)) if 'type' in _dict(at(sections, parts[:place]))]
    for outer, inner in pairwise(typed if parts[0] == 'model' and 'backbone' not in parts else ()):
        whole, part, name = at(sections, parts[:outer]), at(sections, parts[:inner]), parts[inner]
        given = [it for it in handed_to_parts(whole) if isinstance(it, dict) and it.get('type') == part['type']]
        if not given or any(same(plain(it.get(name)), plain(part.get(name))) for it in given):
            continue
        handed, rest = plain(given[0].get(name)), ''.join(f'.{it}' for it in parts[inner + 1 :])
        keys = [key for key, value in walk(content) if isinstance(handed, dict) and handed and value == handed]
        where = [f'{key}{rest}' for key in keys if key.split('.')[0] in READ_BY_RUNNER]
        instead = f'{where[0]} would do' if where else f'it is always {handed!r}'
        raise ConfigError(f'{".".join(parts)} changes nothing, since {name_of(whole)} sets {name} there: {instead}')


def _dict(node: Any) -> dict:
    return node if isinstance(node, dict) else {}


def handed_to_parts(config: dict) -> list[dict]:
    """What a model hands to its parts for them to be built of; as far as it comes without their being built."""
    given: list[dict] = []
    arguments, built = copy.deepcopy(config), mock.MagicMock()
    build = mock.patch.object(Registry, 'build', lambda self, part, *_, **__: given.append(part) or built)
    with build, suppress(Exception):  # some want to use their parts at once
        class_of(arguments, MODELS)(**{key: arguments[key] for key in arguments if key not in ('type', '_scope_')})
    return given
