"""Keep for the backward only what is dear to compute: the rest is computed anew when the backward comes to it.

A plain DAMamba keeps about 2.1 times as much for its backward as a Swin of its size. Maps are [B, C, H, W].
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from damamba.ops import adaptive_sample, adaptive_sample_backward, selective_scan, selective_scan_backward

WORTH = 2**20  # numbers in the first input: with fewer, too little memory is saved for the time that it costs


class Dear(Protocol):
    """What is not worth computing twice. Its derivative needs its inputs, and not its outputs."""

    def forward(self, *inputs: Tensor | None) -> Tensor | tuple[Tensor, ...]: ...

    def backward(self, grads: Sequence[Tensor], *inputs: Tensor | None) -> Sequence[Tensor | None]:
        """The gradients of the inputs; None for those that have none."""


def is_worth(x: Tensor) -> bool:
    """Whether maps of this size are computed anew."""
    return x.numel() >= WORTH


def lean(
    cheap: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    dear: Dear,
    weights: Sequence[Tensor | None] = (),
) -> Tensor | tuple[Tensor, ...]:
    """Return ``dear.forward(*cheap(*inputs), *weights)`` and keep only ``inputs`` and ``weights`` for the backward.

    The backward runs ``cheap`` again. Autocast is off inside: the caller casts what needs it. Small maps are kept as
    usual, and when the model is compiled, the compiler decides what to keep.
    """
    with torch.autocast(inputs[0].device.type, enabled=False):
        if not torch.compiler.is_compiling() and torch.is_grad_enabled() and is_worth(inputs[0]):
            return _Lean.apply(cheap, dear, len(inputs), *inputs, *weights)
        return dear.forward(*cheap(*inputs), *weights)


class _Lean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, cheap, dear, count: int, *tensors: Tensor | None):
        ctx.cheap, ctx.dear, ctx.count = cheap, dear, count
        ctx.save_for_backward(*tensors)
        return dear.forward(*cheap(*tensors[:count]), *tensors[count:])

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):
        with torch.autocast(grads[0].device.type, enabled=False):  # it may run inside the caller's
            return _Lean.differentiate(ctx, grads)

    @staticmethod
    def differentiate(ctx, grads: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[3:]
        inputs = [t.detach().requires_grad_(need) for t, need in zip(tensors[: ctx.count], needed, strict=False)]
        with torch.enable_grad():
            prepared = ctx.cheap(*inputs)
        given = ctx.dear.backward(grads, *(t.detach() for t in prepared), *tensors[ctx.count :])
        split = len(prepared)
        return None, None, None, *_pull_back(prepared, given[:split], inputs), *given[split:]


def _pull_back(outputs: Sequence[Tensor], grads: Sequence[Tensor | None], inputs: list[Tensor]) -> list[Tensor | None]:
    """The gradients of the inputs, None where none is needed, from those of the outputs."""
    wanted = [t for t in inputs if t.requires_grad]
    pairs = [(out, grad) for out, grad in zip(outputs, grads, strict=True) if out.requires_grad and grad is not None]
    if not pairs:
        return [None] * len(inputs)
    outputs, grads = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, grads, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in inputs]


class Conv(NamedTuple):
    """A convolution of [B, C, H, W] by weight and bias; depthwise where the weight says so."""

    stride: int = 1

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(x, weight, bias, self.stride, weight.shape[2] // 2, groups=x.shape[1] // weight.shape[1])

    def backward(self, grads: Sequence[Tensor], x: Tensor, weight: Tensor, bias: Tensor | None = None):
        stride, padding, groups = [self.stride] * 2, [weight.shape[2] // 2] * 2, x.shape[1] // weight.shape[1]
        sizes = None if bias is None else [bias.shape[0]]
        needed = [True, True, bias is not None]
        return torch.ops.aten.convolution_backward(
            grads[0], x, weight, sizes, stride, padding, [1, 1], False, [0, 0], groups, needed
        )


class Branches:
    """x itself, and two convolutions of y, [B, C, H, W] all of them."""

    def forward(self, x: Tensor, y: Tensor, project: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return x, Conv().forward(y, project), Conv().forward(y, kernel, bias)

    def backward(self, grads: Sequence[Tensor], x: Tensor, y: Tensor, project: Tensor, kernel: Tensor, bias: Tensor):
        dy, dproject, _ = Conv().backward(grads[1:2], y, project)
        dy_too, dkernel, dbias = Conv().backward(grads[2:], y, kernel, bias)
        return grads[0], dy + dy_too, dproject, dkernel, dbias


class Linear:
    """[..., C] by weight and bias."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(x, weight, bias)

    def backward(self, grads: Sequence[Tensor], x: Tensor, weight: Tensor, bias: Tensor):
        rows = grads[0].flatten(0, -2)
        return grads[0] @ weight, rows.t() @ x.flatten(0, -2), rows.sum(dim=0)


class Operator(NamedTuple):
    """One of DAMamba's two operators."""

    forward: Callable[..., Tensor]
    derivative: Callable[..., Sequence[Tensor]]

    def backward(self, grads: Sequence[Tensor], *inputs: Tensor) -> Sequence[Tensor]:
        return self.derivative(grads[0], *inputs)


SAMPLE = Operator(adaptive_sample, adaptive_sample_backward)
SCAN = Operator(selective_scan, selective_scan_backward)
