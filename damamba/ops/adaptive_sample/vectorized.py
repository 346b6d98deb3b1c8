"""Bilinear sampling as gathers of whole channel groups, on any device, with a backward of its own.

A map x (B, H, W, C) is read as a table of N = B*H*W*G rows (pixel, group) of D = C/G channels. A sample touches four
rows: corner k of (left top, right top, left bottom, right bottom). Only x and offset are kept for the backward.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class Corners(NamedTuple):
    """The four table rows of each sample, with the interpolation weights along both axes."""

    rows: Tensor  # [4, N] int64, a valid row even where the corner does not count
    counts: Tensor  # [4, N] whether the corner lies on the map and the sample counts
    fx: Tensor  # [N] distance from the left corner, in [0, 1)
    fy: Tensor  # [N] distance from the top corner, in [0, 1)

    def without_outside(self, values: Tensor) -> Tensor:  # [N, D]
        """Zero what belongs to samples that do not count; a fill, since NaN * 0 is NaN."""
        return values.masked_fill(~self.counts.any(dim=0).unsqueeze(1), 0)

    def weights(self) -> Tensor:  # [4, N]
        fx, fy = self.fx, self.fy
        gx, gy = 1 - fx, 1 - fy
        return self._where_counts(torch.stack((gx * gy, fx * gy, gx * fy, fx * fy)))

    def weights_dx(self) -> Tensor:  # [4, N] derivative of the weights by the column
        gy = 1 - self.fy
        return self._where_counts(torch.stack((-gy, gy, -self.fy, self.fy)))

    def weights_dy(self) -> Tensor:  # [4, N] derivative of the weights by the row
        gx = 1 - self.fx
        return self._where_counts(torch.stack((-gx, -self.fx, gx, self.fx)))

    def _where_counts(self, weights: Tensor) -> Tensor:
        return weights.masked_fill_(~self.counts, 0)  # a fill, not a product: a weight may be NaN there


def find_corners(offset: Tensor) -> Corners:
    """Locate the corners of every sample of offset (B, H, W, 2G), float32 or float64."""
    batch, height, width, groups = *offset.shape[:3], offset.shape[3] // 2
    device = offset.device
    shift = offset.reshape(batch, height, width, groups, 2)
    px = shift[..., 0] + torch.arange(width, device=device, dtype=offset.dtype).view(1, 1, -1, 1)  # [B, H, W, G]
    py = shift[..., 1] + torch.arange(height, device=device, dtype=offset.dtype).view(1, -1, 1, 1)
    inside = (px > -1) & (px < width) & (py > -1) & (py < height)  # False for NaN
    px, py = px.masked_fill(~inside, 0), py.masked_fill(~inside, 0)
    left, top = px.floor(), py.floor()
    columns, lines = left.long(), top.long()
    columns = torch.stack((columns, columns + 1, columns, columns + 1))  # [4, B, H, W, G]
    lines = torch.stack((lines, lines, lines + 1, lines + 1))
    counts = inside & (columns >= 0) & (columns < width) & (lines >= 0) & (lines < height)
    images = torch.arange(batch, device=device).view(1, -1, 1, 1, 1)
    pixels = (images * height + lines.clamp_(0, max(height - 1, 0))) * width + columns.clamp_(0, max(width - 1, 0))
    rows = pixels * groups + torch.arange(groups, device=device)
    return Corners(rows.flatten(1), counts.flatten(1), (px - left).flatten(), (py - top).flatten())


class AdaptiveSample(torch.autograd.Function):
    """Forward and backward over the table of (pixel, group) rows."""

    @staticmethod
    def forward(ctx, x: Tensor, offset: Tensor) -> Tensor:
        ctx.save_for_backward(x, offset)
        table, corners = _table(x, offset), find_corners(_compute(offset, x))
        out = F.embedding_bag(
            corners.rows.t().contiguous(),
            table,
            mode='sum',
            per_sample_weights=corners.weights().t().contiguous(),
        )
        return corners.without_outside(out).view(x.shape).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, offset = ctx.saved_tensors
        corners = find_corners(_compute(offset, x))
        grad = corners.without_outside(_table(grad, offset))  # [N, D]
        grad_x = _spread(grad, corners, x) if ctx.needs_input_grad[0] else None
        grad_offset = _slopes(grad, corners, x, offset) if ctx.needs_input_grad[1] else None
        return grad_x, grad_offset


def _compute(value: Tensor, x: Tensor) -> Tensor:
    return value.to(torch.promote_types(x.dtype, torch.float32))


def _table(x: Tensor, offset: Tensor) -> Tensor:
    return _compute(x, x).reshape(-1, x.shape[3] * 2 // offset.shape[3])  # [N, D]


def _spread(grad: Tensor, corners: Corners, x: Tensor) -> Tensor:
    """The gradient of x: each sample's gradient goes to its corners by their weights."""
    grad_x = torch.zeros_like(grad)
    for rows, weights in zip(corners.rows, corners.weights(), strict=True):
        grad_x.index_add_(0, rows, grad * weights.unsqueeze(1))
    return grad_x.view(x.shape).to(x.dtype)


def _slopes(grad: Tensor, corners: Corners, x: Tensor, offset: Tensor) -> Tensor:
    """The gradient of offset: the slope of the sampled value along each axis, times its gradient."""
    table = _table(x, offset)
    values = torch.stack([(grad * table[rows]).sum(dim=1) for rows in corners.rows])  # [4, N]
    values.masked_fill_(~corners.counts, 0)
    slopes = [(values * weights).sum(dim=0) for weights in (corners.weights_dx(), corners.weights_dy())]
    return torch.stack(slopes, dim=1).view(offset.shape).to(offset.dtype)


def adaptive_sample(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x (B, H, W, C) at offset (B, H, W, 2G); see :func:`damamba.ops.adaptive_sample`."""
    return AdaptiveSample.apply(x, offset)
