"""Config files: read, with the variables of a command line put in where they are assigned; made ready for a runner.

A config's variables (``max_epochs = 12``) are plain Python: by the time that MMEngine has read the file, they are used.
So a command line's ``max_epochs=2`` takes the place of the assignment itself, in the file and in those that it inherits
from, whichever of MMEngine's two styles they have; what is derived from it follows.
"""

import ast
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import mmdet
import yaml
from mmdet.evaluation.metrics import CocoMetric
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.config import config as mmengine_config
from mmengine.fileio import YamlHandler
from mmengine.fileio.handlers import registry_utils

from damamba.engine.amp import fit_amp
from damamba.engine.config_checks import (
    READ_BY_RUNNER,
    ConfigError,
    check_counts,
    check_keys,
    leaves,
    plain,
    refuse_version_2,
    same,
    walk,
)
from damamba.engine.config_values import check_values
from damamba.engine.warm_up import refuse_end_of_warm_up
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.types import class_of, is_of, listed

SHOWN = 6  # keys that an error names
BEST = 'coco/segm_mAP'  # what our configs keep the best checkpoint by
MOST_NODES = 10**6  # of a config: names of YAML that stand for names can make more of a line than memory holds


class SafeLoader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
    """Builds plain values, and the tuples that MMEngine writes into a config's YAML."""


def _build_tuple(loader: SafeLoader, node: yaml.Node) -> tuple:
    return tuple(loader.construct_sequence(node, deep=True))


SafeLoader.add_constructor('tag:yaml.org,2002:python/tuple', _build_tuple)


class SafeYamlHandler(YamlHandler):
    """MMEngine's, but for the loader, which would build any object and call any function that a file names."""

    def load_from_fileobj(self, file, **kwargs):
        content = yaml.load(file, **{**kwargs, 'Loader': SafeLoader})
        if sum(1 for _ in islice(walk(content if isinstance(content, dict) else {}), MOST_NODES)) == MOST_NODES:
            raise yaml.YAMLError(f'it has more than {MOST_NODES:,} settings')
        return content


registry_utils.file_handlers.update(yaml=SafeYamlHandler(), yml=SafeYamlHandler())  # for all that MMEngine reads


