"""Bilinear sampling as sums of gathered rows, on any device.

A map x (B, H, W, C) with a margin of zeros becomes a table of rows (pixel, group) of D = C/G channels. A sample reads
four of them: left top, right top, left bottom, right bottom. What lies outside reads the margin, so that no corner
needs a mask. There are N = B*H*W*G samples.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 2  # a position of -2 has both its corners in the margin, and so has one of the map's size


class Corners(NamedTuple):
    """Where the samples lie in the table."""

    rows: Tensor  # [N, 4]
    fx: Tensor  # [N] distance from the left corner, in [0, 1)
    fy: Tensor  # [N] distance from the top corner, in [0, 1)

    def weights(self) -> Tensor:  # [N, 4]
        return _products(torch.stack((1 - self.fx, self.fx), dim=1), torch.stack((1 - self.fy, self.fy), dim=1))


def _products(across: Tensor, down: Tensor) -> Tensor:
    """The weights of the four corners from those of the columns and of the rows, both [N, 2]."""
    return (down.unsqueeze(2) * across.unsqueeze(1)).flatten(1)


def find_corners(offset: Tensor) -> Corners:
    """Locate the samples of offset (B, H, W, 2G), float32 or float64, in the table."""
    batch, height, width, groups = *offset.shape[:3], offset.shape[3] // 2
    px, py = _positions(offset)  # [B, H, W, G]
    left, top = px.floor(), py.floor()
    kind = torch.int32 if batch * _wide(height) * _wide(width) * groups < 2**31 else torch.int64
    images = torch.arange(batch, device=offset.device, dtype=kind).view(-1, 1, 1, 1) * _wide(height)
    pixels = ((top.to(kind) + MARGIN + images) * _wide(width)).add_(left.to(kind)).add_(MARGIN)
    rows = pixels.mul_(groups).add_(torch.arange(groups, device=offset.device, dtype=kind)).reshape(-1, 1)
    steps = torch.tensor((0, 1, _wide(width), _wide(width) + 1), device=offset.device, dtype=kind)
    return Corners(rows + steps * groups, (px - left).flatten(), (py - top).flatten())


def _positions(offset: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and rows of the samples, (B, H, W, G); those that do not count lie wholly in the margin."""
    _, height, width, groups = *offset.shape[:3], offset.shape[3] // 2
    shift = offset.unflatten(3, (groups, 2))
    px = shift[..., 0] + torch.arange(width, device=offset.device, dtype=offset.dtype).view(1, 1, -1, 1)
    py = shift[..., 1] + torch.arange(height, device=offset.device, dtype=offset.dtype).view(1, -1, 1, 1)
    return _kept(px, width), _kept(py, height)


def _kept(position: Tensor, size: int) -> Tensor:
    return torch.where(position > -1, position, -MARGIN).clamp_(max=size)  # a NaN is not above -1


def _wide(size: int) -> int:
    return size + 2 * MARGIN


def forward(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x (B, H, W, C) at offset (B, H, W, 2G); see :func:`damamba.ops.adaptive_sample`."""
    corners = find_corners(_compute(offset, x))
    out = F.embedding_bag(corners.rows, _table(x, offset), mode='sum', per_sample_weights=corners.weights())
    return out.view(x.shape).to(x.dtype)


def backward(grad: Tensor, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and offset, of their dtypes."""
    corners = find_corners(_compute(offset, x))
    px, py = _positions(_compute(offset, x))
    inside = (px > -1) & (px < x.shape[2]) & (py > -1) & (py < x.shape[1])
    grad = _compute(grad, x).reshape(inside.numel(), _depth(x, offset))  # [N, D]
    grad = grad.masked_fill(~inside.reshape(-1, 1), 0)  # a fill, not a product: NaN * 0 is NaN
    return _spread(grad, corners, x, offset), _slopes(grad, corners, x, offset)


def _compute(value: Tensor, x: Tensor) -> Tensor:
    return value.to(torch.promote_types(x.dtype, torch.float32))


def _table(x: Tensor, offset: Tensor) -> Tensor:
    batch, height, width, channels = x.shape
    size = batch, _wide(height), _wide(width), channels
    padded = torch.empty(size, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    for edge in (slice(0, MARGIN), slice(-MARGIN, None)):
        padded[:, edge] = 0
        padded[:, :, edge] = 0
    padded[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = x
    return padded.view(-1, _depth(x, offset))  # [rows, D]


def _depth(x: Tensor, offset: Tensor) -> int:
    return x.shape[3] * 2 // offset.shape[3]


def _spread(grad: Tensor, corners: Corners, x: Tensor, offset: Tensor) -> Tensor:
    """The gradient of x: each sample's gradient goes to its corners by their weights."""
    batch, height, width, channels = x.shape
    padded = grad.new_zeros(batch, _wide(height), _wide(width), channels)
    table = padded.view(-1, grad.shape[1])
    for rows, weights in zip(corners.rows.t().long().contiguous(), corners.weights().unbind(1), strict=True):
        table.index_add_(0, rows, grad * weights.unsqueeze(1))
    inner = padded[:, MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    return inner.to(x.dtype, memory_format=torch.contiguous_format, copy=True)


def _slopes(grad: Tensor, corners: Corners, x: Tensor, offset: Tensor) -> Tensor:
    """The gradient of offset: the slope of the sampled value along each axis, times its gradient."""
    table = _table(x, offset)
    values = torch.stack(
        [(grad * table.index_select(0, rows)).sum(dim=1) for rows in corners.rows.t().contiguous()], 1
    )  # [N, 4]
    ones = torch.ones_like(corners.fx)
    step = torch.stack((-ones, ones), dim=1)
    across, down = torch.stack((1 - corners.fx, corners.fx), 1), torch.stack((1 - corners.fy, corners.fy), 1)
    slopes = [(values * weights).sum(dim=1) for weights in (_products(step, down), _products(across, step))]
    return torch.stack(slopes, dim=1).view(offset.shape).to(offset.dtype)
