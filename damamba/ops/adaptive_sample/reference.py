"""The truth: bilinear sampling as the obvious loop over pixels and groups, differentiated by autograd."""

import math

import torch
from torch import Tensor
from torch.autograd import Function

from damamba.ops.backend import by_autograd, can_always

why_not = can_always


def forward(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x (B, H, W, C) at offset (B, H, W, 2G); see :func:`damamba.ops.adaptive_sample`."""
    batch, height, width, channels = x.shape
    groups = offset.shape[3] // 2
    size = channels // groups
    compute = torch.promote_types(x.dtype, torch.float32)
    values, shifts = x.to(compute), offset.to(compute)
    out = []
    for b in range(batch):
        for h in range(height):
            for w in range(width):
                for g in range(groups):
                    px = w + shifts[b, h, w, 2 * g]
                    py = h + shifts[b, h, w, 2 * g + 1]
                    out.append(_bilinear(values[b, :, :, g * size : (g + 1) * size], px, py))
    if not out:
        return x + offset.sum().to(x.dtype)  # nothing to sample; keeps the graph
    return torch.stack(out).view(batch, height, width, channels).to(x.dtype, copy=True)


def _bilinear(plane: Tensor, px: Tensor, py: Tensor) -> Tensor:
    """Read plane (H, W, D) at column px and row py, zero outside."""
    height, width, _ = plane.shape
    value = plane[:0, 0].sum(dim=0) + torch.stack((px, py))[:0].sum()  # zeros that keep the graph
    if not (_counts(px, width) and _counts(py, height)):
        return value
    left, top = math.floor(px.item()), math.floor(py.item())
    for row, weight_y in ((top, 1 - (py - top)), (top + 1, py - top)):
        for column, weight_x in ((left, 1 - (px - left)), (left + 1, px - left)):
            if 0 <= row < height and 0 <= column < width:
                weight = weight_y * weight_x
                value = value + (
                    weight * plane[row, column] if weight != 0 else _Beside.apply(weight, plane[row, column])
                )
    return value


class _Beside(Function):
    """A corner of weight 0: it adds nothing and gets no gradient, whatever it holds; but the weight has its slope."""

    @staticmethod
    def forward(ctx, weight: Tensor, corner: Tensor) -> Tensor:
        ctx.save_for_backward(corner)
        return torch.zeros_like(corner)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return (grad * ctx.saved_tensors[0]).sum(), None


def _counts(position: Tensor, size: int) -> bool:
    return -1 < position.item() < size


backward = by_autograd(forward)
