"""The operators of `mmcv._ext` without compiling: by torchvision and plain torch, forward and gradient.

This file is loaded under the name `mmcv._ext` (see the package). Names, arguments and the tensors that results are
written into are those that the wrappers in `mmcv.ops` use. Every operator computes in float32 at least, whatever it is
given, and takes maps in any memory layout. Those that are missing here raise when they are called. torch.compile leaves
all of them alone: it would lose what they write into tensors of the wrappers.

Shapes: N boxes [N, 4], x1 y1 x2 y2 in pixels; R RoIs [R, 5], the picture's number before the box; maps [B, C, H, W];
K x K kernels in G groups, with offsets [B, 2GKK, H, W] (y before x) and, modulated, factors [B, GKK, H, W].
"""

from collections.abc import Callable
from functools import partial
from typing import NoReturn

import numpy as np
import torch
import torchvision  # noqa: F401  registers torch.ops.torchvision
from mmcv.utils import ext_loader
from torch import Tensor
from torch.compiler import disable
from torch.nn import functional

from damamba.mmcv_ops import compile_command

ext_loader.check_ops_exist = lambda: True  # mmcv's asks `pkgutil.find_loader`, which Python 3.14 no longer has


def get_compiler_version() -> str:
    return 'torchvision'


def get_compiling_cuda_version() -> str:
    return 'not available'


def _missing(what: str, *args, **kwargs) -> NoReturn:
    raise NotImplementedError(
        f"mmcv's {what} is not among the operators that torchvision stands in for: compile onedl-mmcv, with a C++ "
        f"compiler and, for a GPU, an nvcc of torch's CUDA ({torch.version.cuda}): `{compile_command()}`."
    )


def __getattr__(name: str) -> Callable:
    """Any other operator: it is there, as `mmcv.ops` asks when it is imported, and raises when it is called."""
    if name.startswith('__'):
        raise AttributeError(name)
    return partial(_missing, name)


def _widened(*tensors: Tensor) -> list[Tensor]:
    """The tensors in one floating type that holds them all, float32 or float64; others are refused."""
    dtype = torch.float32
    for tensor in tensors:
        if not tensor.is_floating_point():
            raise TypeError(f"mmcv's operators take floating-point tensors, got one of {tensor.dtype}")
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def _derivative(operator: Callable, *args) -> tuple[Tensor, ...]:
    """A derivative that a GPU adds up in any order: where torch is to be deterministic, and would raise, it is computed
    on the CPU."""
    device = args[0].device
    strict = torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    if strict and device.type != 'cpu':
        args = [it.cpu() if isinstance(it, Tensor) else it for it in args]
    found = operator(*args)
    return tuple(it.to(device) for it in (found if isinstance(found, tuple) else (found,)))


# Suppression -------------------------------------------------------------------------------------------------------


@disable
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """The indices [K] of the boxes that stay, by falling score, the first of equal ones first.

    Args:
        offset: 1 where x2 and y2 are the last pixels within a box, so that it is x2 - x1 + 1 wide.
    """
    boxes, scores = _widened(boxes if boxes.is_floating_point() else boxes.float(), scores)
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, 1, 1])
    threshold = torch.tensor(iou_threshold, dtype=boxes.dtype).item()  # so that an IoU of just this is not above it
    return torch.ops.torchvision.nms(boxes, scores, threshold)


