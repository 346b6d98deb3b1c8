"""MMEngine's runner with a model of two layers, for tests of what goes on around a training."""

import itertools

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from damamba.engine.saving import DurableCheckpointHook

SAMPLES = 4  # of an epoch, one an iteration
_numbers = itertools.count()


class TinyModel(BaseModel):
    """One linear layer, and a normalisation with statistics."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.layer = nn.Linear(4, width)

    def forward(self, inputs, mode='tensor'):
        out = self.layer(self.norm(torch.stack(list(inputs))))
        return {'loss': (out - 1).square().mean()} if mode == 'loss' else list(out)


class Scores(BaseMetric):
    """A metric that gives what it is told to, one after the other."""

    def __init__(self, scores):
        super().__init__()
        self.scores = iter(scores)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        score = next(self.scores)
        return {'score': score, 'loss': -score}


def samples():
    values = torch.randn(SAMPLES, 2, 4, generator=torch.Generator().manual_seed(0))
    return [{'inputs': value} for value in values.flatten(0, 1)]


def loader(sampler='DefaultSampler'):
    return dict(dataset=samples(), batch_size=2, sampler=dict(type=sampler, shuffle=False), num_workers=0)


def tiny_runner(work_dir, hook=DurableCheckpointHook, epochs=3, scores=None, model=None, hooks=(), **settings):
    """A runner with a checkpoint hook: its class, and its options in ``checkpoint``."""
    torch.manual_seed(0)
    checkpoint = dict(type=hook, **settings.pop('checkpoint', {}))
    validation = dict(val_dataloader=loader(), val_cfg=dict(), val_evaluator=dict(type=Scores, scores=scores))
    by_epoch = checkpoint.get('by_epoch', True)
    length = dict(by_epoch=True, max_epochs=epochs) if by_epoch else dict(by_epoch=False, max_iters=epochs * SAMPLES)
    return Runner(
        model=model or TinyModel(),
        work_dir=str(work_dir),
        train_dataloader=loader('DefaultSampler' if by_epoch else 'InfiniteSampler'),
        train_cfg={**length, 'val_interval': 1 if by_epoch else SAMPLES, **settings.pop('train_cfg', {})},
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=dict(type='StepLR', step_size=1),
        default_scope='mmengine',
        experiment_name=f'tiny_{next(_numbers)}',
        default_hooks=dict(checkpoint=checkpoint, logger=None),
        custom_hooks=list(hooks),
        log_level='WARNING',
        randomness=dict(seed=0),
        **(validation if scores else {}),
        **settings,
    )
