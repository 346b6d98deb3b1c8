"""The operators as loops, for float64 and autograd: the truth that the stand-in is held against.

Boxes are x1 y1 x2 y2 in pixels; maps are [C, H, W].
"""

import math

import torch
from torch import Tensor


def iou(a: Tensor, b: Tensor, offset: int = 0) -> float:
    def area(x1, y1, x2, y2):
        return max(0.0, x2 - x1 + offset) * max(0.0, y2 - y1 + offset)

    corners = [max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])]
    inter = area(*(float(it) for it in corners))
    union = area(*a.tolist()) + area(*b.tolist()) - inter
    return inter / union if union else 0.0


def nms(boxes: Tensor, scores: Tensor, threshold: float, offset: int = 0) -> list[int]:
    """The boxes that stay, by falling score."""
    kept = []
    for i in scores.sort(descending=True, stable=True).indices.tolist():
        if all(iou(boxes[i], boxes[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


def soft_nms(
    boxes: Tensor, scores: Tensor, threshold: float, sigma: float, min_score: float, method: str, offset: int = 0
) -> list[tuple[int, float]]:
    """The boxes that stay and their lowered scores, by falling score."""
    left, kept = dict(enumerate(scores.tolist())), []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        kept.append((best, left.pop(best)))
        for i in list(left):
            overlap = iou(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                left[i] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                left[i] *= 1 - overlap if method == 'linear' else 0
            if left[i] < min_score:
                del left[i]
    return kept


def sample(maps: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear; what lies outside counts as 0 -> [C]."""
    height, width = maps.shape[1:]
    value = 0 * y * maps[:, 0, 0]
    top, left = math.floor(y.item()), math.floor(x.item())
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                value = value + (1 - (y - row).abs()) * (1 - (x - column).abs()) * maps[:, row, column]
    return value


def roi_align(
    maps: Tensor, rois: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool = True
) -> Tensor:
    """maps [B, C, H, W], rois [R, 5] -> [R, C, *size]; up to a pixel outside the border's values are taken."""
    height, width = maps.shape[2:]
    rows = []
    for image, *box in rois.tolist():
        x1, y1, x2, y2 = (it * scale - 0.5 * aligned for it in box)
        w, h = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
        samples = (ratio or math.ceil(h / size[0]), ratio or math.ceil(w / size[1]))
        bins = []
        for i in range(size[0]):
            for j in range(size[1]):
                total = 0 * maps[0, :, 0, 0]
                for p in range(samples[0]):
                    for q in range(samples[1]):
                        y = y1 + (i + (p + 0.5) / samples[0]) * h / size[0]
                        x = x1 + (j + (q + 0.5) / samples[1]) * w / size[1]
                        if -1 <= y <= height and -1 <= x <= width:
                            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                            total = total + sample(maps[int(image)], maps.new_tensor(y), maps.new_tensor(x))
                bins.append(total / max(samples[0] * samples[1], 1))
        rows.append(torch.stack(bins, dim=1).unflatten(1, size))
    return torch.stack(rows) if rows else maps.new_zeros((0, maps.shape[1], *size))


def deform_conv(maps, offset, weight, mask=None, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """maps [B, C, H, W], offset [B, 2GKK, H', W'], weight [C', C / groups, K, K], mask [B, GKK, H', W'] or None."""
    batch, channels = maps.shape[:2]
    kernel, (height, width) = weight.shape[2], offset.shape[2:]
    deform_groups = offset.shape[1] // (2 * kernel**2)
    shifts = offset.unflatten(1, (deform_groups, kernel, kernel, 2))
    factors = torch.ones_like(shifts[:, :, :, :, 0]) if mask is None else mask.unflatten(1, shifts.shape[1:4])
    outputs = []
    for b in range(batch):
        for row in range(height):
            for column in range(width):
                columns = []
                for c in range(channels):
                    g = c // (channels // deform_groups)
                    for i in range(kernel):
                        for j in range(kernel):
                            y, x = shifts[b, g, i, j, :, row, column]
                            y = y + row * stride - padding + i * dilation
                            x = x + column * stride - padding + j * dilation
                            columns.append(factors[b, g, i, j, row, column] * sample(maps[b, c : c + 1], y, x)[0])
                grouped = torch.stack(columns).view(groups, -1)
                outputs.append((weight.view(groups, len(weight) // groups, -1) @ grouped[..., None]).flatten())
    found = torch.stack(outputs, dim=1).view(len(weight), batch, height, width).transpose(0, 1)
    return found if bias is None else found + bias[:, None, None]


def attend(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """value [B, keys, heads, D], locations [B, Q, heads, L, P, 2] in 0 ... 1 -> [B, Q, heads * D]."""
    rows = []
    for b, q, head in torch.cartesian_prod(*(torch.arange(n) for n in locations.shape[:3])).tolist():
        total, start = 0, 0
        for level, (height, width) in enumerate(shapes):
            maps = value[b, start : start + height * width, head].T.unflatten(1, (height, width))
            start += height * width
            for (x, y), weight in zip(locations[b, q, head, level], weights[b, q, head, level], strict=True):
                total = total + weight * sample(maps, y * height - 0.5, x * width - 0.5)
        rows.append(total)
    return torch.stack(rows).view(*locations.shape[:2], -1)


def focal_loss(logits: Tensor, labels: Tensor, gamma: float, alpha: float, weight: Tensor | None = None) -> Tensor:
    """logits [N, K], labels [N] -> [N, K]."""
    p = logits.sigmoid()
    loss = -(1 - alpha) * p**gamma * (1 - p).log()
    for n, label in enumerate(labels.tolist()):
        if label < logits.shape[1]:
            loss[n, label] = -alpha * (1 - p[n, label]) ** gamma * p[n, label].log()
            loss[n] = loss[n] * (1 if weight is None else weight[label])
    return loss
