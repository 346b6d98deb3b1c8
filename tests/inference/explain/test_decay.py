"""What is shown as the memory of the state is what the scan does, in float64."""

import numpy as np
import torch

from damamba.inference.explain.decay import memory_lengths, weights_at
from damamba.inference.explain.recording import record_scans
from damamba.models import mixer
from damamba.ops.selective_scan import reference


def test_an_impulse_arrives_as_strong_as_its_weight(backbone, monkeypatch):
    real, calls = mixer.selective_scan, []
    monkeypatch.setattr(mixer, 'selective_scan', lambda *args: calls.append(args) or real(*args))
    scans = record_scans(backbone.double(), torch.randn(1, 3, 64, 96, dtype=torch.float64))
    for scan, (u, dt, A, B, C, D, bias) in list(zip(scans, calls, strict=True))[2:]:
        step, length = torch.nn.functional.softplus(dt + bias)[0], u.shape[1]
        for source in (1, length // 2):
            impulse = torch.zeros_like(u)
            impulse[0, source] = 1
            answer = reference.forward(impulse, dt, A, B, C, D, bias)[0]  # linear in u, all else fixed
            for arrival in (source + 1, length - 1):
                weight = weights_at(scan.log_decay, arrival)[source]
                truth = (C[0, arrival] * step[source] * B[0, source]).detach().numpy()
                np.testing.assert_allclose(answer[arrival].detach().numpy(), truth * weight, rtol=1e-9)


def test_the_last_position_weighs_one_and_the_way_back_is_a_product():
    log_decay = np.log(np.array([[0.5, 0.1], [0.5, 0.2], [0.25, 1.0]]))
    np.testing.assert_allclose(weights_at(log_decay, 2), [[0.125, 0.2], [0.25, 1], [1, 1]])
    np.testing.assert_allclose(weights_at(log_decay, 1), [[0.5, 0.2], [1, 1]])


def test_at_a_steady_pace_memory_is_as_long_as_that_says_or_goes_back_to_the_start():
    lengths = memory_lengths(np.full((20, 1), -1 / 5))[:, 0]
    np.testing.assert_allclose(lengths, np.minimum(np.arange(20), 5))


def test_at_the_end_of_memory_the_weight_is_one_part_in_e():
    log_decay = -np.random.default_rng(0).uniform(0, 0.5, (100, 4))
    lengths, weights = memory_lengths(log_decay)[90], weights_at(log_decay, 90)
    for channel, length in enumerate(lengths):
        place = 90 - length
        nearer, farther = weights[int(np.ceil(place)), channel], weights[int(np.floor(place)), channel]
        assert farther <= np.exp(-1) <= nearer and 1 < length < 30
