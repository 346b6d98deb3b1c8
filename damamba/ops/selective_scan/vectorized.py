"""The recurrence in a few hundred vectorised steps, on any device.

h_t = a_t h_{t-1} + x_t, with a_t = exp(d_t A), x_t = d_t B_t u_t, d_t = softplus(dt_t + dt_bias). The sequence
(B, L, C) is cut into chunks of 16 steps that are walked at once, each from a state of 0. The chunks' ends are such a
sequence themselves, 16 times shorter; what it gives is carried into each chunk, times the decay since it began.

With r_t the gradient of h_t and w_t = a_t r_t:  r_t = C_t dy_t + w_{t+1},  w_t = a_t C_t dy_t + a_t w_{t+1}. That is
the same recurrence, walked backwards. The backward computes the states anew. Everything is float32 at least. On the
CPU long sequences are done in segments of S steps that its caches hold.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from damamba.ops.backend import can_always

why_not = can_always

CHUNK = 16  # steps
SEGMENT = 2**20  # elements, on the CPU


def recur_(decay: Tensor, x: Tensor, reverse: bool = False) -> Tensor:
    """Turn x into h_t = decay_t h_{t-1} + x_t with h_{-1} = 0, along the middle axis of (B, L, C), in place.

    ``reverse``: h_t = decay_t h_{t+1} + x_t with h_L = 0. ``decay`` is overwritten too.
    """
    whole = x.shape[1] - x.shape[1] % CHUNK if x.shape[1] > CHUNK else 0
    if whole and not reverse:
        _recur_chunks_(decay[:, :whole], x[:, :whole])
    edge = max(whole - 1, 0)  # the last step of the chunks, from which the rest goes on; or to which it leads
    _walk_(decay[:, edge:].unbind(1), x[:, edge:].unbind(1), reverse)
    if whole and reverse:
        _recur_chunks_(decay[:, :whole], x[:, :whole], reverse)
    return x


def _recur_chunks_(decay: Tensor, x: Tensor, reverse: bool = False) -> None:
    decays, states = (t.unflatten(1, (-1, CHUNK)) for t in (decay, x))  # [B, K, T, C]
    _walk_(decays.unbind(2), states.unbind(2), reverse, keep=True)
    end = 0 if reverse else -1
    ends = recur_(decays[:, :, end].contiguous(), states[:, :, end].contiguous(), reverse)
    to, since = (slice(None, -1), slice(1, None)) if reverse else (slice(1, None), slice(None, -1))
    states[:, to].addcmul_(decays[:, to], ends[:, since].unsqueeze(2))


def _walk_(decays: Sequence[Tensor], states: Sequence[Tensor], reverse: bool, keep: bool = False) -> None:
    """Step through; with ``keep`` the decays become their products since the first step."""
    if reverse:
        decays, states = decays[::-1], states[::-1]
    for t in range(1, len(states)):
        states[t].addcmul_(decays[t], states[t - 1])
        if keep:
            decays[t].mul_(decays[t - 1])


class Inputs(NamedTuple):
    """The operator's inputs over one segment, float32 at least."""

    u: Tensor  # [B, S, C]
    dt: Tensor  # [B, S, C]
    A: Tensor  # [C]
    B: Tensor  # [B, S, 1]
    C: Tensor  # [B, S, 1]
    D: Tensor  # [C]
    dt_bias: Tensor  # [C]

    def steps(self) -> Tensor:
        return F.softplus(self.dt + self.dt_bias)

    def states(self, d: Tensor, before: Tensor | None) -> Tensor:
        """h of every step, from the state before the segment; d is overwritten."""
        x, decay = (d * self.u).mul_(self.B), d.mul_(self.A).exp_()
        if before is not None:
            x[:, 0].addcmul_(decay[:, 0], before)
        return recur_(decay, x)


