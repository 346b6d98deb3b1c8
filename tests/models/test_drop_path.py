"""Stochastic depth: whole samples become 0, the others are divided by how often they are kept."""

import pytest
import torch

from damamba.models.drop_path import DropPath

RATE = 0.4


def test_samples_are_dropped_whole_at_the_rate_and_the_others_scaled():
    path, x = DropPath(RATE).train(), torch.ones(5000, 2, 3, 1)
    y = path(x).flatten(1)
    kept = y[:, 0] > 0
    assert abs(kept.float().mean() - (1 - RATE)) < 0.03
    assert torch.equal(y[kept], torch.full_like(y[kept], 1 / (1 - RATE))) and not y[~kept].any()


@pytest.mark.parametrize(('rate', 'training'), [(0.0, True), (RATE, False)])
def test_without_a_rate_and_in_evaluation_nothing_is_drawn(rate, training):
    path, x, before = DropPath(rate).train(training), torch.randn(2, 4, 3, 3), torch.get_rng_state()
    assert path(x) is x and not path.drops()
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_rounded_once(dtype):
    torch.manual_seed(0)
    x = torch.linspace(1, 2, 64).to(dtype).view(1, 64, 1, 1)
    y = DropPath(0.3).train()(x.expand(8, -1, -1, -1))
    assert y.dtype == dtype
    kept = y[y[:, 0, 0, 0] > 0]
    assert len(kept) and torch.equal(kept[0], (x[0].double() / 0.7).to(dtype))
