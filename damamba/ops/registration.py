"""Makes a backend's forward and backward one operator that autograd, torch.compile, opcheck and FLOP counters know."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


def register(
    name: str,
    inputs: Sequence[str],
    forward: Callable[..., Tensor],
    backward: Callable[..., tuple[Tensor, ...]],
    flops: tuple[int, int],
) -> Callable[..., Tensor]:
    """Return ``torch.ops.damamba.<name>``, which runs ``forward`` and is differentiated by ``backward``.

    The inputs are tensors, and all that is kept for the backward, which is an operator of its own beside it,
    ``<name>_backward``.

    Args:
        name: of the operator, in the namespace ``damamba``.
        inputs: the arguments' names.
        forward: takes the inputs, gives a new contiguous tensor of the first input's shape and dtype.
        backward: takes the output's gradient and the inputs; gives a new contiguous gradient for each input.
        flops: operations for each element of the first input, in forward and backward; a multiply-add is 2.
    """
    tensors = ', '.join(f'Tensor {arg}' for arg in inputs)
    gradients = ', '.join(['Tensor'] * len(inputs))
    operator = torch.library.custom_op(f'damamba::{name}', forward, mutates_args=(), schema=f'({tensors}) -> Tensor')
    derivative = torch.library.custom_op(
        f'damamba::{name}_backward', backward, mutates_args=(), schema=f'(Tensor grad, {tensors}) -> ({gradients})'
    )
    operator.register_fake(lambda *args: _like(args[0]))
    derivative.register_fake(lambda grad, *args: tuple(_like(arg) for arg in args))
    operator.register_autograd(
        lambda ctx, grad: derivative(grad, *ctx.saved_tensors),
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )
    packets = getattr(torch.ops.damamba, name), getattr(torch.ops.damamba, f'{name}_backward')
    for packet, count in zip(packets, flops, strict=True):
        register_flop_formula(packet)(lambda shape, *_, count=count, **__: count * torch.Size(shape).numel())
    return operator


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)
