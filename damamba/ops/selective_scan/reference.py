"""The truth: the recurrence as the obvious loop over time, differentiated by autograd.

d_t = softplus(dt_t + dt_bias);  h_t = exp(d_t A) h_{t-1} + d_t B_t u_t,  h_{-1} = 0;  y_t = C_t h_t + D u_t
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from damamba.ops.backend import by_autograd, can_always

why_not = can_always


def forward(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, dt_bias: Tensor) -> Tensor:
    """Scan u (B, L, C); see :func:`damamba.ops.selective_scan`."""
    dtype = u.dtype
    u, dt, A, B, C, D, dt_bias = (t.to(torch.promote_types(dtype, torch.float32)) for t in (u, dt, A, B, C, D, dt_bias))
    h, out = u.new_zeros(u.shape[0], u.shape[2]), []
    for x, step, b, c in zip(*(t.unbind(1) for t in (u, dt, B, C)), strict=True):
        d = F.softplus(step + dt_bias)  # [B, C]
        h = torch.exp(d * A) * h + d * b[:, None] * x
        out.append(c[:, None] * h + D * x)
    return (torch.stack(out, dim=1) if out else u * D).to(dtype)


backward = by_autograd(forward)
