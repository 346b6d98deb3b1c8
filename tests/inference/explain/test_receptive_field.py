"""Effective receptive fields: by hand, by finite differences, and by what a scan without offsets can reach."""

import numpy as np
import pytest
import torch
from torch import nn

from damamba.inference.explain.receptive_field import area_of, receptive_fields
from damamba.models import DAMamba


class OneConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 5, 3, stride=2, padding=1)])

    def forward(self, x):
        return (self.stages[0](x),)


def test_the_field_of_a_convolution_is_its_kernel():
    model = OneConvolution()
    (field,) = receptive_fields(model, torch.randn(1, 3, 12, 16), [(2, 3)])
    truth = np.zeros((12, 16), np.float32)
    truth[3:6, 5:8] = model.stages[0].weight.detach().sum(0).abs().sum(0).numpy()  # around pixel 2 * (2, 3)
    np.testing.assert_allclose(field, truth, rtol=1e-5, atol=1e-7)


def test_a_field_is_what_finite_differences_give(backbone):
    backbone, x, cell = backbone.double(), torch.randn(1, 3, 32, 64, dtype=torch.float64), (1, 2)
    field = receptive_fields(backbone, x, [(0, 0), cell])[1]
    features = []
    backbone.stages[1].register_forward_hook(
        lambda _, __, out: features.append(out[0, :, cell[0], cell[1]].sum().item())
    )
    for row, column in ((8, 16), (3, 20), (0, 0)):
        truth, step = 0.0, 1e-5
        for colour in range(3):
            for sign in (1, -1):
                moved = x.clone()
                moved[0, colour, row, column] += sign * step
                with torch.no_grad():
                    backbone(moved)
            truth += abs(features[-2] - features[-1]) / (2 * step)
        assert field[row, column] == pytest.approx(truth, rel=1e-3, abs=1e-8)


def test_without_offsets_a_position_is_reached_by_those_before_it_in_the_scan_alone():
    model = DAMamba(dict(depths=[1], dims=[16], ffn_ratios=[2], layer_scale=[False]), out_indices=(0,)).eval()
    for name, parameter in model.named_parameters():
        if 'offset' in name:
            nn.init.zeros_(parameter)
        elif name.startswith('stages') and parameter.shape[-2:] == (3, 3) and 'constant' not in name:
            middle = parameter.data[..., 1:2, 1:2].clone()  # no neighbours
            parameter.data.zero_()[..., 1:2, 1:2] = middle
    row, column, reach = 8, 5, 9  # a cell of the stem sees 9 pixels to each side
    (field,) = receptive_fields(model, torch.randn(1, 3, 64, 64), [(row, column)])
    later = np.zeros((64, 64), bool)
    later[4 * row + reach + 1 :] = True
    later[4 * (row - 1) + reach + 1 :, 4 * column + reach + 1 :] = True
    assert not field[later].any()
    assert field[:4].any() and field[4 * (row - 1), -4:].any() and field[4 * row + reach].any()


@pytest.mark.parametrize('share, area', [(0.5, 0.25), (0.75, 0.5), (0.8, 0.75), (1, 1)])
def test_the_area_is_the_smallest_that_holds_the_share(share, area):
    assert area_of(np.array([[4.0, 1.0], [1.0, 2.0]]), share) == area


def test_nothing_has_no_area():
    assert area_of(np.zeros((2, 2)), 0.5) == 0
