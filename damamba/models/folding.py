"""Convolutions at inference take in the normalisation beside them, then a scale and a shift, and the GELU behind."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import conv_flop_count, register_flop_formula

ONEDNN = 'mkldnn::_convolution_pointwise'  # private to torch


def conv_gelu(x: Tensor, weight: Tensor, bias: Tensor, stride: int = 1) -> Tensor:
    """GELU of a 1x1 or 3x3 convolution, without gradients: in one pass where oneDNN takes it, else in place."""
    padding = weight.shape[2] // 2
    if _has_onednn(x):
        sizes = [padding] * 2, [stride] * 2, [1, 1]
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *sizes, 1, 'gelu', [], 'none')
    return torch.ops.aten.gelu_(F.conv2d(x, weight, bias, stride, padding))


def _has_onednn(x: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.is_autocast_enabled('cpu'):
        return False
    plain = x.device.type == 'cpu' and x.dtype == torch.float32
    return plain and torch.backends.mkldnn.enabled and _has_kernel(ONEDNN)


@cache
def _has_kernel(operator: str) -> bool:
    """Whether this torch has it, and for the CPU."""
    try:
        return torch._C._dispatch_has_kernel_for_dispatch_key(operator, 'CPU')
    except RuntimeError:  # it has no such operator
        return False


if hasattr(torch.ops.mkldnn, '_convolution_pointwise'):

    @register_flop_formula(torch.ops.mkldnn._convolution_pointwise)
    def _count(x: torch.Size, weight: torch.Size, *others, out_shape: torch.Size, **more) -> int:
        """FLOP counters know torch's own convolutions alone."""
        return conv_flop_count(list(x), list(weight), list(out_shape))


def can_fold(norm: nn.Module) -> bool:
    """Whether this normalisation is only a scale and a shift now: in evaluation, and without gradients."""
    if torch.is_grad_enabled():
        return False
    return isinstance(norm, nn.Identity) or (not norm.training and norm.running_var is not None)


def folded(conv: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of norm(conv(x)) as one convolution."""
    if isinstance(norm, nn.Identity):
        return conv.weight, conv.bias
    scale, shift = _affine(norm)
    return conv.weight * scale.view(-1, 1, 1, 1), conv.bias * scale + shift


def folded_before(norm: nn.Module, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of conv(norm(x)), conv being 1x1, as one convolution."""
    if isinstance(norm, nn.Identity):
        return conv.weight, conv.bias
    scale, shift = _affine(norm)
    return conv.weight * scale.view(1, -1, 1, 1), conv.bias + conv.weight.flatten(1) @ shift


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias
