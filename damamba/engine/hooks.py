"""Hooks for MMEngine's runner."""

import torch
import torch.distributed as dist
from mmdet.engine.hooks import NumClassCheckHook
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from damamba.engine.config import ConfigError
from damamba.engine.loading import fuse_detector


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
