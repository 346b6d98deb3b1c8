"""The derivative of a 1x1 convolution, for a training in float32 on the CPU. Maps are [B, C, H, W], channels-last.

Which way is the fastest was measured at the shapes of the four stages, on 2 cores with AVX-512. oneDNN's inner product
would be as fast as any, but is out: until 3.11 it may run with the stack pointer in the heap, which a signal that comes
meanwhile, such as the end of a data loader's worker, overwrites (oneDNN's issue 4845).
"""

import torch
from torch import Tensor

aten = torch.ops.aten
FEW = 1024  # rows, up to which the product with the narrower side first is faster than the other one and a copy


def input_gradient(dy: Tensor, x: Tensor, weight: Tensor, plus: Tensor | None = None) -> Tensor:
    """The gradient of the input x, from that of the output [B, O, H, W]; weight [O, C, 1, 1].

    Args:
        plus: a map like x, which is added to the gradient, and whose memory that may take.
    """
    if weight.shape[0] != weight.shape[1]:
        how = None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, False, False]
        dx = aten.convolution_backward(dy, x, weight, *how)[0]
        return dx if plus is None else plus.add_(dx)
    matrix = weight.flatten(1)  # a small one: oneDNN's preparations take longer than the product gains
    dx = _rows(dy) @ matrix if plus is None else _rows(plus).addmm_(_rows(dy), matrix)
    return dx.view(x.shape[0], *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)


def weight_gradient(dy: Tensor, x: Tensor) -> Tensor:
    """The gradient of the weight [O, C, 1, 1], from that of the output [B, O, H, W] and the input [B, C, H, W]."""
    dy, x = _rows(dy), _rows(x)
    direct = dy.shape[1] >= x.shape[1] or len(x) <= FEW
    dweight = dy.t() @ x if direct else (x.t() @ dy).t().contiguous()
    return dweight[:, :, None, None]


def _rows(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B * H * W, C]."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)