@disable
def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the scores of what overlaps, in place of leaving it out (Soft-NMS, arXiv 1704.04503, section 3).

    Args:
        dets: [N, 5] on the CPU; the boxes that stay and their scores are written to its beginning.
        method: 0 leaves out, 1 lowers linearly, 2 by a Gaussian of width ``sigma``.

    Returns:
        the indices [K] of the boxes that stay, by falling score, the first of equal ones first.
    """
    kept, final = [], []
    left = np.arange(len(boxes))
    corners, score = (it.cpu().numpy() for it in _widened(boxes, scores))
    while len(left):
        best = np.where(np.isnan(score), -np.inf, score).argmax()
        kept.append(left[best])
        final.append(score[best])
        others = np.arange(len(left)) != best
        overlap = _overlaps(corners[best], corners[others], offset)
        left, corners = left[others], corners[others]
        score = score[others] * _factors(overlap, iou_threshold, sigma, method)
        stays = ~(score < min_score)
        left, corners, score = left[stays], corners[stays], score[stays]
    kept = torch.from_numpy(np.array(kept, dtype=np.int64))
    dets[: len(kept), :4] = boxes[kept]
    dets[: len(kept), 4] = torch.tensor(np.array(final))
    return kept


def _overlaps(box: np.ndarray, others: np.ndarray, offset: int) -> np.ndarray:
    """The IoU of a box [4] with others [N, 4]."""
    size = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]) + offset
    inter = size.clip(0).prod(1)
    areas = [(it[..., 2:] - it[..., :2] + offset).prod(-1) for it in (box, others)]
    with np.errstate(invalid='ignore', divide='ignore'):  # two empty boxes: not a number, below any threshold
        return inter / (areas[0] + areas[1] - inter)


def _factors(overlap: np.ndarray, threshold: float, sigma: float, method: int) -> np.ndarray:
    if method == 2:
        return np.nan_to_num(np.exp(-(overlap**2) / overlap.dtype.type(sigma)), nan=1.0)
    lowered = 1 - overlap if method == 1 else np.zeros_like(overlap)
    return np.where(overlap >= overlap.dtype.type(threshold), lowered, np.ones_like(overlap))


# RoIAlign ----------------------------------------------------------------------------------------------------------


@disable
def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Maps [B, C, H, W] -> output [R, C, height, width] (Mask R-CNN, arXiv 1703.06870, section 3)."""
    if pool_mode == 0:
        _missing("roi_align with pool_mode='max'")
    maps, rois = _widened(input, rois)
    if rois.device.type == 'cpu' and not rois.isfinite().all():  # torchvision would read beyond the map
        raise ValueError('roi_align takes finite RoIs, and one has a coordinate that is infinite or not a number')
    size = aligned_height, aligned_width
    output.copy_(torch.ops.torchvision.roi_align(maps, rois, spatial_scale, *size, sampling_ratio, aligned))


@disable
def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """The derivative [B, C, H, W] with respect to the maps."""
    grad, rois = _widened(grad_output, rois)
    sizes = aligned_height, aligned_width, *grad_input.shape
    operator = torch.ops.torchvision._roi_align_backward
    (found,) = _derivative(operator, grad, rois, spatial_scale, *sizes, sampling_ratio, aligned)
    grad_input.copy_(found)


# Deformable convolution: arXiv 1703.06211, section 2.1; modulated: arXiv 1811.11168, section 3.2 --------------------


@disable
def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **layout: int
) -> None:
    """Maps [B, C, H, W] -> output [B, C', H', W']."""
    maps, weight, offset = _widened(input, weight, offset)
    output.copy_(torch.ops.torchvision.deform_conv2d(*_plain(maps, weight, offset), *_named(layout), False))


@disable
def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **layout: int,
) -> None:
    """The derivatives with respect to the maps and the offsets."""
    grad, maps, weight, offset = _widened(grad_output, input, weight, offset)
    found = _deform_conv_derivatives(grad, *_plain(maps, weight, offset), *_named(layout), False)
    grad_input.copy_(found[0])
    grad_offset.copy_(found[2])


@disable
def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **layout: int,
) -> None:
    """The derivative with respect to the weights, times ``scale``."""
    grad, maps, weight, offset = _widened(grad_output, input, grad_weight, offset)
    found = _deform_conv_derivatives(grad, *_plain(maps, weight, offset), *_named(layout), False)
    grad_weight.copy_(found[1] * scale)


@disable
def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **layout: int,
) -> None:
    """Maps [B, C, H, W] -> output [B, C', H', W']."""
    tensors = _widened(input, weight, offset, mask, bias if with_bias else weight.new_zeros(len(weight)))
    output.copy_(torch.ops.torchvision.deform_conv2d(*tensors, *_spelled_out(layout), True))


