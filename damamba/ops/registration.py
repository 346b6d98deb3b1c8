"""Makes one operator of torch out of its backends. Which of them runs is decided inside, at every call.

So a graph that was traced or exported on one machine runs on another. A call goes from torch's dispatcher to the kernel
at the key Autograd, from there through whatever mode wants to see it, and then to the backend. Everything here is on
the way of every call, and counts in microseconds.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.utils.flop_counter import register_flop_formula

from damamba.ops.backend import choose

LIBRARY = torch.library.Library('damamba', 'FRAGMENT')
BELOW_AUTOGRAD = torch._C._after_autograd_keyset
PLAIN = {  # the keys of a call, as a number, where nothing lies between autograd and the backend: no mode, no subclass
    (torch._C.DispatchKeySet(device) | torch._C.DispatchKeySet(autograd)).raw_repr()
    for device, autograd in (
        (torch._C.DispatchKey.CPU, torch._C.DispatchKey.AutogradCPU),
        (torch._C.DispatchKey.CUDA, torch._C.DispatchKey.AutogradCUDA),
    )
}


class Operator(NamedTuple):
    """``torch.ops.damamba.<name>`` and its derivative, ``<name>_backward``, which takes the output's gradient first.

    The last argument of both is the name of a backend, or None: then it is chosen.
    """

    name: str
    count: int  # of inputs
    forward: Callable[..., Tensor]
    backward: Callable[..., Sequence[Tensor]]


def register(name: str, backends: Mapping[str, ModuleType], inputs: Sequence[str], flops: tuple[int, int]) -> Operator:
    """Define an operator whose inputs are tensors, and all that is kept for the backward.

    Args:
        backends: the preferred one first. A module has ``forward``, which takes the inputs and gives a new contiguous
            tensor, no view, of the first one's shape and dtype; ``backward``, which takes the output's gradient and the
            inputs and gives each a new contiguous gradient; and ``why_not``, the reason why it can't take the inputs,
            or None.
        inputs: their names.
        flops: operations for each element of the first input, in forward and backward; a multiply-add is 2.
    """
    count, derivative = len(inputs), f'{name}_backward'
    tensors, gradients = (', '.join(parts) for parts in ([f'Tensor {it}' for it in inputs], ['Tensor'] * count))

    def forward(*args):
        tensors = args[:count]
        return choose(name, backends, tensors, *args[count:]).forward(*tensors)

    def backward(grad, *args):
        tensors = args[:count]
        return choose(name, backends, tensors, *args[count:]).backward(grad, *tensors)

    operator = Operator(
        name,
        count,
        _define(f'{name}({tensors}, str? backend=None) -> Tensor', forward, flops[0]),
        _define(f'{derivative}(Tensor grad, {tensors}, str? backend=None) -> ({gradients})', backward, flops[1]),
    )
    for label, kernel, fake, function in (
        (name, forward, lambda *args: _like(args[0]), _First),
        (derivative, backward, lambda grad, *args: tuple(map(_like, args[:count])), _Second),
    ):
        torch.library.register_fake(f'damamba::{label}', fake, lib=LIBRARY)
        LIBRARY.impl(label, _differentiable(operator, label, kernel, function), 'Autograd', with_keyset=True)
        LIBRARY.impl(label, _refuse_vmap(name), 'FuncTorchBatched')
    return operator


def _define(schema: str, kernel: Callable, flops: int) -> Callable:
    """The overload that it becomes; also a line in FLOP counters."""
    label = LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    LIBRARY.impl(label, kernel, 'CompositeExplicitAutograd')
    packet = getattr(torch.ops.damamba, label)
    register_flop_formula(packet)(lambda shape, *_, **__: flops * torch.Size(shape).numel())
    return packet.default


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _differentiable(operator: Operator, label: str, kernel: Callable, function: type[Function]) -> Callable:
    """The kernel at Autograd: it hands a call on, through a function of autograd if there is a gradient to come."""
    redispatch = getattr(torch.ops.damamba, label).default.redispatch
    apply = super(Function, function).apply  # what Function.apply adds is for the transforms of torch.func

    def at_autograd(keys, *args):
        hand_on = kernel if keys.raw_repr() in PLAIN else partial(redispatch, keys & BELOW_AUTOGRAD)
        if _is_differentiated(operator.name, args):
            return apply(operator, hand_on, *args)
        return hand_on(*args)

    return at_autograd


def _is_differentiated(name: str, args: Sequence[Tensor | str]) -> bool:
    tensors = args if isinstance(args[-1], Tensor) else args[:-1]
    if forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(it).tangent is not None for it in tensors):
        raise _unsupported(name, 'forward-mode differentiation (jvp)')
    if torch.is_grad_enabled():
        for it in tensors:  # any() takes longer
            if it.requires_grad:
                if torch._C._are_functorch_transforms_active():
                    raise _unsupported(name, 'the transforms of torch.func')
                return True
    return False


def _refuse_vmap(name: str) -> Callable:
    def kernel(*args):
        raise _unsupported(name, 'torch.func.vmap')

    return kernel


def _unsupported(name: str, what: str) -> NotImplementedError:
    text = f'{name} does not support {what}: it is differentiated once, by backward() or torch.autograd.grad'
    return NotImplementedError(text)


class _First(Function):
    @staticmethod
    def forward(ctx, operator: Operator, hand_on: Callable, *args):
        ctx.operator, ctx.backend = operator, args[operator.count :]
        ctx.save_for_backward(*args[: operator.count])
        return hand_on(*args)

    @staticmethod
    def backward(ctx, grad: Tensor):
        grads = ctx.operator.backward(grad, *ctx.saved_tensors, *ctx.backend)
        return None, None, *grads, *(None for _ in ctx.backend)


class _Second(Function):
    """The derivative where autograd watches it (``create_graph``): it may not be differentiated in turn."""

    @staticmethod
    def forward(ctx, operator: Operator, hand_on: Callable, *args):
        ctx.name = operator.name
        return tuple(hand_on(*args))

    @staticmethod
    def backward(ctx, *grads: Tensor):
        raise _unsupported(ctx.name, 'a second derivative')
