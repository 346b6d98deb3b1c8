"""What the kernels of :mod:`damamba.ops.adaptive_sample.numba_kernels` are given."""

from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from damamba.ops.threads import WIDTH, missing, run


def why_not(x: Tensor, offset: Tensor) -> str | None:
    """Say why the kernels can't run these arguments, or return None."""
    if x.device.type != 'cpu':
        return f'it is for the CPU, and the map is on {x.device.type}'
    if x.dtype == torch.float64:
        return 'it computes in float32, the map is float64'
    return missing()


def _kernels() -> ModuleType:
    """Imported when they are needed: Numba takes a while to load, and longer to compile."""
    from damamba.ops.adaptive_sample import numba_kernels

    return numba_kernels


def forward(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x (B, H, W, C) at offset (B, H, W, 2G); see :func:`damamba.ops.adaptive_sample`."""
    wide, groups = _wide(x, offset), offset.shape[3] // 2
    y = torch.empty(wide.shape)
    run(_kernels().forward, wide, offset.float().contiguous(), y, *wide.shape, groups)
    return _narrow(y, x, groups)


def backward(dy: Tensor, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and offset, of their dtypes."""
    wide, groups = _wide(x, offset), offset.shape[3] // 2
    dx, doffset = torch.zeros(wide.shape), torch.zeros(offset.shape)
    inputs = _wide(dy, offset), wide, offset.float().contiguous()
    run(_kernels().backward, *inputs, dx, doffset, *wide.shape, groups)
    return _narrow(dx, x, groups), doffset.to(offset.dtype)


def _wide(x: Tensor, offset: Tensor) -> Tensor:
    """In contiguous float32, with channels of zeros in each group up to a multiple of WIDTH."""
    groups = offset.shape[3] // 2
    more = -(x.shape[3] // groups) % WIDTH
    wide = F.pad(x.float().unflatten(3, (groups, -1)), (0, more)).flatten(3) if more else x.float()
    return wide.contiguous()


def _narrow(value: Tensor, x: Tensor, groups: int) -> Tensor:
    """The channels and the dtype of x."""
    if value.shape != x.shape:
        value = value.unflatten(3, (groups, -1))[..., : x.shape[3] // groups].flatten(3)
    return value.to(x.dtype)
