"""The recurrence in a few hundred vectorised steps, on any device.

h_t = a_t h_{t-1} + x_t, with a_t = exp(d_t A), x_t = d_t B_t u_t, d_t = softplus(dt_t + dt_bias). The sequence
(B, L, C) is cut into chunks of 16 steps that are walked at once, each from a state of 0. The chunks' ends are such a
sequence themselves, 16 times shorter; what it gives is carried into each chunk, times the decay since it began.

With r_t the gradient of h_t and w_t = a_t r_t:  r_t = C_t dy_t + w_{t+1},  w_t = a_t C_t dy_t + a_t w_{t+1}. That is
the same recurrence, walked backwards. The backward computes the states anew. Everything is float32 at least.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from damamba.ops.backend import can_always

why_not = can_always

CHUNK = 16  # steps


def recur_(decay: Tensor, x: Tensor) -> Tensor:
    """Turn x into h_t = decay_t h_{t-1} + x_t with h_{-1} = 0, along the middle axis of (B, L, C), in place.

    ``decay`` is overwritten too.
    """
    whole = x.shape[1] - x.shape[1] % CHUNK if x.shape[1] > CHUNK else 0
    if whole:
        decays, states = (t[:, :whole].unflatten(1, (-1, CHUNK)) for t in (decay, x))  # [B, K, T, C]
        for t in range(1, CHUNK):
            states[:, :, t].addcmul_(decays[:, :, t], states[:, :, t - 1])
            decays[:, :, t].mul_(decays[:, :, t - 1])  # since the chunk began
        ends = recur_(decays[:, :, -1].contiguous(), states[:, :, -1].contiguous())
        states[:, 1:].addcmul_(decays[:, 1:], ends[:, :-1].unsqueeze(2))
    for t in range(max(whole, 1), x.shape[1]):
        x[:, t].addcmul_(decay[:, t], x[:, t - 1])
    return x


def _prepare(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, dt_bias: Tensor) -> list[Tensor]:
    """The inputs, contiguous and float32 at least; B and C as (B, L, 1)."""
    dtype = torch.promote_types(u.dtype, torch.float32)
    return [t.to(dtype).contiguous() for t in (u, dt, A, B.unsqueeze(2), C.unsqueeze(2), D, dt_bias)]


def forward(*inputs: Tensor) -> Tensor:
    """Scan; inputs as of :func:`damamba.ops.selective_scan`, in its order."""
    u, dt, A, B, C, D, dt_bias = _prepare(*inputs)
    d = F.softplus(dt + dt_bias)
    h = recur_((d * A).exp_(), (d * u).mul_(B))
    return h.mul_(C).addcmul_(u, D).to(inputs[0].dtype)


def backward(dy: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the seven inputs, in their order and of their dtypes."""
    u, dt, A, B, C, D, dt_bias = _prepare(*inputs)
    dy = dy.to(u.dtype).contiguous()
    d = F.softplus(dt + dt_bias)
    decay = (d * A).exp_()
    h = recur_(decay.clone(), (d * u).mul_(B))
    r = C * dy
    w = recur_(decay.flip(1), (decay * r).flip(1)).flip(1)
    r[:, :-1] += w[:, 1:]
    before = h.roll(1, dims=1)  # the state before each step
    before[:, :1] = 0
    log_slope = w.mul_(before)  # gradient of d A
    ru = r * u
    dd = (log_slope * A).addcmul_(ru, B).mul_(torch.sigmoid(dt + dt_bias))
    grads = (
        torch.addcmul(dy * D, r * d, B),
        dd,
        (log_slope * d).sum(dim=(0, 1)),
        (ru * d).sum(dim=2),
        (dy * h).sum(dim=2),
        (dy * u).sum(dim=(0, 1)),
        dd.sum(dim=(0, 1)),
    )
    return tuple(grad.to(t.dtype) for grad, t in zip(grads, inputs, strict=True))
