"""Mixed precision: which of the two half types, and how to train in one where MMEngine does not."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from damamba.types import name_of

WRAPPERS = ('OptimWrapper', 'AmpOptimWrapper', 'Bfloat16OptimWrapper')


class Bfloat16OptimWrapper(OptimWrapper):
    """Trains under bfloat16 autocast on any device; MMEngine's AmpOptimWrapper can't be built without a GPU.

    bfloat16 has the range of float32, so the loss needs no scale.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield


def half_type() -> str:
    """bfloat16, unless this machine's GPU only emulates it."""
    emulated = torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False)
    return 'float16' if emulated else 'bfloat16'


def use_amp(wrapper: dict) -> None:
    """Turn mixed precision on in the config's ``optim_wrapper``, whose type is in ``WRAPPERS``; what it says stays."""
    if name_of(wrapper) == 'Bfloat16OptimWrapper':
        return
    wrapper['type'] = 'AmpOptimWrapper'
    wrapper.setdefault('dtype', half_type())
    wrapper.setdefault('loss_scale', dict(enabled=False) if wrapper['dtype'] == 'bfloat16' else 'dynamic')


def fit_amp(cfg: Config) -> str | None:
    """Make a config's mixed precision run on this machine, in place; return which one it is, if any."""
    wrapper = cfg.get('optim_wrapper') or {}
    kind, device = name_of(wrapper), get_device()
    if kind == 'AmpOptimWrapper' and device in ('cpu', 'mps'):
        kind = wrapper['type'] = 'Bfloat16OptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(key, None)
    dtypes = {'AmpOptimWrapper': wrapper.get('dtype') or 'float16', 'Bfloat16OptimWrapper': 'bfloat16'}
    place = 'GPU' if device == 'cuda' else device.upper()
    return f'Mixed precision in {dtypes[kind]} on the {place}.' if kind in dtypes else None