@disable
def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **layout: int,
) -> None:
    """The derivatives with respect to all that goes in."""
    bias = bias if with_bias else weight.new_zeros(len(weight))
    tensors = _widened(grad_output, input, weight, offset, mask, bias)
    found = _deform_conv_derivatives(*tensors, *_spelled_out(layout), True)
    outputs = (grad_input, grad_weight, grad_offset, grad_mask, grad_bias)
    for output, value in zip(outputs[: 4 + with_bias], found, strict=False):
        output.copy_(value)


def _deform_conv_derivatives(*args) -> tuple[Tensor, ...]:
    """With respect to the maps, the weights, the offsets, the factors and the bias."""
    return _derivative(torch.ops.torchvision._deform_conv2d_backward, *args)


def _plain(maps: Tensor, weight: Tensor, offset: Tensor) -> tuple[Tensor, ...]:
    """With what torchvision takes in place of factors and a bias."""
    return maps, weight, offset, maps.new_zeros(len(maps), 1), maps.new_zeros(len(weight))


def _named(layout: dict[str, int]) -> tuple[int, ...]:
    """Strides, paddings, dilations and groups in torchvision's order, from the names of deformable convolution."""
    names = ('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group')
    return tuple(layout[name] for name in names)


def _spelled_out(layout: dict[str, int]) -> tuple[int, ...]:
    """The same from the names of modulated deformable convolution."""
    pairs = [f'{name}_{axis}' for name in ('stride', 'pad', 'dilation') for axis in 'hw']
    return tuple(layout[name] for name in (*pairs, 'group', 'deformable_group'))


# Deformable attention: arXiv 2010.04159, section 4.1 -----------------------------------------------------------------


@disable
def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Value [B, keys, heads, D], locations [B, Q, heads, L, P, 2] in 0 ... 1, weights [B, Q, heads, L, P]
    -> [B, Q, heads * D]."""
    tensors = _widened(value, sampling_locations, attention_weights)
    return _attend(value_spatial_shapes, *tensors).to(value.dtype)


@disable
def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """The derivatives with respect to value, locations and weights."""
    grad, *tensors = _widened(grad_output, value, sampling_locations, attention_weights)
    found = _derivative(_attend_derivatives, grad, value_spatial_shapes, *tensors)
    for output, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), found, strict=True):
        output.copy_(gradient)


def _attend_derivatives(grad: Tensor, shapes: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        return torch.autograd.grad(_attend(shapes, *tensors), tensors, grad)


def _attend(shapes: Tensor, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """mmcv's own formula, which it takes on the CPU."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)


# Focal loss: arXiv 1708.02002, section 3 -----------------------------------------------------------------------------


@disable
def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Logits [N, K], labels [N] (K: background) -> the losses [N, K]; ``weight`` [K], if not empty, of each label."""
    (logits,) = _widened(input)
    p, q = logits.sigmoid(), (-logits).sigmoid()
    positive = -alpha * q**gamma * functional.logsigmoid(logits)
    negative = -(1 - alpha) * p**gamma * functional.logsigmoid(-logits)
    output.copy_(_by_label(positive, negative, target, weight))


@disable
def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """The derivatives of the losses."""
    (logits,) = _widened(input)
    p, q = logits.sigmoid(), (-logits).sigmoid()
    positive = alpha * q**gamma * (gamma * p * functional.logsigmoid(logits) - q)
    negative = -(1 - alpha) * p**gamma * (gamma * q * functional.logsigmoid(-logits) - p)
    grad_input.copy_(_by_label(positive, negative, target, weight))


def _by_label(positive: Tensor, negative: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Of each logit what holds for its label, times the label's weight (1 for the background)."""
    classes = torch.arange(positive.shape[1], device=target.device)
    chosen = torch.where(target[:, None] == classes, positive, negative)
    if not len(weight):
        return chosen
    return chosen * functional.pad(weight.to(chosen), (0, 1), value=1.0)[target][:, None]
