"""A block's training on the CPU with its derivative written by hand: what autograd does, in fewer and larger steps.

Torch's own way through a block is dozens of small steps forward and twice as many back, and what prepares a step keeps
one core busy while the others wait. Maps are [B, C, H, W], channels-last; rows are the same memory as [B, H, W, C].
C channels, G = C/16 groups, R rank of the step sizes, L = H*W. ``dx`` is the gradient of ``x``.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from damamba.models import pointwise
from damamba.models.lean import Conv, is_worth
from damamba.ops.adaptive_sample import numba_launch as sampling
from damamba.ops.cpu import threads
from damamba.ops.depthwise import numba_launch as depthwise
from damamba.ops.projections import EPS
from damamba.ops.projections import numba_launch as projections
from damamba.ops.selective_scan import numba_launch as scanning

WIDE = threads.WIDE  # a mixer's channels are a multiple of it
aten = torch.ops.aten


def takes(x: Tensor, weights: Sequence[Tensor], width: int = threads.WIDTH) -> bool:
    """Whether a step may go this way: a training in float32 on the CPU, in which nobody but eager torch has a say.

    Args:
        width: of what the numbers of channels are multiples.
    """
    fits = x.numel() > 0 and all(len(w) % width == 0 for w in weights if w.ndim == 4)
    return torch.is_grad_enabled() and fits and threads.plain(x, *weights) and threads.chosen()


class Weights(NamedTuple):
    """The weights from a block's input to the end of its mixer, in the order of their use."""

    embed: Tensor  # [C, 1, 3, 3], the identity in it
    embed_bias: Tensor
    norm: Tensor
    norm_bias: Tensor
    enter: Tensor  # [C, C, 1, 1]
    look: Tensor  # [C, 1, 3, 3]
    look_bias: Tensor
    look_norm: Tensor
    look_norm_bias: Tensor
    offset: Tensor  # [2G, C]
    offset_bias: Tensor
    conv: Tensor  # [C, 1, 3, 3]
    conv_bias: Tensor
    project: Tensor  # [R + 2, C]: step sizes, B and C
    expand: Tensor  # [C, R]
    A_log: Tensor  # [C, 1]
    D: Tensor
    dt_bias: Tensor
    out_norm: Tensor
    out_norm_bias: Tensor
    leave: Tensor  # [C, C, 1, 1]


class Saved(NamedTuple):
    """What a mixer keeps for its backward; the second half of it only for small maps, else it is computed anew."""

    x: Tensor
    stats: Tensor  # mean, and inverse deviation, of the first layer normalisation
    stats_scale: Tensor
    out_stats: Tensor  # of the last one
    out_scale: Tensor
    look_stats: Tensor  # both of the one between them [2, B * L]
    projected: Tensor
    looked: Tensor
    offset: Tensor  # [B, H, W, 2G]
    z: Tensor
    u: Tensor  # rows
    raw: Tensor  # [B * L, R + 2 padded to a multiple of 16]
    by_step: Tensor  # B and C [2, B, L]
    starts: Tensor  # states of the scan
    scanned: Tensor  # rows
    entered: Tensor | None = None  # rows, and so are all that follow, but for dt [B, L, C]
    normed: Tensor | None = None
    active: Tensor | None = None
    dt: Tensor | None = None
    left: Tensor | None = None


