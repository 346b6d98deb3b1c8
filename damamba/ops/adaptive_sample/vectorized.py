"""Bilinear sampling as sums of gathered rows, on any device.

A map x (B, H, W, C) is read as a table of rows (pixel, group) of D = C/G channels. A sample reads four of them, two
columns by two rows of the map. There are N = B*H*W*G samples.
"""

from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from damamba.ops.backend import can_always

why_not = can_always


class Axis(NamedTuple):
    """One of the two neighbours of each sample along one axis, all [N]; the nearest one, where the map has none."""

    index: Tensor  # int32 or int64
    missing: Tensor
    weight: Tensor  # 0 where it is missing
    sign: int  # of the weight's derivative by the position, where it is not

    def slope(self) -> Tensor:
        return torch.full_like(self.weight, self.sign).masked_fill_(self.missing, 0)


class Samples(NamedTuple):
    """Where the samples lie."""

    rows: Tensor  # [N, 4] of the table
    across: tuple[Axis, Axis]
    down: tuple[Axis, Axis]
    outside: Tensor  # [N] whether a sample does not count

    def weights(self) -> Tensor:  # [N, 4]
        return torch.stack([j.weight * i.weight for j in self.down for i in self.across], dim=1)


def locate(offset: Tensor) -> Samples:
    """Find the samples of offset (B, H, W, 2G), float32 or float64."""
    batch, height, width, groups = *offset.shape[:3], offset.shape[3] // 2
    kind = torch.int32 if batch * height * width * groups < 2**31 else torch.int64
    shift = offset.unflatten(3, (groups, 2))
    px = shift[..., 0] + torch.arange(width, device=offset.device, dtype=offset.dtype).view(1, 1, -1, 1)
    py = shift[..., 1] + torch.arange(height, device=offset.device, dtype=offset.dtype).view(1, -1, 1, 1)
    outside = ((px > -1) & (px < width) & (py > -1) & (py < height)).logical_not_()  # NaN is outside
    across = _neighbours(px.masked_fill_(outside, -1).flatten(), width, kind)
    down = _neighbours(py.masked_fill_(outside, -1).flatten(), height, kind)
    image = torch.arange(batch, device=offset.device, dtype=kind).mul_(height * width)
    group = torch.arange(groups, device=offset.device, dtype=kind)
    origin = (image.view(-1, 1, 1) * groups + group).expand(batch, height * width, groups).flatten()
    columns = [i.index * groups + origin for i in across]
    lines = [j.index * (width * groups) for j in down]
    rows = torch.stack([line + column for line in lines for column in columns], dim=1)
    return Samples(rows, across, down, outside.flatten())


def _neighbours(position: Tensor, size: int, kind: torch.dtype) -> tuple[Axis, Axis]:
    """Both neighbours of every position [N], each from -1 to less than size."""
    first = position.floor()
    fraction = position - first
    index = first.to(kind)
    before, last = first < 0, first == size - 1
    return (
        Axis(index.clamp(min=0), before, (1 - fraction).masked_fill_(before, 0), -1),
        Axis((index + 1).clamp_(max=max(size - 1, 0)), last, fraction.masked_fill_(last, 0), 1),
    )


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
    grad = _table(grad, offset)
    rows = samples.rows.t().long().contiguous()  # [4, N]
    return _spread(grad, rows, samples.weights(), x), _slopes(grad, rows, samples, x, offset)


def _compute(value: Tensor, x: Tensor) -> Tensor:
    return value.to(torch.promote_types(x.dtype, torch.float32))


def _table(x: Tensor, offset: Tensor) -> Tensor:
    return _compute(x, x).reshape(-1, x.shape[3] * 2 // offset.shape[3])  # [N, D]


def _spread(grad: Tensor, rows: Tensor, weights: Tensor, x: Tensor) -> Tensor:
    """The gradient of x: each sample's gradient goes to its corners by their weights."""
    total = torch.zeros_like(grad)
    for corner, weight in zip(rows, weights.unbind(1), strict=True):
        weight = weight.unsqueeze(1)
        total.index_add_(0, corner, (grad * weight).masked_fill_(weight == 0, 0))
    return total.view(x.shape).to(x.dtype)


def _slopes(grad: Tensor, rows: Tensor, samples: Samples, x: Tensor, offset: Tensor) -> Tensor:
    """The gradient of offset: the slope of the sampled value along each axis, times its gradient."""
    table, down, across = _table(x, offset), samples.down, samples.across
    values = [(grad * table.index_select(0, corner)).sum(dim=1) for corner in rows]
    corners = list(zip(values, product(down, across), strict=True))
    dx = sum(value * j.weight * i.slope() for value, (j, i) in corners)
    dy = sum(value * j.slope() * i.weight for value, (j, i) in corners)
    slopes = torch.stack((dx, dy), dim=1).masked_fill_(samples.outside.unsqueeze(1), 0)  # NaN times 0 may be there
    return slopes.view(offset.shape).to(offset.dtype)