def _cut(inputs: tuple[Tensor, ...], segment: slice) -> Inputs:
    u, dt, A, B, C, D, dt_bias = inputs
    parts = u[:, segment], dt[:, segment], A, B[:, segment, None], C[:, segment, None], D, dt_bias
    return Inputs(*(part.to(_precision(u)) for part in parts))


def _precision(u: Tensor) -> torch.dtype:
    return torch.promote_types(u.dtype, torch.float32)


def segments(u: Tensor) -> list[slice]:
    """The stretches of a sequence (B, L, C) that are done one after another."""
    batch, length, channels = u.shape
    size = length if u.device.type != 'cpu' else max(CHUNK, SEGMENT // max(batch * channels, 1))
    return [slice(start, min(start + size, length)) for start in range(0, length, max(size, 1))]


def forward(*inputs: Tensor) -> Tensor:
    """Scan; inputs as of :func:`damamba.ops.selective_scan`, in its order."""
    y = torch.empty_like(inputs[0], memory_format=torch.contiguous_format)
    before = None
    for segment in segments(y):
        part = _cut(inputs, segment)
        h = part.states(part.steps(), before)
        before = h[:, -1].clone()
        h.mul_(part.C)
        if y.dtype == h.dtype:
            torch.addcmul(h, part.u, part.D, out=y[:, segment])
        else:
            y[:, segment] = h.addcmul_(part.u, part.D)
    return y


def backward(dy: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the seven inputs, in their order and of their dtypes."""
    parts = segments(dy)
    states = _all_states(inputs, parts)
    du, ddt, dA, dB, dC, dD, dbias = grads = [_gradient_of(t, inputs[0]) for t in inputs]
    after = None  # w of the first step of the segment behind
    for segment in reversed(parts):
        part, dy_part = _cut(inputs, segment), dy[:, segment].to(_precision(dy))
        d = part.steps()
        decay = (d * part.A).exp_()
        r = part.C * dy_part
        w = decay * r  # [B, S, C]
        if after is not None:
            w[:, -1].addcmul_(decay[:, -1], after)
            r[:, -1] += after
        recur_(decay, w, reverse=True)
        r[:, :-1] += w[:, 1:]
        after = w[:, 0].clone()
        log_slope = w.mul_(_before(states, segment))  # gradient of d A
        du[:, segment] = torch.addcmul(dy_part * part.D, rd := r * d, part.B)
        dB[:, segment] = (rd.mul_(part.u)).sum(dim=2)
        dA += (log_slope * d).sum(dim=(0, 1))
        dC[:, segment] = (dy_part * states[:, segment]).sum(dim=2)
        dD += (dy_part * part.u).sum(dim=(0, 1))
        dd = log_slope.mul_(part.A).addcmul_(r.mul_(part.u), part.B)
        dd.mul_(torch.sigmoid(part.dt + part.dt_bias))
        ddt[:, segment] = dd
        dbias += dd.sum(dim=(0, 1))
    return tuple(grad.to(t.dtype) for grad, t in zip(grads, inputs, strict=True))


def _gradient_of(t: Tensor, u: Tensor) -> Tensor:
    """A place for the gradient of t: sums are kept in full precision until the end."""
    dtype = _precision(u) if t.ndim == 1 else t.dtype
    return torch.zeros_like(t, dtype=dtype, memory_format=torch.contiguous_format)


def _all_states(inputs: tuple[Tensor, ...], parts: list[slice]) -> Tensor:
    states = torch.empty_like(inputs[0], dtype=_precision(inputs[0]), memory_format=torch.contiguous_format)
    before = None
    for segment in parts:
        part = _cut(inputs, segment)
        states[:, segment] = part.states(part.steps(), before)
        before = states[:, segment.stop - 1]
    return states


def _before(states: Tensor, segment: slice) -> Tensor:
    """The state before each step of a segment."""
    if segment.start:
        return states[:, segment.start - 1 : segment.stop - 1]
    return F.pad(states[:, : segment.stop - 1], (0, 0, 1, 0))