def _derivative(backward: Callable) -> Callable:
    """A function's backward, once, and in float32 also where the caller's autocast is on."""

    @once_differentiable
    @wraps(backward)
    def run(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast('cpu', enabled=False):
            return backward(ctx, *grads)

    return run


class Mixing(torch.autograd.Function):
    """(samples kept or None for all, x, :class:`Weights`) -> x + dw(x) of all, the mixer's branch of those kept."""

    @staticmethod
    def forward(ctx, kept: Tensor | None, x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        w = Weights(*weights)
        embedded, entered, normed, *stats = _enter(x, w, kept)
        projected = Conv().forward(maps(normed), w.enter)
        looked = Conv().forward(maps(normed), w.look, w.look_bias)
        looks = w.look_norm, w.look_norm_bias, w.offset, w.offset_bias
        offset, look_stats = projections.look(rows(looked), *looks)
        z, active = depthwise.with_silu(projected, w.conv, w.conv_bias)
        active = rows(active)
        u = sampling.forward(active, offset)
        raw, dt, by_step = projections.steps(u, w.project, w.expand)
        y, starts = scanning.scan(*_scan_inputs(u, dt, by_step, w))
        scanned = y.view_as(u)
        left, *out_stats = _norm(scanned, w.out_norm, w.out_norm_bias)
        few = *stats, *out_stats, look_stats, projected, looked, offset, z, u, raw, by_step, starts, scanned
        more = () if is_worth(entered) else (entered, normed, active, dt, left)
        ctx.kept = kept
        ctx.save_for_backward(*weights, x, *few, *more)
        return embedded, Conv().forward(maps(left), w.leave)

    @staticmethod
    @_derivative
    def backward(ctx, dembedded: Tensor, dbranch: Tensor) -> tuple[Tensor | None, ...]:
        tensors, count = ctx.saved_tensors, len(Weights._fields)
        w, s = Weights(*tensors[:count]), Saved(*tensors[count:])
        dscanned, leave = _leave_backward(dbranch, w, s)
        du, scan = _scan_backward(dscanned, w, s)
        dlooked, dprojected, look, conv = _sample_backward(du, w, s)
        dx, enter = _enter_backward(dembedded, dlooked, dprojected, w, s, ctx.kept)
        return None, dx, *map(_laid_out_as, w, (*enter, *look, *conv, *scan, *leave))


def _enter(x: Tensor, w: Weights, kept: Tensor | None) -> tuple[Tensor, ...]:
    """x + dw(x); rows of the samples kept, and their normalisation with its statistics."""
    embedded = Conv().forward(x, w.embed, w.embed_bias)
    entered = rows(embedded) if kept is None else rows(embedded)[kept]
    return embedded, entered, *_norm(entered, w.norm, w.norm_bias)


def _scan_inputs(u: Tensor, dt: Tensor, by_step: Tensor, w: Weights) -> tuple[Tensor, ...]:
    """What :func:`damamba.ops.selective_scan` takes."""
    return u.flatten(1, 2), dt, -w.A_log.exp().view(-1), *by_step, w.D, w.dt_bias


def _leave_backward(dbranch: Tensor, w: Weights, s: Saved) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The gradients of what was scanned, and of the out projection and its normalisation."""
    left = _norm(s.scanned, w.out_norm, w.out_norm_bias)[0] if s.left is None else s.left
    left = maps(left)
    dleft, dleave = pointwise.input_gradient(dbranch, left, w.leave), pointwise.weight_gradient(dbranch, left)
    stats = s.out_stats, s.out_scale
    dscanned, *dnorm = _norm_backward(rows(dleft), s.scanned, stats, w.out_norm, w.out_norm_bias)
    return dscanned, (*dnorm, dleave)


def _scan_backward(dscanned: Tensor, w: Weights, s: Saved) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The gradients of u [B, L, C], and of the scan's weights."""
    dt = projections.steps(s.u, w.project, w.expand)[1] if s.dt is None else s.dt
    inputs = _scan_inputs(s.u, dt, s.by_step, w)
    du, ddt, (dA, dD, dbias), by_step = scanning.gradients(dscanned.flatten(1, 2), *inputs, starts=s.starts)
    weights = projections.steps_backward(ddt, by_step, s.u, s.raw, w.project, w.expand, du)
    return du, (*weights, (dA * inputs[2]).view_as(w.A_log), dD, dbias)


def _sample_backward(du: Tensor, w: Weights, s: Saved) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The gradients of what was looked at, of the projection, and of the weights on both ways."""
    active = rows(F.silu(s.z)) if s.active is None else s.active
    dactive, doffset = sampling.backward(du.view_as(s.u), active, s.offset)
    dprojected, *dconv, _ = depthwise.backward(maps(dactive), s.projected, w.conv, silu=s.z)
    looks = rows(s.looked), s.look_stats, w.look_norm, w.look_norm_bias, w.offset
    dlooked, *dlook = projections.look_backward(doffset, *looks)
    return maps(dlooked), dprojected, tuple(dlook), tuple(dconv)


def _enter_backward(
    dembedded: Tensor, dlooked: Tensor, dprojected: Tensor, w: Weights, s: Saved, kept: Tensor | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The gradients of x, and of the weights up to the first two convolutions of the normalised map."""
    entered, normed = s.entered, s.normed
    if normed is None:
        _, entered, normed, *_ = _enter(s.x, w, kept)
    normed = maps(normed)
    dnormed, *dlook, _ = depthwise.backward(dlooked, normed, w.look)
    dnormed = pointwise.input_gradient(dprojected, normed, w.enter, plus=dnormed)
    denter = pointwise.weight_gradient(dprojected, normed)
    dentered, *dnorm = _norm_backward(rows(dnormed), entered, (s.stats, s.stats_scale), w.norm, w.norm_bias)
    if kept is None:
        dembedded = dentered.add_(rows(dembedded))
    else:
        dembedded = rows(dembedded).index_add(0, kept, dentered)
    dx, *dembed, _ = depthwise.backward(maps(dembedded), s.x, w.embed)
    return dx, (*dembed, *dnorm, denter, *dlook)


class Widening(torch.autograd.Function):
    """A feed-forward network: (whether both wide maps are kept, x, 1x1, GELU, depthwise 3x3, 1x1 with their biases)."""

    @staticmethod
    def forward(ctx, keep: bool, x: Tensor, *weights: Tensor) -> Tensor:
        fc1, bias1, kernel, bias, fc2, bias2 = weights
        hidden = Conv().forward(x, fc1, bias1)
        wide = depthwise.of_gelu(hidden, kernel, bias)
        ctx.save_for_backward(x, hidden, wide if keep else None, fc1, kernel, bias, fc2)
        return Conv().forward(wide, fc2, bias2)

    @staticmethod
    @_derivative
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, wide, fc1, kernel, bias, fc2 = ctx.saved_tensors
        if wide is None:
            wide = depthwise.of_gelu(hidden, kernel, bias)
        dwide, dfc2 = pointwise.input_gradient(grad, wide, fc2), pointwise.weight_gradient(grad, wide)
        dhidden, dkernel, dbias, dbias1 = depthwise.backward(dwide, hidden, kernel, gelu=True)
        dx, dfc1 = pointwise.input_gradient(dhidden, x, fc1), pointwise.weight_gradient(dhidden, x)
        dfc1, dkernel, dfc2 = map(_laid_out_as, (fc1, kernel, fc2), (dfc1, dkernel, dfc2))
        return None, dx, dfc1, dbias1, dkernel, dbias, dfc2, grad.sum(dim=(0, 2, 3))


class Untouched(torch.autograd.Function):
    """x as it is, of a branch that no sample goes through; the branch's weights get gradients of 0."""

    @staticmethod
    def forward(ctx, x: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(*weights)
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        return grad, *map(torch.zeros_like, ctx.saved_tensors)


def rows(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H, W, C]."""
    return x.permute(0, 2, 3, 1)


def maps(x: Tensor) -> Tensor:
    """[B, H, W, C] -> [B, C, H, W]."""
    return x.permute(0, 3, 1, 2)


def _laid_out_as(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with its weight's strides, where that is the same memory: DistributedDataParallel compares them."""
    if gradient.stride() == weight.stride() or not (weight.is_contiguous() and gradient.is_contiguous()):
        return gradient
    return gradient.as_strided(weight.shape, weight.stride())  # dimensions of one element have any stride


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The layer normalisation of rows; their mean and inverse deviation."""
    return aten.native_layer_norm(x, weight.shape, weight, bias, EPS)


def _norm_backward(grad: Tensor, x: Tensor, stats: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Sequence[Tensor]:
    """The gradients of rows, weight and bias."""
    return aten.native_layer_norm_backward(grad, x, weight.shape, *stats, weight, bias, [True] * 3)
