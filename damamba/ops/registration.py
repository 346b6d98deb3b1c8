"""Makes a backend's forward and backward one operator that autograd, torch.compile, opcheck and FLOP counters know."""

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from damamba.ops.backend import Backend, can_always


def register(operator: str, name: str, module: ModuleType, inputs: Sequence[str], flops: tuple[int, int]) -> Backend:
    """Make a module's functions ``torch.ops.damamba.<operator>_<name>`` and its derivative ``..._backward``.

    The module has ``forward``, which takes the inputs and gives a new contiguous tensor of the first one's shape and
    dtype; ``backward``, which takes the output's gradient and the inputs and gives each a new contiguous gradient;
    and ``why_not``, if there is anything that it can't take. The inputs are all that is kept for the backward.

    Args:
        inputs: the arguments' names; all are tensors.
        flops: operations for each element of the first input, in forward and backward; a multiply-add is 2.
    """
    label = f'{operator}_{name}'
    tensors = ', '.join(f'Tensor {arg}' for arg in inputs)
    gradients = ', '.join(['Tensor'] * len(inputs))
    forward = torch.library.custom_op(
        f'damamba::{label}', module.forward, mutates_args=(), schema=f'({tensors}) -> Tensor'
    )
    backward = torch.library.custom_op(
        f'damamba::{label}_backward',
        module.backward,
        mutates_args=(),
        schema=f'(Tensor grad, {tensors}) -> ({gradients})',
    )
    forward.register_fake(lambda *args: _like(args[0]))
    backward.register_fake(lambda grad, *args: tuple(_like(arg) for arg in args))
    forward.register_autograd(
        lambda ctx, grad: backward(grad, *ctx.saved_tensors),
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )
    for suffix, count in zip(('', '_backward'), flops, strict=True):
        formula = register_flop_formula(getattr(torch.ops.damamba, label + suffix))
        formula(lambda shape, *_, count=count, **__: count * torch.Size(shape).numel())
    return Backend(name, forward, getattr(module, 'why_not', can_always), backward)


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)
