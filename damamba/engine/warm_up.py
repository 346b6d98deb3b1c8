"""Warm-up that fits the length of a training; and what a training is, in a line at its start."""

import math
import os

from mmdet.engine.schedulers.quadratic_warmup import QuadraticWarmupParamScheduler
from mmdet.registry import PARAM_SCHEDULERS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import LinearLR, OptimWrapperDict
from mmengine.optim.scheduler import ConstantParamScheduler, LinearParamScheduler
from mmengine.runner import IterBasedTrainLoop

from damamba.engine.config_checks import ConfigError
from damamba.types import is_of, listed

STUDY = 'DAMAMBA_STUDY'  # is set for the trials of a study
SHARE = 1 / 24  # of all iterations: 50 of the demo's 1,200


class WarmUp(LinearLR):
    """Let the learning rate rise linearly over the first iterations: ``most`` of them, or a share of a short training.

    A recipe of 90,000 iterations warms up for 500. On 500 pictures for 12 epochs that would be the whole training.

    Args:
        optimizer: whose rate it is.
        end: iterations of the training, which MMEngine fills in.
        most: of the warm-up; the factor of the rate is start_factor + (1 - start_factor) t / n at iteration t of n.
        share: of all iterations, which it takes at most, but one at least; none where there is one iteration in all.
        kwargs: those of MMEngine's ``LinearLR``.
    """

    def __init__(self, optimizer, *args, end: int, most: int = 500, share: float = SHARE, **kwargs) -> None:
        if most < 1 or not 0 < share <= 1:
            raise ValueError(f'WarmUp takes most from 1 on and share above 0 and up to 1, got {most!r} and {share!r}')
        if kwargs.get('by_epoch', True) or kwargs.get('begin'):
            raise ValueError('WarmUp counts iterations, from the first one on: by_epoch=False, and no begin')
        if end <= 1:
            kwargs.update(start_factor=1)
        length = min(most, max(math.ceil(share * end), 1))
        kwargs.update(begin=0, end=length + 1, by_epoch=False)  # MMEngine divides by end - begin - 1
        super().__init__(optimizer, *args, **kwargs)


def refuse_end_of_warm_up(cfg: Config) -> None:
    """Refuse a WarmUp that says where it begins or ends, which follows from the length of the training.

    Raises:
        ConfigError: one does.
    """
    for scheduler in listed(cfg.get('param_scheduler')):
        if is_of(scheduler, PARAM_SCHEDULERS, WarmUp) and {'begin', 'end'} & scheduler.keys():
            raise ConfigError(
                'WarmUp begins at 0 and ends by itself: say most, in iterations, or share, not begin or end'
            )


def warm_up_of(runner) -> int:
    """Iterations until the rate is the configured one, by the slowest rise from the first one on; 0 without one."""
    schedulers = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        schedulers = [scheduler for several in schedulers.values() for scheduler in several]
    rises = [it for it in schedulers if it.param_name == 'lr' and _rises(it)]
    lengths = [it.end - it.begin - 1 for it in rises if not it.begin and not it.by_epoch]
    epochs = [(it.end - it.begin - 1) * len(runner.train_dataloader) for it in rises if not it.begin and it.by_epoch]
    return max([0, *lengths, *epochs])


def _rises(scheduler) -> bool:
    if isinstance(scheduler, LinearParamScheduler):
        return scheduler.start_factor < scheduler.end_factor
    if isinstance(scheduler, ConstantParamScheduler):
        return scheduler.factor < 1
    return isinstance(scheduler, QuadraticWarmupParamScheduler)


class StartHook(Hook):
    """Say at the start what a training is, and warn of what its recipe does not fit.

    Raises:
        ConfigError: it is a trial of a study, and lies in its warm-up as a whole.
    """

    def before_train(self, runner) -> None:
        loader, loop, accumulated = runner.train_dataloader, runner.train_loop, _accumulated(runner.optim_wrapper)
        each = getattr(loader.batch_sampler, 'batch_size', None) or loader.batch_size or 1
        total, warm_up = each * runner.world_size * accumulated, warm_up_of(runner)
        batch = f'{runner.world_size} x {each} pictures' + (f' x {accumulated} steps' if accumulated > 1 else '')
        rates = sorted({f'{rate:g}' for rate in _initial_rates(runner.optim_wrapper)}, key=float)
        has_epochs = not isinstance(loop, IterBasedTrainLoop)  # which calls all of its iterations one epoch
        length = f'{loop.max_iters:,} iterations' + (f' ({loop.max_epochs} epochs)' if has_epochs else '')
        data = (
            f'{len(loader.dataset):,} pictures of {getattr(loader.dataset, "ann_file", type(loader.dataset).__name__)}'
        )
        runner.logger.info(
            'Training: total batch %d (%s), learning rate %s, %s, warm-up %d, %s',
            total, batch, ' to '.join(dict.fromkeys((rates[-1], rates[0])[::-1])), length, warm_up, data,
        )  # fmt: skip
        self._warn(runner, total, total // accumulated, warm_up)

    def _warn(self, runner, total: int, known: int, warm_up: int) -> None:
        recipe = (runner.cfg.get('auto_scale_lr') or {}).get('base_batch_size')
        scaled = (runner.cfg.get('auto_scale_lr') or {}).get('enable')
        if recipe and recipe != total and not scaled:
            runner.logger.warning(
                'The recipe is for a total batch of %d, and this one is %d: --auto-scale-lr scales the learning rate',
                recipe, total,
            )  # fmt: skip
        if scaled and known != total:
            runner.logger.warning(
                'auto_scale_lr knows no accumulated steps: the learning rate is for a total batch of %d, and this one '
                'is %d. Set optim_wrapper.optimizer.lr in its place',
                known, total,
            )  # fmt: skip
        if warm_up and warm_up >= runner.train_loop.max_iters:
            text = (
                f'The whole training of {runner.train_loop.max_iters} iterations lies in its warm-up of {warm_up}: the '
                "configured rate is never reached. dict(type='WarmUp', by_epoch=False) in param_scheduler fits it to "
                'the length of the training'
            )
            if os.environ.get(STUDY):  # which would search for rates that nothing is trained with
                raise ConfigError(text)
            runner.logger.warning(text)


def _accumulated(optim_wrapper) -> int:
    wrappers = optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    return max(getattr(wrapper, '_accumulative_counts', 1) for wrapper in wrappers)


def _initial_rates(optim_wrapper) -> list[float]:
    wrappers = optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    return [group.get('initial_lr', group['lr']) for wrapper in wrappers for group in wrapper.optimizer.param_groups]
