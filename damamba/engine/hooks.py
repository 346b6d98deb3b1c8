"""Hooks for MMEngine's runner."""

import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import faster_coco_eval
import mmdet
import mmengine
import torch
import torch.distributed as dist
from mmdet.engine.hooks import NumClassCheckHook
from mmengine.dist import master_only
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import damamba
from damamba.engine.config import ConfigError
from damamba.engine.loading import fuse_detector
from damamba.engine.speed import TestSpeedHook

PACKAGES = (damamba, torch, mmengine, mmdet, faster_coco_eval)


def bare(model: nn.Module) -> nn.Module:
    """The model itself, out of its DistributedDataParallel."""
    return model.module if is_model_wrapper(model) else model


class SyncStatisticsHook(Hook):
    """Average the running statistics of plain batch normalisation over the processes after every step.

    They are not synchronised otherwise (``broadcast_buffers=False``), and each process would evaluate, and the first
    one save, its own. One reduction of a few ten thousand numbers; SyncBN needs none.
    """

    priority = 'HIGH'  # before checkpoints are saved

    def before_train(self, runner) -> None:
        norms = [m for m in bare(runner.model).modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        plain = [norm for norm in norms if not isinstance(norm, nn.SyncBatchNorm)]
        self.statistics = [buffer for norm in plain for buffer in (norm.running_mean, norm.running_var)]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.world_size == 1 or not self.statistics:
            return
        mean = torch.cat([buffer.flatten() for buffer in self.statistics])
        dist.all_reduce(mean)
        parts = (mean / runner.world_size).split([buffer.numel() for buffer in self.statistics])
        for buffer, part in zip(self.statistics, parts, strict=True):
            buffer.copy_(part.view_as(buffer))


class CheckClassesHook(NumClassCheckHook):
    """Hold ``num_classes`` of every head against the classes of the data, before an epoch is spent.

    Raises:
        ConfigError: they differ, or the classes are a text where a tuple is wanted.
    """

    def _check_head(self, runner, mode: str) -> None:
        try:
            super()._check_head(runner, mode)
        except AssertionError as error:
            raise ConfigError(' '.join(str(error).split())) from error


class FuseConvBNHook(Hook):
    """Fold batch normalisation into the convolutions beside it, once the weights to be tested are loaded."""

    def before_test(self, runner) -> None:
        fuse_detector(bare(runner.model))


class MetricsFileHook(Hook):
    """Write what the last evaluation measured, unrounded, to ``metrics.json`` in the work folder.

    Args:
        speed: the hook that has measured a test's speed by then; it goes there too.
    """

    def __init__(self, speed: TestSpeedHook | None = None) -> None:
        self.speed = speed

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        origin = dict(split='val', epoch=runner.epoch, iteration=runner.iter)
        self._write(runner, origin, metrics, runner.val_loop.evaluator)

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        origin = dict(split='test', checkpoint=runner._load_from, proof=getattr(runner, 'proof', None))
        speed = self.speed.speed if self.speed else None
        measured = {'speed': speed.to_dict()} if speed else {}
        self._write(runner, origin, metrics, runner.test_loop.evaluator, **measured)

    @master_only
    def _write(self, runner, origin: dict, metrics: dict | None, evaluator: Evaluator, **measured: dict) -> None:
        if not metrics:
            return  # predictions were written, nothing was measured
        evaluations = {
            metric.prefix: metric.evaluation.to_dict()
            for metric in evaluator.metrics
            if getattr(metric, 'evaluation', None)
        }
        content = dict(
            **origin,
            config=runner.cfg.filename,
            ann_file=_annotations(getattr(runner.cfg, f'{origin["split"]}_evaluator', None)),
            date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
            versions={package.__name__: package.__version__ for package in PACKAGES},
            metrics=metrics,
            evaluations=evaluations,
            **measured,
        )
        path = Path(runner.work_dir) / 'metrics.json'
        beside = path.with_suffix('.json.tmp')  # whoever reads metrics.json never sees half of it
        beside.write_text(json.dumps(content, indent=2, default=lambda value: value.item()), encoding='utf-8')
        os.replace(beside, path)


def _annotations(evaluators: dict | Sequence[dict] | None) -> str | None:
    """The annotation file of the first evaluator that has one, as its config says."""
    several = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    files = (evaluator.get('ann_file') for evaluator in several if isinstance(evaluator, dict))
    return next((file for file in files if file), None)
