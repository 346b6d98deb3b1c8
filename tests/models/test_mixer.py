"""The token mixer against the formulas of the paper, written anew here, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from damamba.models import mixer as module
from damamba.models.mixer import Mixer


def make(channels=32):
    """A mixer whose offsets reach a few pixels, also out of the map."""
    mixer = Mixer(channels).double()
    torch.nn.init.normal_(mixer.da_scan.offset.weight, std=0.3)
    torch.nn.init.normal_(mixer.da_scan.offset.bias, std=1.5)
    torch.nn.init.normal_(mixer.A_logs, std=0.3)
    torch.nn.init.normal_(mixer.out_norm.norm.bias)
    return mixer


def offsets(mixer, x):
    """o = Linear(GELU(LN(dw3x3(x)))), [B, H, W, 2G]."""
    dw, norm, head = mixer.da_scan.dw_conv[0], mixer.da_scan.dw_conv[1][1], mixer.da_scan.offset
    features = F.conv2d(x, dw.weight, dw.bias, padding=1, groups=x.shape[1]).permute(0, 2, 3, 1)
    mean, variance = features.mean(-1, keepdim=True), features.var(-1, keepdim=True, unbiased=False)
    features = (features - mean) / (variance + 1e-6).sqrt() * norm.weight + norm.bias
    return features * 0.5 * (1 + torch.erf(features / 2**0.5)) @ head.weight.T + head.bias


def sampled(z, offset):
    """Each group of 16 channels of z [B, C, H, W] at its offsets."""
    rows_first = offset.unflatten(3, (-1, 2)).flip(-1).flatten(3).permute(0, 3, 1, 2)
    channels = z.shape[1]
    return deform_conv2d(z, rows_first, torch.eye(channels, dtype=z.dtype).view(channels, channels, 1, 1))


def scanned(mixer, u):
    """The recurrence along u [B, L, C], step by step."""
    raw = u @ mixer.x_proj_weight.T
    dt = F.softplus(raw[..., :-2] @ mixer.dt_projs_weight.T + mixer.dt_projs_bias)
    a = -torch.exp(mixer.A_logs[:, 0])
    h, out = torch.zeros_like(u[:, 0]), []
    for t in range(u.shape[1]):
        h = torch.exp(dt[:, t] * a) * h + dt[:, t] * raw[:, t, -2:-1] * u[:, t]
        out.append(raw[:, t, -1:] * h + mixer.Ds * u[:, t])
    return torch.stack(out, dim=1)


def truth_of(mixer, x):
    z = torch.einsum('bchw,oc->bohw', x, mixer.in_proj.weight[:, :, 0, 0])
    z = F.conv2d(z, mixer.conv2d.weight, mixer.conv2d.bias, padding=1, groups=x.shape[1])
    z = sampled(z * torch.sigmoid(z), offsets(mixer, x))
    y = scanned(mixer, z.flatten(2).transpose(1, 2))
    norm = mixer.out_norm.norm
    y = F.layer_norm(y, y.shape[2:], norm.weight, norm.bias, 1e-6) @ mixer.out_proj.weight[:, :, 0, 0].T
    return y.transpose(1, 2).unflatten(2, x.shape[2:])


@pytest.mark.parametrize('channels', [16, 32, 48])
def test_the_mixer_is_the_papers_formulas_in_values_and_every_gradient(channels, close):
    mixer = make(channels)
    x = torch.randn(2, channels, 5, 7, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    names, inputs = zip(('x', x), *mixer.named_parameters(), strict=True)
    value, truth = mixer(x), truth_of(mixer, x)
    close(value, truth)
    values, truths = (torch.autograd.grad(y, inputs, upstream) for y in (value, truth))
    for name, grad, true in zip(names, values, truths, strict=True):
        close(grad, true, name)


@pytest.mark.parametrize(('channels', 'rank'), [(16, 1), (80, 5), (112, 7), (640, 40)])
def test_the_rank_of_the_step_sizes_is_a_sixteenth_of_the_channels(channels, rank):
    mixer = Mixer(channels)
    assert mixer.x_proj_weight.shape == (rank + 2, channels)
    assert mixer.dt_projs_weight.shape == (channels, rank)
    assert mixer.da_scan.offset.weight.shape == (2 * channels // 16, channels)


def test_step_sizes_begin_between_a_thousandth_and_a_tenth_evenly_in_their_logarithm():
    steps = F.softplus(Mixer(2048).dt_projs_bias.double())
    assert steps.min() >= 0.001 * 0.999
    assert steps.max() <= 0.1 * 1.001
    logs = (steps.log() - math.log(0.001)) / math.log(100)  # uniform in [0, 1]
    assert abs(logs.mean() - 0.5) < 0.03
    assert abs(logs.std() - 12**-0.5) < 0.02


def test_the_scans_weights_begin_as_published():
    mixer = Mixer(512)
    assert torch.equal(mixer.A_logs, torch.zeros(512, 1))
    assert torch.equal(mixer.Ds, torch.ones(512))
    for weight, bound in ((mixer.dt_projs_weight, 32**-0.5), (mixer.x_proj_weight, 512**-0.5)):
        assert 0.98 * bound < weight.abs().max() <= bound
        assert abs(weight.std() - bound / 3**0.5) < 0.02 * bound  # uniform


def test_under_autocast_the_mixer_answers_close_to_float32():
    mixer = make().float()
    torch.nn.init.constant_(mixer.da_scan.offset.bias, 0.3)
    torch.nn.init.zeros_(mixer.da_scan.offset.weight)  # the same samples in both: only rounding differs
    x = torch.randn(2, 32, 5, 7)
    truth = mixer(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = mixer(x)
    assert y.dtype == torch.bfloat16
    error = (y.float() - truth).abs().max() / truth.abs().max()
    assert error < 0.05, error


def test_offsets_of_a_half_precision_mixer_are_float32_too():
    mixer = make().bfloat16()
    x = torch.randn(1, 32, 5, 7).bfloat16()
    assert mixer.da_scan(x).dtype == torch.float32
    assert mixer(x).dtype == torch.bfloat16


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_under_autocast_positions_and_what_steps_and_state_are_made_of_reach_the_operators_in_float32(
    dtype, monkeypatch
):
    seen = {}
    for name in ('adaptive_sample', 'selective_scan'):
        operator = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *inputs, n=name, f=operator: seen.update({n: [t.dtype for t in inputs]}) or f(*inputs)
        )
    with torch.autocast('cpu', dtype=dtype):
        module.Mixer(32)(torch.randn(1, 32, 5, 7))
    full = torch.float32
    assert seen['adaptive_sample'] == [dtype, full]  # the map, the offsets
    assert seen['selective_scan'] == [dtype, dtype, full, dtype, dtype, full, full]  # u, raw dt, A, B, C, D, dt's bias
