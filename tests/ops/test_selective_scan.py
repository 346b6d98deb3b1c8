"""selective_scan: every backend against its closed form.

Held to the loop in float64 in test_both.py.
"""

import pytest
import torch

from tests.ops.helpers import BACKENDS, call, make_scan, widest


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.mark.parametrize('rate', [0.0, -0.01, -1.0, -1e6])
def test_every_input_decays_by_the_steps_since(rate, backend, device, close):
    """y_t = C_t sum_s exp(A (d_{s+1} + ... + d_t)) d_s B_s u_s + D u_t: for A = 0 a running sum."""
    args = [t.double() for t in make_scan(2, 200, 3)]
    u, dt, A, B, C, D, bias = args
    A.fill_(rate)
    d = (dt + bias).exp().log1p()  # [N, L, C]
    elapsed = (d.cumsum(1).unsqueeze(2) - d.cumsum(1).unsqueeze(1)).clamp(min=0)  # [N, t, s, C]
    past = torch.ones(200, 200).tril().view(1, 200, 200, 1)
    kept = (past * (A * elapsed).exp() * (d * B.unsqueeze(2) * u).unsqueeze(1)).sum(2)
    truth = C.unsqueeze(2) * kept + D * u
    close(call('selective_scan', [t.to(device, widest(backend)) for t in args], backend), truth)
