"""Steps whose numbers are not finite."""

import copy
import logging
import math
from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

from damamba.engine.amp import Bfloat16OptimWrapper
from damamba.engine.config_checks import ConfigError
from damamba.engine.finite import NotFiniteError, SkipNonFiniteHook

STEPS = 12


class Scale(nn.Module):
    def forward(self, inputs, factor):
        return inputs * factor


class Model(BaseModel):
    """A convolution, normalisation, and what can be spoilt: a map, or a gradient while the loss is finite."""

    def __init__(self):
        super().__init__(BaseDataPreprocessor())
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.scale = Scale()
        self.norm = nn.BatchNorm2d(4)
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, inputs, data_samples=None, mode='loss'):
        scaled = self.scale(self.conv(inputs), math.nan if inputs[0, 0, 0, 0] == 8 else 1)
        value = self.out(self.norm(scaled)).square().mean()
        if inputs[0, 0, 0, 0] == 7:  # the gradient of a square root at zero is infinite
            value = value + (self.out.bias - self.out.bias.detach()).abs().sum().sqrt()
        return {'loss_a': value, 'loss_b': value * 0}


def batch(step: int, harm: str | None = None) -> dict:
    inputs = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
    if harm == 'loss':
        inputs[0, 0, 0, 0] = 8
    if harm == 'gradient':
        inputs[0, 0, 0, 0] = 7
    samples = [DetDataSample(metainfo={'img_path': f'/data/{step}_{place}.jpg'}) for place in range(2)]
    return {'inputs': inputs, 'data_samples': samples}


def train(batches: list[dict], hook: SkipNonFiniteHook, wrapper=OptimWrapper, accumulate: int = 1) -> SimpleNamespace:
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    wrapped = wrapper(optimizer, accumulative_counts=accumulate, clip_grad=dict(max_norm=1.0))
    runner = SimpleNamespace(model=model, optim_wrapper=wrapped, iter=0, rank=0, logger=logging.getLogger('finite'))
    hook.before_train(runner)
    for data in batches:
        hook.before_train_iter(runner, runner.iter, data_batch=data)
        outputs = model.train_step(data, wrapped)
        hook.after_train_iter(runner, runner.iter, data_batch=data, outputs=outputs)
        runner.iter += 1
    return runner


def everything(runner) -> list[torch.Tensor]:
    state = runner.optim_wrapper.optimizer.state_dict()['state']
    return [*runner.model.state_dict().values(), *(value for part in state.values() for value in part.values())]


@pytest.mark.parametrize('wrapper', [OptimWrapper, Bfloat16OptimWrapper])
@pytest.mark.parametrize('harm', ['loss', 'gradient'])
def test_a_step_that_is_not_finite_is_as_if_it_had_not_been(harm, wrapper, caplog):
    hook = SkipNonFiniteHook()
    disturbed = train([batch(step, harm if step in (3, 4, 8) else None) for step in range(STEPS)], hook, wrapper)
    undisturbed = train([batch(step) for step in range(STEPS) if step not in (3, 4, 8)], SkipNonFiniteHook(), wrapper)
    for ours, theirs in zip(everything(disturbed), everything(undisturbed), strict=True):
        assert torch.equal(ours, theirs)
    assert hook.skipped == 3 and hook.in_a_row == 0
    first = caplog.messages[0]
    assert 'iteration 4' in first and '/data/3_0.jpg, /data/3_1.jpg' in first
    assert ('loss_a' in first) == (harm == 'loss') and ('a gradient' in first) == (harm == 'gradient')


def test_one_bad_loss_of_an_accumulated_update_leaves_the_whole_update_out():
    hook = SkipNonFiniteHook()
    disturbed = train([batch(step, 'loss' if step == 2 else None) for step in range(6)], hook, accumulate=2)
    undisturbed = train([batch(step) for step in (0, 1, 4, 5)], SkipNonFiniteHook(), accumulate=2)
    ours, theirs = disturbed.model.state_dict(), undisturbed.model.state_dict()
    for name in ('conv.weight', 'norm.weight', 'out.bias'):
        assert torch.equal(ours[name], theirs[name])
    assert all(value.isfinite().all() for value in everything(disturbed)) and hook.skipped == 1
    with pytest.raises(NotFiniteError) as error:
        train([batch(0), batch(1, 'loss'), batch(2), batch(3)], SkipNonFiniteHook(limit=1), accumulate=4)
    text = str(error.value)
    assert 'not finite: loss, loss_a' in text and '/data/1_0.jpg, /data/1_1.jpg)' in text and 'scale (Scale)' in text


def test_many_in_a_row_end_the_training_and_name_where_it_began():
    hook, good = SkipNonFiniteHook(limit=3), [batch(step) for step in range(2)]
    with pytest.raises(NotFiniteError) as error:
        train([*good, batch(2, 'loss'), batch(3, 'loss'), batch(4, 'loss')], hook)
    text = str(error.value)
    assert 'iteration 5' in text and '3 steps in a row' in text and '/data/4_0.jpg' in text
    assert 'not finite: scale (Scale)' in text
    with pytest.raises(NotFiniteError, match='the gradients alone'):
        train([batch(0, 'gradient')], SkipNonFiniteHook(limit=1))


def test_few_that_are_not_in_a_row_do_not_end_it():
    hook = SkipNonFiniteHook(limit=2)
    train([batch(step, 'loss' if step % 2 else None) for step in range(STEPS)], hook)
    assert hook.skipped == STEPS // 2


def test_no_step_is_left_out_before_the_first():
    for limit in (0, 'ten', 1.5):
        with pytest.raises(ConfigError, match='max_skipped_steps='):
            SkipNonFiniteHook(limit)


class Scaled(OptimWrapper):
    """As MMEngine trains in float16, with torch's own scaler, which its class allows on GPUs alone."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=8.0)

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update()


def test_gradients_that_overflow_are_left_to_a_scaler_while_it_has_a_smaller_scale(caplog):
    hook = SkipNonFiniteHook(limit=1)
    runner = train([batch(step, 'gradient' if step in (1, 2, 3) else None) for step in range(6)], hook, Scaled)
    assert hook.skipped == 3 and runner.optim_wrapper.loss_scaler.get_scale() == 1.0 and caplog.messages == []
    assert all(value.isfinite().all() for value in everything(runner))


def test_with_a_scaler_too_many_in_a_row_end_the_training():
    hook = SkipNonFiniteHook(limit=3)
    with pytest.raises(NotFiniteError, match='iteration 7: not finite: a gradient .*; 3 steps in a row'):
        train([batch(0), *(batch(step, 'gradient') for step in range(1, 20))], hook, Scaled)
    assert hook.skipped == 6  # the scale has fallen to 1 by then
    hook = SkipNonFiniteHook(limit=2)
    with pytest.raises(NotFiniteError, match='iteration 3: not finite: loss'):
        train([batch(0), batch(1, 'loss'), batch(2, 'loss')], hook, Scaled)


def test_the_batch_is_not_needed_to_say_something():
    data = copy.deepcopy(batch(0, 'loss'))
    del data['data_samples']
    with pytest.raises(NotFiniteError, match='images: not known'):
        train([data], SkipNonFiniteHook(limit=1))
