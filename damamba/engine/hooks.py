"""Hooks for MMEngine's runner."""

import os
from collections.abc import Sequence

import mmcv
import torch
import torch.distributed as dist
from mmdet.datasets import CocoDataset
from mmdet.engine.hooks import DetVisualizationHook, NumClassCheckHook
from mmdet.evaluation import MultiDatasetsEvaluator
from mmdet.structures import DetDataSample
from mmengine import fileio
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from damamba.datasets.left_out import CROWD, EMPTY, OBJECTS, PICTURES, describe_left_out, find_left_out
from damamba.engine.config_checks import ConfigError, nearest
from damamba.engine.loading import fuse_detector
from damamba.evaluation.annotations import load
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.evaluation.tested import has_objects, locate


def bare(model: nn.Module) -> nn.Module:
    """The model itself, out of its DistributedDataParallel, and of what tests it with augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


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


class GroundTruthHook(Hook):
    """Give the evaluators the data set that is tested, for its ground truth; before a training, that it validates on.

    It also says what MMDetection leaves out of what is trained or tested on.

    Raises:
        EvaluationError: the evaluation can't end well.
        ConfigError: there is nothing to learn.
    """

    def before_train(self, runner) -> None:
        self._look_at_training(runner)
        if runner.val_loop is not None:
            self.before_val(runner)
            _refuse_unmeasured_best(runner)

    def before_val(self, runner) -> None:
        self._give(runner, runner.val_loop)

    def before_test(self, runner) -> None:
        self._give(runner, runner.test_loop)

    def _give(self, runner, loop: BaseLoop) -> None:
        dataset, metrics = loop.dataloader.dataset, loop.evaluator.metrics
        has_parts = isinstance(loop.evaluator, MultiDatasetsEvaluator)  # of which each metric gets its own
        for metric, tested in zip(metrics, dataset.datasets if has_parts else [dataset] * len(metrics), strict=True):
            if isinstance(metric, CocoInstanceMetric) and metric.tested is None:
                metric.use(tested)
                if metric.tested:
                    _refuse_dropped_batch(loop.dataloader)
                    objects, _ = find_left_out(metric.tested.document, metric.present, None)
                    objects = [None if it == CROWD else it for it in objects]  # COCO's evaluation leaves them out too
                    self._say(runner, metric.tested.files, OBJECTS, objects, 'the evaluation counts them')

    def _look_at_training(self, runner) -> None:
        dataset = runner.train_dataloader.dataset
        leaves = {id(leaf): leaf for leaf, _ in (locate(dataset, place) for place in range(len(dataset)))}
        leaves = [leaf for leaf in leaves.values() if has_objects(leaf)]
        if not leaves or runner.rank:
            return
        files, found = list(dict.fromkeys(leaf.ann_file for leaf in leaves)), []
        for leaf in leaves:
            found.append(getattr(leaf, 'left_out', None) or _left_out_of(leaf))
            leaf.left_out = None  # workers need no copy
        objects, pictures = ([reason for part in parts for reason in part] for parts in zip(*found, strict=True))
        if all(objects):
            raise ConfigError(f'{" and ".join(files)}: there is nothing to learn: {describe_left_out(objects)}')
        for what, reasons in ((OBJECTS, objects), (PICTURES, pictures)):
            self._say(runner, files, what, reasons, 'MMDetection leaves them out')

    def _say(self, runner, files: Sequence[str], what: str, reasons: Sequence[str | None], then: str) -> None:
        if any(reasons):
            level = runner.logger.info if {*reasons} <= {None, CROWD, EMPTY} else runner.logger.warning
            level('%s: %s; %s', ' and '.join(files), describe_left_out(reasons, what), then)


def _refuse_dropped_batch(loader: DataLoader) -> None:
    """Pictures that are not tested have no figures: MMEngine would say so after an epoch."""
    size, count = getattr(loader.batch_sampler, 'batch_size', 1), len(loader.sampler)
    if getattr(loader.batch_sampler, 'drop_last', False) and count % size:
        raise ConfigError(f'drop_last leaves {count % size} of {count} pictures untested: drop_last=False')


def _refuse_unmeasured_best(runner) -> None:
    """A best checkpoint by a figure that the validation does not have: MMEngine would stop after the first epoch."""
    metrics = runner.val_loop.evaluator.metrics
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and hook.save_best]
    if isinstance(runner.val_loop.evaluator, MultiDatasetsEvaluator) or not all(
        isinstance(metric, CocoInstanceMetric) and metric.tested for metric in metrics
    ):
        return  # whose names are not known
    names = [f'{metric.prefix}/{name}' for metric in metrics for name in metric.names()]
    for key in [key for hook in hooks for key in hook.key_indicators if key not in ('auto', *names)]:
        near = nearest(key, names)
        raise ConfigError(f'save_best: the validation does not measure {key}{f"; is {near} meant?" if near else ""}')


def _left_out_of(dataset: CocoDataset) -> tuple[list, list]:
    """What MMDetection leaves out of a data set, from its file, since the data set has forgotten it."""
    document, filter_cfg = (
        load(dataset.ann_file, dataset.backend_args),
        None if dataset.test_mode else dataset.filter_cfg,
    )
    return find_left_out(document, dataset.cat_ids, filter_cfg)


class DrawingHook(DetVisualizationHook):
    """MMDetection's, but pictures keep the folders that tell them apart: two of one name do not replace each other."""

    def before_test_epoch(self, runner) -> None:
        dataset = runner.test_loop.dataloader.dataset
        found = (locate(dataset, place) for place in range(len(dataset) if self.draw and self.test_out_dir else 0))
        folders = {os.path.dirname(leaf.get_data_info(place)['img_path']) for leaf, place in found}
        self.root = os.path.commonpath(map(os.path.abspath, folders)) if folders else ''
        self.folder = os.path.join(runner.work_dir, runner.timestamp, self.test_out_dir or '')

    def after_test_iter(self, runner, batch_idx: int, data_batch: dict, outputs: Sequence[DetDataSample]) -> None:
        unread = runner.sound_data.unread if hasattr(runner, 'sound_data') else ()
        for sample in outputs if self.draw else ():
            self._test_index += 1
            if sample.img_path in unread:
                continue
            name = os.path.relpath(os.path.abspath(sample.img_path), self.root) if self.root else sample.img_path
            self._visualizer.add_datasample(
                os.path.basename(name) if self.show else 'test_img',
                mmcv.imfrombytes(fileio.get(sample.img_path, backend_args=self.backend_args), channel_order='rgb'),
                data_sample=sample,
                show=self.show,
                wait_time=self.wait_time,
                pred_score_thr=self.score_thr,
                out_file=os.path.join(self.folder, name) if self.test_out_dir else None,
                step=self._test_index,
            )


class FuseConvBNHook(Hook):
    """Fold batch normalisation into the convolutions beside it, once the weights to be tested are loaded."""

    def before_test(self, runner) -> None:
        fuse_detector(bare(runner.model))
