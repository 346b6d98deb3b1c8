"""Bilinear sampling as sums of gathered rows, on any device.

A map x (B, H, W, C) is read as a table of rows (pixel, group) of D = C/G channels. A sample reads four of them, its
corners: two rows of the map by two columns. There are N = B*H*W*G samples.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from damamba.ops.backend import can_always

why_not = can_always


class Axis(NamedTuple):
    """Both neighbours of each sample along one axis, [N, 2]; the nearest one, where the map has none."""

    index: Tensor
    weight: Tensor  # 0 for one that is missing
    slope: Tensor  # the weight's derivative by the position


class Samples(NamedTuple):
    """Where the samples lie."""

    rows: Tensor  # [N, 4] of the table
    across: Axis
    down: Axis
    outside: Tensor  # [N] whether a sample does not count

    def weights(self) -> Tensor:
        return _corners(self.down.weight, self.across.weight)


def _corners(down: Tensor, across: Tensor) -> Tensor:
    """The products of two axes, [N, 4]."""
    return (down.unsqueeze(2) * across.unsqueeze(1)).flatten(1)


def locate(offset: Tensor) -> Samples:
    """Find the samples of offset (B, H, W, 2G), float32 or float64."""
    batch, height, width, groups = *offset.shape[:3], offset.shape[3] // 2
    image, line, column, group = (torch.arange(n, device=offset.device) for n in (batch, height, width, groups))
    dx, dy = offset.unflatten(3, (groups, 2)).unbind(4)
    px, py = dx + column.view(-1, 1), dy + line.view(-1, 1, 1)
    outside = ((px > -1) & (px < width) & (py > -1) & (py < height)).logical_not_()  # NaN is outside
    across = _neighbours(px.masked_fill_(outside, -1).flatten(), width)
    down = _neighbours(py.masked_fill_(outside, -1).flatten(), height)
    origin = (image.view(-1, 1, 1) * (height * width * groups) + group).expand(batch, height * width, groups).flatten()
    starts = down.index * (width * groups) + origin.unsqueeze(1)  # of the map's rows
    rows = (starts.unsqueeze(2) + (across.index * groups).unsqueeze(1)).flatten(1)
    return Samples(rows, across, down, outside.flatten())


def _neighbours(position: Tensor, size: int) -> Axis:
    """Of every position [N], each from -1 to less than size."""
    first = position.floor()
    fraction = position - first
    index = torch.stack((first, first + 1), dim=1).long()
    there = (index >= 0) & (index < size)
    slope = torch.arange(-1, 2, 2, dtype=position.dtype, device=position.device) * there  # -1, 1
    return Axis(index.clamp_(0, max(size - 1, 0)), torch.stack((1 - fraction, fraction), dim=1) * there, slope)


def forward(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x (B, H, W, C) at offset (B, H, W, 2G); see :func:`damamba.ops.adaptive_sample`."""
    samples = locate(_compute(offset, x))
    weights = samples.weights()
    table = F.pad(_table(x, offset), (0, 0, 0, 1))  # a row of zeros: corners of weight 0 are read there
    rows = samples.rows.masked_fill_(weights == 0, len(table) - 1)
    out = F.embedding_bag(rows, table, mode='sum', per_sample_weights=weights)
    return torch.ops.aten._unsafe_view(out, x.shape).to(x.dtype)  # to torch it is no view, and may be written to


def backward(grad: Tensor, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and offset, of their dtypes."""
    samples = locate(_compute(offset, x))
    across, down, rows = samples.across, samples.down, samples.rows.t().contiguous()  # [4, N]
    grad, table = _table(grad, offset), _table(x, offset)
    products = torch.stack([(grad * table.index_select(0, corner)).sum(dim=1) for corner in rows], dim=1)
    slopes = _corners(down.weight, across.slope), _corners(down.slope, across.weight)
    doffset = torch.stack([(products * slope).sum(dim=1) for slope in slopes], dim=1)
    doffset.masked_fill_(samples.outside.unsqueeze(1), 0)  # NaN times 0 may be there
    dx = _spread(grad, rows, samples.weights())
    return dx.view(x.shape).to(x.dtype), doffset.view(offset.shape).to(offset.dtype)


def _spread(grad: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """The gradient of the table: each sample's gradient goes to its corners by their weights."""
    total = torch.zeros_like(grad)
    for corner, weight in zip(rows, weights.split(1, dim=1), strict=True):
        total.index_add_(0, corner, (grad * weight).masked_fill_(weight == 0, 0))
    return total


def _compute(value: Tensor, x: Tensor) -> Tensor:
    return value.to(torch.promote_types(x.dtype, torch.float32))


def _table(x: Tensor, offset: Tensor) -> Tensor:
    return _compute(x, x).reshape(-1, x.shape[3] * 2 // offset.shape[3])  # [N, D]
