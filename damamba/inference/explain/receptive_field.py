"""The effective receptive field: how much each pixel of the picture moves one position of a stage.

Source: Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", arXiv
1701.04128, section 2: the gradient of a position's channels, summed, with respect to the picture.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from damamba.models import DAMamba


def receptive_fields(backbone: DAMamba, inputs: Tensor, cells: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """The gradients' absolute values, summed over colours: [h, w] for each stage's cell, given as (row, column).

    Channels are summed before the stage's layer normalisation: behind it, they sum to nearly the same for any picture.

    Args:
        backbone: in evaluation mode.
        inputs: the picture as the model sees it, [1, 3, h, w].
        cells: one a stage, the first stage first.
    """
    maps: list[Tensor] = []
    stages = list(backbone.stages)[: len(cells)]
    handles = [stage.register_forward_hook(lambda _, __, out: maps.append(out)) for stage in stages]
    try:
        with torch.enable_grad():
            x = inputs.detach().clone().requires_grad_()
            backbone(x)
            return [_gradient(x, stage, cell) for stage, cell in zip(maps, cells, strict=True)]
    finally:
        for handle in handles:
            handle.remove()


def _gradient(x: Tensor, features: Tensor, cell: tuple[int, int]) -> np.ndarray:
    row, column = cell
    (gradient,) = torch.autograd.grad(features[0, :, row, column].sum(), x, retain_graph=True)
    return gradient[0].abs().sum(0).float().cpu().numpy()


def area_of(field: np.ndarray, share: float) -> float:
    """The smallest part of a field [h, w] that holds this share of its sum, from 0 to 1; 0 of an empty field."""
    ordered = np.sort(field, axis=None)[::-1].cumsum(dtype=float)
    if not ordered[-1] > 0:
        return 0.0
    return float(np.searchsorted(ordered, share * ordered[-1] * (1 - 1e-9)) + 1) / field.size
