"""Stochastic depth leaves samples out of the computation: values and gradients are those of multiplying them by 0."""

import pytest
import torch

from damamba.models import DAMamba
from damamba.models.backbone import Block
from damamba.models.drop_path import DropPath

RATE = 0.4


@pytest.fixture
def block():
    return Block(16, 2, RATE, True, dict(type='BN')).double().train()


def draws(monkeypatch, *kept):
    """Let the next draws give these samples."""
    left = [samples if samples is None else torch.tensor(samples, dtype=torch.long) for samples in kept]
    monkeypatch.setattr(DropPath, 'draw', lambda self, batch: left.pop(0))


def as_usual(block, x, *kept):
    """The block with both branches computed for all samples, and multiplied by 0 or 1 / (1 - RATE)."""
    masks = torch.zeros(2, len(x), 1, 1, 1, dtype=x.dtype)
    for mask, samples in zip(masks, kept, strict=True):
        mask[slice(None) if samples is None else samples] = 1 / (1 - RATE)
    x = block.pos_embed(x)
    x = x + masks[0] * block.layer_scale_1.view(-1, 1, 1) * block.token_mixer(block.norm1(x))
    return x + masks[1] * block.layer_scale_2.view(-1, 1, 1) * block.mlp(block.norm2(x))


@pytest.mark.parametrize('kept', [([0, 2], [1]), (None, [0, 1]), ([2], None), ([], [2]), ([1], []), ([], [])], ids=str)
def test_it_is_as_if_every_branch_were_computed(block, kept, monkeypatch, close):
    x = torch.randn(3, 16, 6, 5, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    inputs = [x, *(p for p in block.parameters() if p.requires_grad)]
    torch.nn.init.normal_(block.layer_scale_1)
    torch.nn.init.normal_(block.layer_scale_2)
    truth = as_usual(block, x, *kept)
    truths = truth, *torch.autograd.grad(truth, inputs, upstream, allow_unused=True, materialize_grads=True)
    statistics = block.norm2.running_mean.clone(), block.norm2.running_var.clone()
    block.norm2.reset_running_stats()

    draws(monkeypatch, *kept)
    y = block(x.to(memory_format=torch.channels_last))
    found = torch.autograd.grad(y, inputs, upstream)  # an error if one of them took no part
    for value, true in zip((y, *found), truths, strict=True):
        close(value, true)
    close(block.norm2.running_mean, statistics[0])
    close(block.norm2.running_var, statistics[1])


def test_what_is_dropped_is_not_computed(block, monkeypatch):
    seen = []
    for name in ('out_proj', 'conv2d'):
        getattr(block.token_mixer, name).register_forward_pre_hook(lambda m, args: seen.append(len(args[0])))
    block.mlp.fc1.register_forward_pre_hook(lambda m, args: seen.append(len(args[0])))
    draws(monkeypatch, [0, 4], [3])
    block(torch.randn(5, 16, 4, 4, dtype=torch.float64))
    assert seen and set(seen[:-1]) <= {2} and seen[-1] == 1


def test_samples_are_drawn_at_the_rate():
    path = DropPath(RATE).train()
    drawn = [path.draw(50) for _ in range(100)]
    kept = sum(50 if samples is None else len(samples) for samples in drawn)
    assert abs(kept / 5000 - (1 - RATE)) < 0.03


@pytest.mark.parametrize(('rate', 'training'), [(0.0, True), (RATE, False)])
def test_without_a_rate_and_in_evaluation_nothing_is_drawn(rate, training):
    path = DropPath(rate).train(training)
    x, branch = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    before = torch.get_rng_state()
    assert path.draw(2) is None and path.add(x, branch, None).equal(x + branch)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_branch_in_half_precision_is_added_in_that_of_the_sum(dtype):
    path = DropPath(0.5).train()
    x, branch = torch.ones(2, 4, 3, 3), torch.ones(1, 4, 3, 3, dtype=dtype)
    y = path.add(x, branch, torch.tensor([1]))
    assert y.dtype == torch.float32 and y[0].eq(1).all() and y[1].eq(3).all()


def test_recomputation_draws_the_same_again(close):
    picture, gradients = torch.randn(4, 3, 32, 32), []
    for with_cp in (False, True):
        torch.manual_seed(1)
        arch = dict(depths=[2, 2], dims=[16, 32], ffn_ratios=[2, 2], layer_scale=[False, False])
        model = DAMamba(arch, out_indices=(0, 1), with_cp=with_cp)
        for module in model.modules():
            if isinstance(module, DropPath):
                module.drop_prob = 0.5
        torch.manual_seed(2)
        sum(out.square().sum() for out in model(picture)).backward()
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    for plain, recomputed in zip(*gradients, strict=True):
        close(recomputed, plain)
