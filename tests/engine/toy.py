"""A training that takes a moment: MMEngine's loops, hooks and optimizers around a model of a few numbers."""

import copy
import itertools
import logging
import random

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

import damamba.register  # noqa: F401
from damamba.engine.runner import DAMambaRunner

COUNT = 12
NUMBERS = itertools.count()  # MMEngine keeps one log for all runs of a name that begin in the same second


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    """Noise on the way in, so that a step draws random numbers; keeps its losses and what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)
        self.seen, self.losses = [], []

    def forward(self, inputs, index, mode='loss'):
        values = torch.stack(inputs)
        found = self.last(self.norm(self.first(F.dropout(values, 0.3, self.training))))
        if mode != 'loss':
            return [float(it) for it in found]
        loss = (found - values.sum(1, keepdim=True)).square().mean()
        self.seen.append([int(it) for it in index])
        self.losses.append(loss.item())
        return dict(loss=loss)


@DATASETS.register_module(force=True)
class ToyData(Dataset):
    """Each sample is its index and noise from all three sources."""

    metainfo = dict(classes=('toy',))

    def __init__(self, count: int = COUNT) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict:
        noise = [random.random(), np.random.rand(), torch.rand(1).item()]
        return dict(inputs=torch.tensor([index / self.count, *noise]), index=index)


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    """What it gives is the next of these scores."""

    default_prefix = 'toy'
    scores: list[float] = []

    def process(self, data_batch, data_samples) -> None:
        self.results.append(1)

    def compute_metrics(self, results) -> dict:
        return dict(acc=type(self).scores.pop(0) if self.scores else 0.5)


def config(work_dir, epochs: int | None = 3, **settings) -> Config:
    """Of so many epochs of 6 steps, with other settings merged in."""
    loader = dict(batch_size=2, num_workers=0, dataset=dict(type='ToyData'))
    val = dict(
        batch_size=4, num_workers=0, dataset=dict(type='ToyData'), sampler=dict(type='DefaultSampler', shuffle=False)
    )
    cfg = Config(
        dict(
            model=dict(type='ToyModel'),
            work_dir=str(work_dir),
            train_dataloader=dict(**loader, sampler=dict(type='DefaultSampler', shuffle=True)),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs),
            val_dataloader=val,
            val_cfg=dict(type='ValLoop'),
            val_evaluator=dict(type='ToyMetric'),
            optim_wrapper=dict(
                type='OptimWrapper',
                optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1),
                paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0.0)}),
            ),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
                dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
            ],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type='CheckpointHook', interval=1)
            ),
            default_scope='mmdet',
            randomness=dict(seed=1),
            log_level='WARNING',
            experiment_name=f'toy {next(NUMBERS)}',
        )
    )
    cfg.merge_from_dict(copy.deepcopy(settings))
    return cfg


class Stopped(Exception):
    """As a kill would end a training: without another word."""


def trained(work_dir, resume=None, epochs=3, stop_after=None, **settings) -> DAMambaRunner:
    """Train, or go on from a path, or from the newest checkpoint of the folder (True).

    Args:
        stop_after: steps after which it is saved and ends, as if killed.
        settings: dotted with __, such as ``optim_wrapper__optimizer__lr``.

    Returns:
        The runner when it has ended, with what it ``said`` as warnings, and the ``rates`` of each step.
    """
    cfg = config(work_dir, epochs, **{key.replace('__', '.'): value for key, value in settings.items()})
    cfg.resume, cfg.load_from = ('auto', None) if resume is True else (bool(resume), resume and str(resume))
    runner = DAMambaRunner.from_cfg(cfg)
    runner.said, runner.rates = [], []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: runner.said.append(record.getMessage())
    runner.logger.addHandler(handler)
    call_hook = runner.call_hook

    def call(name, **given):
        if name == 'before_train_iter':
            runner.rates.append([group['lr'] for group in runner.optim_wrapper.param_groups])
        call_hook(name, **given)
        if name == 'after_train_iter' and runner.iter + 1 == stop_after:
            save(runner)
            raise Stopped

    runner.call_hook = call
    try:
        runner.train()
    except Stopped:
        pass
    finally:
        runner.logger.removeHandler(handler)
    return runner


def save(runner) -> None:
    """The step that has just been made, as an interrupted training saves it."""
    hook = next((it for it in runner.hooks if hasattr(it, 'save_now')), None)
    if hook:
        hook.save_now(runner)
        return
    meta = dict(epoch=runner.epoch, iter=runner.iter + 1)
    runner.save_checkpoint(runner.work_dir, f'iter_{meta["iter"]}.pth', meta=meta)
