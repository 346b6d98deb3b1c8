"""The recurrence in about 2 sqrt(L) vectorised steps, on any device, with a backward of its own.

The sequence is cut into K chunks of T steps. All chunks walk their T steps at once from a state of 0; then the states
at the chunks' ends are carried from chunk to chunk; then each step adds what its chunk was given, times the decay
since the chunk began:  h_t = local_t + (product of the decays in the chunk up to t) * carried.

g_t = d_t A is the log decay of step t, d_t = softplus(dt_t + dt_bias). With r_t the gradient of h_t,
r_t = C_t dy_t + exp(g_{t+1}) r_{t+1}: the same recurrence, walked backwards. Only the inputs are kept for the backward,
which computes the states anew. Everything is float32 at least.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def linear_recurrence(log_decay: Tensor, x: Tensor) -> Tensor:
    """h_t = exp(log_decay_t) h_{t-1} + x_t with h_{-1} = 0, along the middle axis of (B, L, C)."""
    batch, length, channels = x.shape
    steps = max(1, math.isqrt(length))
    chunks = -(-length // steps)
    padding = (0, 0, 0, chunks * steps - length)
    log_decay, x = (F.pad(t, padding).view(batch, chunks, steps, channels) for t in (log_decay, x))
    decay = log_decay.exp()
    local = torch.empty_like(x)  # [B, K, T, C]
    local[:, :, 0] = x[:, :, 0]
    for t in range(1, steps):
        torch.addcmul(x[:, :, t], decay[:, :, t], local[:, :, t - 1], out=local[:, :, t])
        decay[:, :, t] *= decay[:, :, t - 1]  # from here on, since the chunk began
    carried = _carry(decay[:, :, -1], local[:, :, -1])
    return local.addcmul_(decay, carried.unsqueeze(2)).flatten(1, 2)[:, :length]


def _carry(decay: Tensor, end: Tensor) -> Tensor:
    """The state at the start of every chunk, from the chunks' decays and own ends, all (B, K, C)."""
    carried = torch.zeros_like(end)
    for k in range(1, end.shape[1]):
        torch.addcmul(end[:, k - 1], decay[:, k - 1], carried[:, k - 1], out=carried[:, k])
    return carried


def reversed_recurrence(log_decay: Tensor, x: Tensor) -> Tensor:
    """r_t = x_t + exp(log_decay_{t+1}) r_{t+1} with r_L = 0, along the middle axis of (B, L, C)."""
    shifted = F.pad(log_decay[:, 1:], (0, 0, 0, 1))[:, : log_decay.shape[1]].flip(1)
    return linear_recurrence(shifted, x.flip(1)).flip(1)


class SelectiveScan(torch.autograd.Function):
    """Forward and backward in float32 (float64 for float64 input), whatever the inputs' dtypes."""

    @staticmethod
    def forward(ctx, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        u, dt, A, B, C, D, dt_bias = _compute(inputs)
        d = F.softplus(dt + dt_bias)
        h = linear_recurrence(d * A, d * B.unsqueeze(2) * u)
        return (h.mul_(C.unsqueeze(2)).addcmul_(D, u)).to(inputs[0].dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy: Tensor) -> tuple[Tensor, ...]:
        inputs = ctx.saved_tensors
        u, dt, A, B, C, D, dt_bias, dy = _compute((*inputs, dy))
        B, C = B.unsqueeze(2), C.unsqueeze(2)
        d = F.softplus(dt + dt_bias)
        g = d * A
        h = linear_recurrence(g, d * B * u)
        r = reversed_recurrence(g, C * dy)  # gradient of h
        dC = (dy * h).sum(dim=2)
        dg = _previous(h).mul_(g.exp_()).mul_(r)  # gradient of the log decay
        rd = r * d
        du = (rd * B).addcmul_(dy, D)
        dd = (dg * A).addcmul_(r, B * u)
        ddt = dd * torch.sigmoid(dt + dt_bias)
        grads = (du, ddt, (dg * d).sum(dim=(0, 1)), (rd * u).sum(dim=2), dC, (dy * u).sum(dim=(0, 1)), ddt.sum((0, 1)))
        return tuple(grad.to(t.dtype) for grad, t in zip(grads, inputs, strict=True))


def _compute(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    dtype = torch.promote_types(tensors[0].dtype, torch.float32)
    return [t.to(dtype) for t in tensors]


def _previous(h: Tensor) -> Tensor:
    return F.pad(h[:, :-1], (0, 0, 1, 0))[:, : h.shape[1]]


def selective_scan(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, dt_bias: Tensor) -> Tensor:
    """Scan u (B, L, C); see :func:`damamba.ops.selective_scan`."""
    return SelectiveScan.apply(u, dt, A, B, C, D, dt_bias)
