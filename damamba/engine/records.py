"""What a run leaves in its work folder: metrics.json of the last evaluation, run.json of each training and test."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import faster_coco_eval
import mmdet
import mmengine
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from torch import nn
from torch.utils.data import DataLoader

import damamba
from damamba.engine.command import command_line
from damamba.engine.hooks import bare
from damamba.engine.launch import processes_of
from damamba.engine.speed import TestSpeedHook, device_name
from damamba.evaluation.labels import datasets_of
from damamba.evaluation.predictions import read_truth

PACKAGES = (damamba, torch, mmengine, mmdet, faster_coco_eval)
SPLITS = ('train', 'val', 'test')
BLOCK = 2**20  # bytes that are read at a time


class MetricsFileHook(Hook):
    """Write what the last evaluation measured, unrounded, to ``metrics.json`` in the work folder.

    Args:
        speed: the hook that has measured a test's speed by then; it goes there too.
    """

    parameters: int | None = None

    def __init__(self, speed: TestSpeedHook | None = None) -> None:
        self.speed = speed

    def before_run(self, runner) -> None:
        self.parameters = count_parameters(runner.model)  # here, since a test may fuse some away

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        origin = dict(split='val', epoch=runner.epoch, iteration=runner.iter)
        self._write(runner, origin, metrics, runner.val_loop)

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        origin = dict(split='test', checkpoint=runner._load_from, proof=getattr(runner, 'proof', None))
        speed = self.speed.speed if self.speed else None
        measured = {'speed': speed.to_dict()} if speed else {}
        self._write(runner, origin, metrics, runner.test_loop, **measured)

    @master_only
    def _write(self, runner, origin: dict, metrics: dict | None, loop, **measured: dict) -> None:
        if not metrics:
            return  # predictions were written, nothing was measured
        evaluations = {
            metric.prefix: metric.evaluation.to_dict()
            for metric in loop.evaluator.metrics
            if getattr(metric, 'evaluation', None)
        }
        content = dict(
            **origin,
            command=command_line(),
            processes=get_world_size(),
            parameters=self.parameters,
            config=runner.cfg.filename,
            ann_file=annotations(runner.cfg, origin['split']),
            dataset=dataset_of(runner.cfg, origin['split'], loop),
            date=now(),
            versions=versions(),
            metrics=metrics,
            evaluations=evaluations,
            **measured,
        )
        write_json(Path(runner.work_dir) / 'metrics.json', content)


class RunFileHook(Hook):
    """Write how a training or a test is run to ``run.json`` beside its log: when it begins, and again when it ends.

    One that was interrupted has ``null`` for ``finished`` and ``seconds``.
    """

    parameters: int | None = None

    def before_run(self, runner) -> None:
        self.parameters = count_parameters(runner.model)

    def before_train(self, runner) -> None:
        self._begin(runner, 'train', runner.train_loop.dataloader)

    def before_test(self, runner) -> None:
        self._begin(runner, 'test', runner.test_loop.dataloader)

    def after_train(self, runner) -> None:
        self._end(runner)

    def after_test(self, runner) -> None:
        self._end(runner)

    @master_only
    def _begin(self, runner, mode: str, loader: DataLoader) -> None:
        self._start = time.monotonic()
        device = next((parameter.device for parameter in runner.model.parameters()), torch.device('cpu'))
        self._content = dict(
            mode=mode,
            command=command_line(),
            processes=get_world_size(),
            started=now(),
            finished=None,
            seconds=None,
            config=runner.cfg.filename,
            versions=versions(),
            device=device_name(device),
            parameters=self.parameters,
            batch_size=getattr(getattr(loader, 'batch_sampler', None), 'batch_size', None),
            seed=runner.seed,
        )
        self._write(runner)

    @master_only
    def _end(self, runner) -> None:
        self._content.update(finished=now(), seconds=round(time.monotonic() - self._start, 3))
        self._write(runner)

    def _write(self, runner) -> None:
        """A run does not end because of this file: its weights or its figures are what it is for."""
        try:
            write_json(Path(runner.log_dir) / 'run.json', self._content)
        except OSError as error:
            runner.logger.warning('run.json was not written: %s', error)


def write_failed_proof(cfg: Config, proof: dict) -> None:
    """Write metrics.json of a test that does not begin since its proof failed, so that no older figures stand there.

    The settings of the config have to be spread (:func:`damamba.engine.settings.spread`).
    """
    dataset = next(datasets_of(cfg.test_dataloader.dataset))
    classes = DATASETS.get(dataset['type'])._load_metainfo(dataset.get('metainfo', {})).get('classes')
    ann_file = proof['ann_file']
    content = dict(
        split='test',
        checkpoint=cfg.load_from,
        proof=proof,
        command=command_line(),
        processes=processes_of(cfg.launcher),
        parameters=None,  # nothing was built
        config=cfg.filename,
        ann_file=ann_file,
        dataset=describe(ann_file, classes, read_truth(Path(ann_file)).get('info')),
        date=now(),
        versions=versions(),
        metrics={},
        evaluations={},
    )
    Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    write_json(Path(cfg.work_dir) / 'metrics.json', content)


def write_json(path: Path, content: dict, indent: int | None = 2) -> None:
    """Write a file that nobody who reads it ever sees half of; numbers of NumPy and torch become plain ones."""
    beside = path.with_name(f'{path.name}.tmp')
    beside.write_text(json.dumps(content, indent=indent, default=lambda value: value.item()), encoding='utf-8')
    os.replace(beside, path)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def versions() -> dict[str, str]:
    """Of the packages that figures depend on."""
    return {package.__name__: package.__version__ for package in PACKAGES}


def count_parameters(model: nn.Module) -> int:
    """All of them, trained or not."""
    return sum(parameter.numel() for parameter in bare(model).parameters())


# The data set.


def annotations(cfg: Config, split: str) -> str | None:
    """The annotation file of the first evaluator that has one, as its config says."""
    evaluators = getattr(cfg, f'{split}_evaluator', None)
    several = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    files = (evaluator.get('ann_file') for evaluator in several if isinstance(evaluator, dict))
    return next((file for file in files if file), None)


def dataset_of(cfg: Config, split: str, loop) -> dict:
    """What a loop evaluates on: see :func:`describe`. Without annotations of its evaluator, those of its data set."""
    evaluator, own = loop.evaluator, annotations(cfg, split)
    classes = (getattr(evaluator, 'dataset_meta', None) or {}).get('classes')
    truths = (getattr(metric, '_coco_api', None) for metric in evaluator.metrics)
    truth = next((truth for truth in truths if truth is not None), None)
    info = truth.dataset.get('info') if truth is not None and own else None
    dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
    return describe(own or getattr(dataset, 'ann_file', None) or None, classes, info)


def describe(ann_file: str | None, classes: Sequence[str] | None, info: dict | None) -> dict:
    """A data set: its name, classes, what its file says of itself, and the file's SHA-256; null what is not known.

    Its name is that of its file, ``instances_val2017``, or of the folder if the file is called after a split.
    """
    path = Path(ann_file).absolute() if ann_file else None
    description = info.get('description') if isinstance(info, dict) else None
    return {
        'name': path and (path.parent.name if path.stem in SPLITS else path.stem),
        'classes': list(classes) if classes else None,
        'description': description if isinstance(description, str) else None,
        'sha256': path and sha256_of(path),
    }


def sha256_of(path: Path) -> str | None:
    """Of a file, in hexadecimal digits; None if it is not on this machine."""
    digest = hashlib.sha256()
    try:
        with path.open('rb') as file:
            for block in iter(partial(file.read, BLOCK), b''):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()