def read_config(path: str, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config file, with the settings of a command line in it.

    Args:
        path: of the file.
        options: by their keys. A name that a file assigns at its top level is put in there. Any other key goes to what
            has been read, ``+key`` also where nothing is known to read it.

    Raises:
        ConfigError: the file, or one that it inherits from, does not exist or is no Python, or is for MMDetection 2.x;
            a key that nothing reads; a variable that nothing is derived from.
    """
    if not os.path.isfile(path):
        raise ConfigError(f'{path} does not exist; wanted a config file, such as those in configs/')
    refuse_version_2({key.split('.')[0] for key in options or ()}, '--cfg-options')
    cfg, files = _read(path, {})
    refuse_version_2(cfg, path)
    named = {key.removeprefix('+'): value for key, value in (options or {}).items()}
    variables = {name: value for name, value in named.items() if files.assigned(name) and name not in READ_BY_RUNNER}
    if variables:
        _refuse_other_kinds(path, variables, cfg)
        cfg, files = _read(path, variables)
    for name in {*named} & cfg.keys() - READ_BY_RUNNER:
        _refuse_idle(path, name, variables, cfg)
    _refuse_overridden(path, variables, cfg, files)
    settings = {key: value for key, value in (options or {}).items() if key.removeprefix('+') not in variables}
    before = plain(cfg)
    _merge(cfg, settings)
    check_values(before, cfg, {key: value for key, value in settings.items() if not key.startswith('+')})
    check_counts(cfg)
    return cfg


def _merge(cfg: Config, options: Mapping[str, Any]) -> None:
    """Merge settings into a config, types first: these say what else is read."""
    types = {key: value for key, value in options.items() if key.split('.')[-1] == 'type'}
    for part in (types, {key: value for key, value in options.items() if key not in types}):
        check_keys(cfg, [key for key in part if not key.startswith('+')])
        for key in part:
            _open(cfg, key.removeprefix('+').split('.')[:-1])
        cfg.merge_from_dict({key.removeprefix('+'): value for key, value in part.items()})


def _open(cfg: Config, parents: Sequence[str]) -> None:
    """Let None on the way to a setting become a section."""
    node = cfg
    for part in parents:
        if isinstance(node, dict | Config) and part in node:
            if node[part] is None:
                node[part] = {}
            node = node[part]
        else:
            node = node[int(part)] if isinstance(node, list | tuple) and part.isdecimal() else {}


@dataclass
class _Files:
    """The names that each file of a config assigns at its top level, and those that it uses, bases first."""

    names: dict[str, tuple[set[str], set[str]]] = field(default_factory=dict)

    def assigned(self, name: str) -> list[str]:
        """The files that assign it."""
        return [file for file, (assigned, _) in self.names.items() if name in assigned]


def _read(path: str, values: Mapping[str, Any]) -> tuple[Config, _Files]:
    try:
        with _assigning(values) as files:
            return Config.fromfile(path), files
    except SyntaxError as error:
        place = error.filename if error.filename and os.path.isfile(error.filename) else path
        raise ConfigError(f'{place}, line {error.lineno}: {error.msg}') from error
    except (yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f'{path} can not be read: {" ".join(str(error).split())}') from error
    except AttributeError as error:
        if path.endswith('.py'):
            raise
        raise ConfigError(f'{path} can not be read: it holds no settings by their names') from error
    except (KeyError, ImportError) as error:  # of two bases that say the same; of custom_imports
        raise ConfigError(f'{path} can not be read: {error}') from error
    except FileNotFoundError as error:
        with open(path, encoding='utf-8') as file:
            refuse_version_2(_targets(ast.parse(file.read())), path)  # its bases lie in an MMDetection 2.x, not here
        raise ConfigError(f'{path} can not be read: {error}') from error


@contextmanager
def _assigning(values: Mapping[str, Any]) -> Iterator[_Files]:
    """While MMEngine reads config files, put values in at the assignments of these names, and note all names."""
    files = _Files()

    def compile_config(tree, filename, *args, **kwargs):
        if isinstance(tree, ast.Module):
            used = {it.id for it in ast.walk(tree) if isinstance(it, ast.Name) and isinstance(it.ctx, ast.Load)}
            files.names[filename] = _targets(tree), used
            _put_in(tree, values)
        return compile(tree, filename, *args, **kwargs)

    mmengine_config.compile = compile_config  # both styles are compiled there, which comes before Python's own
    try:
        yield files
    finally:
        del mmengine_config.compile


def _targets(tree: ast.Module) -> set[str]:
    return {name for statement in tree.body for name in _names(statement)}


def _names(statement: ast.stmt) -> list[str]:
    """The names that an assignment gives its value to."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
        return []
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [it.id for it in targets if isinstance(it, ast.Name)]


def _put_in(tree: ast.Module, values: Mapping[str, Any]) -> None:
    """Behind each of these assignments another one: what is assigned may have a second name."""
    body = []
    for statement in tree.body:
        assigned = [name for name in _names(statement) if name in values]
        body += [statement, *(_assignment(name, values[name]) for name in assigned)]
    tree.body = body
    ast.fix_missing_locations(tree)


def _assignment(name: str, value: Any) -> ast.Assign:
    return ast.Assign([ast.Name(name, ast.Store())], _literal(value))


def _literal(value: Any) -> ast.expr:
    if isinstance(value, dict):
        return ast.Dict([_literal(key) for key in value], [_literal(item) for item in value.values()])
    if isinstance(value, list | tuple):
        return (ast.List if isinstance(value, list) else ast.Tuple)([_literal(item) for item in value], ast.Load())
    return ast.Constant(value)


def _is_literal(value: Any) -> bool:
    """Whether this is plain data: no class, no function."""
    if isinstance(value, dict | list | tuple):
        return all(map(_is_literal, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, bool | int | float | str)


def _refuse_other_kinds(path: str, variables: Mapping[str, Any], cfg: Config) -> None:
    """Refuse a text for a number, one size for two, a name for a list of names."""
    for name, other in variables.items():
        value = plain(cfg[name])
        if not _may_be(value, other):
            hint = f'; as a text: {name}=\'"{other}"\'' if isinstance(value, str) else ''
            raise ConfigError(f'{name} is {value!r} in {path}, and {other!r} is of another kind{hint}')


def _may_be(value: Any, other: Any) -> bool:
    """Whether a variable of this value may have another one: of a size, as many numbers."""
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        if isinstance(value, tuple) and all(isinstance(item, int | float) for item in value):  # a size
            return len(value) == len(other) and all(map(_may_be, value, other))
        names = any(isinstance(item, str) for item in value)
        return (bool(other) or not names) and all(_may_be(value[0], item) for item in other if value)
    if value is None or other is None:
        return True
    if type(value) is float:
        return type(other) in (int, float)
    return isinstance(other, type(value)) and isinstance(other, bool) == isinstance(value, bool)


def _refuse_idle(path: str, name: str, variables: Mapping[str, Any], cfg: Config) -> None:
    """Refuse a variable of the command line that changes nothing but itself, as one of a dumped config does."""
    before = _read(path, {other: value for other, value in variables.items() if other != name})[0]
    if name in variables:
        if not same(plain(cfg[name]), variables[name]) and not _holds_sections(variables[name]):
            raise ConfigError(f'{path} does not assign {name} as it is in one place at its top: edit it there')
        if same(plain(before[name]), variables[name]) or _unlike(before, cfg):
            return
    settings = [item for item in leaves(plain(before)) if item[0].split('.')[0] in READ_BY_RUNNER]
    keys = [key for key, value in settings if _begins_with(value, plain(before[name]))]
    instead = f': set {", ".join(keys[:SHOWN])} instead' if keys else ''
    raise ConfigError(f'{path} has no {name} that a command line could change anything by{instead}')


def _holds_sections(value: Any) -> bool:
    """Whether MMEngine merges it, or adds a scope to it."""
    return isinstance(value, dict) or (isinstance(value, list | tuple) and any(isinstance(it, dict) for it in value))


def _begins_with(value: Any, beginning: Any) -> bool:
    """Whether a setting is another one, or a path below it."""
    texts = isinstance(value, str) and isinstance(beginning, str) and bool(beginning)
    return value.startswith(beginning) if texts else same(value, beginning)


def _unlike(cfg: Config, other: Config) -> list[str]:
    """The keys of settings, not of variables, that two configs do not share."""
    one, two = (dict(leaves({k: v for k, v in plain(it).items() if k in READ_BY_RUNNER})) for it in (cfg, other))
    return [key for key in {**one, **two} if key not in one or key not in two or not same(one[key], two[key])]


def _refuse_overridden(path: str, variables: Mapping[str, Any], cfg: Config, files: _Files) -> None:
    """Refuse a variable that a file assigns over its base's and never uses: the base has used its own by then."""
    library = str(Path(mmdet.__file__).parent)  # whose own slips nobody here can mend
    for file, (assigned, used) in files.names.items():
        if os.path.abspath(file).startswith(library):
            continue
        for name in assigned - used - READ_BY_RUNNER - set(variables):
            assigned_in, value = files.assigned(name), plain(cfg.get(name))
            if assigned_in[-1] != file or len(assigned_in) == 1 or not _is_literal(value):
                continue
            keys = _unlike(cfg, _read(path, {**variables, name: value})[0])
            if keys:
                raise ConfigError(
                    f'{file} says {name} = {value!r} and does not use it, and what it inherits from has used its own: '
                    f'set {", ".join(keys[:SHOWN])} there'
                )


def prepare(cfg: Config) -> list[str]:
    """Fit a config, in place, to this machine and to our evaluator; return what the user should be told.

    Raises:
        ConfigError: it is written for MMDetection 2.x, or says where a WarmUp ends.
    """
    refuse_version_2(cfg, cfg.filename)
    refuse_end_of_warm_up(cfg)
    check_counts(cfg)
    return [note for note in (use_our_metric(cfg), fit_amp(cfg), fit_best(cfg)) if note]


def use_our_metric(cfg: Config) -> str | None:
    """Put :class:`~damamba.evaluation.metric.CocoInstanceMetric` in the place of MMDetection's ``CocoMetric``."""
    replaced = []
    for section in ('val_evaluator', 'test_evaluator'):
        for evaluator in listed(cfg.get(section)):
            if class_of(evaluator, METRICS) is CocoMetric:
                evaluator['type'] = CocoInstanceMetric.__name__
                for key in ('use_mp_eval', 'file_client_args'):
                    evaluator.pop(key, None)
                replaced.append(section)
    if not replaced:
        return None
    return (
        f'{" and ".join(replaced)}: CocoInstanceMetric in the place of CocoMetric, which has the same mAP, AR by its '
        'number of detections, and takes its ground truth from the data set that is tested'
    )


def fit_best(cfg: Config) -> str | None:
    """Keep the best checkpoint by what the validation measures, where the config has our own default.

    Without masks that is the mAP of boxes; where there is no mAP, none is kept.
    """
    checkpoint = cfg.get('default_hooks', {}).get('checkpoint') or {}
    if checkpoint.get('save_best') != BEST:
        return None
    checkpoint.save_best = _best(cfg.get('val_evaluator'))
    if checkpoint.save_best == BEST:
        return None
    return f'The best checkpoint is kept by {checkpoint.save_best or "nothing"}: the validation does not measure {BEST}'


def _best(evaluators: dict | list | None) -> str | None:
    """The mAP of masks, or else of boxes, that evaluators measure, by its name in the log."""
    for evaluator in listed(evaluators):
        items, metric = evaluator.get('metric_items'), evaluator.get('metric', 'bbox')
        kinds = {metric} if isinstance(metric, str) else set(metric)
        items = {items} if isinstance(items, str) else items
        if is_of(evaluator, METRICS, CocoInstanceMetric) and (not items or 'mAP' in items):
            for kind in [kind for kind in ('segm', 'bbox') if kind in kinds]:
                return f'{evaluator.get("prefix") or "coco"}/{kind}_mAP'
    return None
