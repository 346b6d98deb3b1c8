"""The parts of a config that cost nothing to build, built before those that do; and what an error of building says."""

import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmdet.evaluation.metrics import CocoMetric
from mmdet.registry import METRICS, OPTIMIZERS, PARAM_SCHEDULERS
from mmengine.config import Config
from mmengine.registry import build_functions
from mmengine.runner import runner as mmengine_runner
from torch import nn
from torch.utils.data import DataLoader

from damamba.engine.config_checks import ConfigError, check_files, check_packages
from damamba.evaluation.coco_ap import EvaluationError, ground_truth, score
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.types import class_of, listed

OTHERS = {'train': ('train_cfg', 'optim_wrapper'), **{it: (f'{it}_cfg', f'{it}_evaluator') for it in ('val', 'test')}}
OBJECTS = ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch')  # to be built
NOT_OURS = ('type', 'ann_file', 'use_mp_eval', 'file_client_args')
NO_OBJECTS = dict(images=[], annotations=[], categories=[{'id': 1, 'name': 'any'}])
OF_CONFIGS = (TypeError, ValueError, KeyError, AttributeError, AssertionError, IndexError, ImportError)


def check_parts(cfg: Config, splits: Sequence[str]) -> None:
    """Hold a config that is ready against what is on this machine, and build what comes before data and weights.

    Raises:
        ConfigError: a file or a package is not there, or a part can't be built.
    """
    check_files(cfg, splits)
    check_packages(cfg)
    for split, others in OTHERS.items():
        _check_group(cfg, (f'{split}_dataloader', *others))
        with _named(f'{split}_dataloader'):
            _try_loader(cfg.get(f'{split}_dataloader') or {})
        for evaluator in listed(cfg.get(f'{split}_evaluator')):
            with _named(f'{split}_evaluator'):
                _try_evaluator(evaluator)
    if 'train' in splits:
        _try_optimizer(cfg)
    scaling = cfg.get('auto_scale_lr') or {}
    if scaling.get('enable') and 'base_batch_size' not in scaling:
        raise ConfigError('auto_scale_lr.enable needs auto_scale_lr.base_batch_size, for which the rate was chosen')


def _check_group(cfg: Config, names: Sequence[str]) -> None:
    """MMEngine takes all of these or none."""
    lacking = [name for name in names if cfg.get(name) is None]
    if lacking and len(lacking) < len(names):
        there = ' and '.join(name for name in names if name not in lacking)
        raise ConfigError(f'{" and ".join(lacking)} can not be None beside {there}: give all of them or none')


@contextmanager
def _named(key: str) -> Iterator[None]:
    try:
        yield
    except (*OF_CONFIGS, EvaluationError) as error:
        raise ConfigError(f'{key} can not be built: {_line(error)}') from error


def _try_loader(loader: dict) -> None:
    """Let torch look at a loader's options, without its data."""
    options = {key: value for key, value in loader.items() if key not in OBJECTS}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of more workers than cores
        DataLoader(range(1), **({**options, 'sampler': [0]} if loader.get('sampler') else options))
        if loader.get('batch_sampler'):
            DataLoader(range(1), batch_sampler=[[0]], **{k: v for k, v in options.items() if k != 'batch_size'})


def _try_evaluator(evaluator: dict) -> None:
    """Build ours, without its ground truth, and see whether it has the figures that are asked for."""
    if class_of(evaluator, METRICS) not in (CocoMetric, CocoInstanceMetric):
        return
    metric = CocoInstanceMetric(**{key: value for key, value in evaluator.items() if key not in NOT_OURS})
    kinds = {kind: [] for kind in ('bbox', 'segm') if kind in metric.metrics}
    if kinds and metric.metric_items:
        score(ground_truth(NO_OBJECTS), kinds, [1], metric.iou_thrs, metric.max_dets).flat(items=metric.metric_items)


def _try_optimizer(cfg: Config) -> None:
    settings = cfg.optim_wrapper.get('optimizer')
    if not settings or 'type' not in settings:
        return  # several, or what a constructor of its own makes
    with _named('optim_wrapper.optimizer'):
        optimizer = OPTIMIZERS.build({**settings, 'params': [nn.Parameter(torch.zeros(1, 1))]})
    schedulers = cfg.get('param_scheduler')
    for place, scheduler in enumerate(schedulers if isinstance(schedulers, list | tuple) else ()):
        with _named(f'param_scheduler.{place}'):
            options = {key: value for key, value in scheduler.items() if key != 'convert_to_iter_based'}
            PARAM_SCHEDULERS.build({'end': 10**9, **options, 'optimizer': optimizer})


def error_of_building(error: Exception) -> str | None:
    """What a user is told of an error that came while something was built from a config; None of any other."""
    if not isinstance(error, OF_CONFIGS):
        return None
    built = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_filename == build_functions.__file__ and 'obj_type' in frame.f_locals:
            kind = frame.f_locals['obj_type']
            built = kind if isinstance(kind, str) else kind.__name__
        elif code.co_filename == mmengine_runner.__file__ and code.co_name == '__init__':
            built = built or 'the runner'
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f'{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}'
    return built and f'{built} can not be built as the config says: {_line(error)} ({where})'


def _line(error: Exception) -> str:
    return ' '.join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
