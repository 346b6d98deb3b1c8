"""1x1 convolutions and their derivatives as matrix products of rows, for a training in float32 on the CPU.

oneDNN prepares less for an inner product than for a convolution, and takes a transposed weight as it is; a transposed
input is copied first. Which product is the fastest where was measured at the shapes of the four stages, on 2 cores with
AVX-512. Rows are [..., C], those that are not contiguous are copied; weights [O, C, 1, 1].
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from damamba.models import onednn

OPERATORS = 'mkldnn::_linear_pointwise', 'mkldnn::_linear_pointwise.binary'
FEW = 2048  # rows, up to which it takes less time to copy them transposed than oneDNN saves


def forward(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., C] -> [..., O]."""
    return _linear(x, weight.flatten(1), bias)


def input_gradient(dy: Tensor, weight: Tensor, plus: Tensor | None = None) -> Tensor:
    """[..., O] -> [..., C], and ``plus`` [..., C] added to it."""
    weight = weight.flatten(1).t()
    if plus is None:
        return _linear(dy, weight)
    if onednn.has(*OPERATORS):
        return torch.ops.mkldnn._linear_pointwise.binary(dy, plus, weight, None, 'add')
    return plus + F.linear(dy, weight)


def weight_gradient(dy: Tensor, x: Tensor) -> Tensor:
    """[..., O] and [..., C] -> [O, C, 1, 1]."""
    dy, x = dy.flatten(0, -2), x.flatten(0, -2)
    if dy.shape[1] >= x.shape[1]:
        dweight = dy.t() @ x
    elif len(x) <= FEW:
        dweight = _linear(dy.t(), x.t())
    else:
        dweight = (x.t() @ dy).t().contiguous()
    return dweight[:, :, None, None]


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if onednn.has(*OPERATORS):
        return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, 'none', [], '')
    return F.linear(x, weight, bias)
