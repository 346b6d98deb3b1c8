"""The DAMamba backbone: a convolutional stem, four stages of blocks, a feature map after each.

Source: DAMamba, arXiv 2502.12627. Names and shapes of the state dict are those of the published weights.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from damamba.checkpoint import load_backbone
from damamba.models import by_hand
from damamba.models.drop_path import DropPath, take
from damamba.models.folding import can_fold
from damamba.models.layers import (
    ArgumentError,
    Downsample,
    FeedForward,
    LayerNorm2d,
    ResidualDepthwiseConv,
    Stem,
    build_norm,
    layer_norm_2d,
)
from damamba.models.lean import Branches, Conv, lean
from damamba.models.mixer import GROUP_CHANNELS, Mixer
from damamba.models.strips import Last, in_strips
from damamba.ops import adaptive_sample


@dataclass(frozen=True)
class Arch:
    """A variant: one number per stage, and the rate of drop path at the last block."""

    depths: Sequence[int]
    dims: Sequence[int]  # each divisible by 16
    ffn_ratios: Sequence[float] = (4, 4, 3, 3)
    layer_scale: Sequence[bool] = (False, False, False, False)
    drop_path_rate: float = 0.0

    def __post_init__(self):
        for name in ('depths', 'dims', 'ffn_ratios', 'layer_scale'):
            value = getattr(self, name)
            if not isinstance(value, (list, tuple)):
                raise ArgumentError(f'DAMamba: arch {name} must be a list with one value for each stage, got {value!r}')
            if len(value) != len(self.depths):
                raise ArgumentError(
                    f'DAMamba: arch {name} must have one value for each of the {len(self.depths)} depths'
                )
        if not self.depths or not all(isinstance(depth, int) and depth > 0 for depth in self.depths):
            raise ArgumentError(f'DAMamba: arch depths must be whole numbers of at least 1, got {self.depths}')
        _checked_rate(self.drop_path_rate)
        wrong = [dim for dim in self.dims if not isinstance(dim, int) or dim <= 0 or dim % GROUP_CHANNELS]
        if wrong:
            raise ArgumentError(f'DAMamba: arch dims must be multiples of {GROUP_CHANNELS}, got {wrong}')


def _checked_rate(rate: float) -> float:
    if not 0 <= rate < 1:
        raise ArgumentError(f'DAMamba: drop_path_rate must be from 0 to less than 1, got {rate}')
    return rate


ARCHS = {
    'tiny': Arch((3, 4, 12, 5), (80, 160, 320, 512), drop_path_rate=0.3),
    'small': Arch((4, 8, 20, 6), (96, 192, 384, 512), (4, 4, 3, 3), (False, False, True, True), 0.4),
    'base': Arch((4, 8, 25, 8), (112, 224, 448, 640), (4, 4, 3, 4), (False, False, True, True), 0.6),
}


def resolve_arch(arch: str | dict) -> Arch:
    """Return the variant of this name, or the one that a dict of :class:`Arch`'s fields describes."""
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ArgumentError(f'DAMamba: arch must be one of {", ".join(ARCHS)}, or a dict; got {arch!r}')
        return ARCHS[arch]
    if not isinstance(arch, dict):
        raise ArgumentError(f'DAMamba: arch must be one of {", ".join(ARCHS)}, or a dict; got {arch!r}')
    known = [field.name for field in fields(Arch)]
    unknown = sorted(set(arch) - set(known))
    if unknown:
        raise ArgumentError(f'DAMamba: arch has unknown keys {", ".join(unknown)}; it takes {", ".join(known)}')
    missing = sorted({'depths', 'dims'} - set(arch))
    if missing:
        raise ArgumentError(f'DAMamba: arch lacks {", ".join(missing)}')
    return Arch(**arch)


class Block(nn.Module):
    """x + dw(x), then the mixer and the feed-forward network, each as a residual branch."""

    def __init__(self, channels: int, ratio: float, drop_path: float, layer_scale: bool, norm_cfg: dict):
        super().__init__()
        self.pos_embed = ResidualDepthwiseConv(channels)
        self.norm1 = LayerNorm2d(channels)
        self.token_mixer = Mixer(channels)
        self.norm2 = build_norm(channels, norm_cfg)
        self.mlp = FeedForward(channels, ratio)
        self.drop_path = DropPath(drop_path)
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), 1e-6)) if layer_scale else None
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), 1e-6)) if layer_scale else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        if not self.training and can_fold(self.norm2):
            return self._infer(x)
        return self._widen(self._mix(x))

    def _mix(self, x: Tensor) -> Tensor:
        """x + dw(x), and the mixer as a residual branch."""
        kept, norm, embed = self.drop_path.draw(len(x)), self.norm1.norm, self.pos_embed
        weights = norm.weight, norm.bias, *self.token_mixer.weights()
        if not by_hand.takes(x, (embed.conv.weight, embed.conv.bias, *weights), by_hand.WIDE):
            x, projected, features = self._enter(x, kept)
            branch = self.token_mixer.mix(projected, features)
        elif kept is not None and not len(kept):
            return by_hand.Untouched.apply(embed(x), *weights, *_present(self.layer_scale_1))
        else:
            x, branch = by_hand.Mixing.apply(kept, x, embed.kernel(x.dtype), embed.conv.bias, *weights)
        return self.drop_path.add(x, _scaled(branch, self.layer_scale_1), kept)

    def _widen(self, x: Tensor) -> Tensor:
        """The feed-forward network as a residual branch."""
        kept = self.drop_path.draw(len(x))
        if kept is not None and not len(kept):
            parts = *self.norm2.parameters(), *self.mlp.parameters(), *_present(self.layer_scale_2)
            trained = [parameter for parameter in parts if parameter.requires_grad]
            if by_hand.takes(x, trained):
                with torch.no_grad():
                    self.norm2(x)  # its statistics are those of all samples
                return by_hand.Untouched.apply(x, *trained)
        return self.drop_path.add(x, _scaled(self.mlp(take(self.norm2(x), kept)), self.layer_scale_2), kept)

    def _infer(self, x: Tensor) -> Tensor:
        """The same without gradients; what lies before the sampling, and after the scan, may be done in strips."""
        widest = x.shape[2] * x.shape[3] * self.mlp.fc1.out_channels
        x, z, offset = in_strips(self._before, (x,), widest, halo=2)
        u = adaptive_sample(z.permute(0, 2, 3, 1), offset.permute(0, 2, 3, 1))
        del z, offset  # their memory serves the scan
        y = self.token_mixer.scan_map(u).permute(0, 3, 1, 2)
        del u
        return in_strips(self._behind, (x, y), widest, halo=1)[0]

    def _before(self, x: Tensor, rows: slice) -> tuple[Tensor, Last, Tensor]:
        """x + dw(x), the map to sample, and the offsets."""
        x, projected, features = self._enter(x)
        offset = self.token_mixer.da_scan(features[:, :, rows]).permute(0, 3, 1, 2)
        z = self.token_mixer.conv2d(projected)[:, :, rows]
        return x[:, :, rows], Last(torch.ops.aten.silu, (z,)), offset

    def _behind(self, x: Tensor, y: Tensor, rows: slice) -> tuple[Last]:
        """Both residual branches, from what the scan gave."""
        x = _scaled(self.token_mixer.leave(y.permute(0, 2, 3, 1)), self.layer_scale_1).add_(x)
        y = _scaled(self.mlp.rows(x, self.norm2, rows), self.layer_scale_2)
        return (Last(torch.add, (y, x[:, :, rows])),)

    def _enter(self, x: Tensor, kept: Tensor | None = None) -> tuple[Tensor, ...]:
        """x + dw(x), and what the mixer's two first convolutions make of its normalisation, of the samples kept."""
        dtype, norm = x.dtype, self.norm1.norm
        kernel = self.pos_embed.kernel(dtype), self.pos_embed.conv.bias.to(dtype)
        embed = partial(_embed, kept=kept)
        return lean(embed, (x, *kernel, norm.weight, norm.bias), Branches(), self.token_mixer.entrance(dtype))


def _embed(
    x: Tensor, kernel: Tensor, bias: Tensor, weight: Tensor, shift: Tensor, kept: Tensor | None
) -> tuple[Tensor, Tensor]:
    x = Conv().forward(x, kernel, bias)
    return x, layer_norm_2d(take(x, kept), weight, shift)


def _present(parameter: Tensor | None) -> tuple[Tensor, ...]:
    return () if parameter is None else (parameter,)


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else (x * scale.view(1, -1, 1, 1)).to(x.dtype)


class Stage(nn.Module):
    """An optional downsampling, then blocks."""

    def __init__(self, downsample: nn.Module | None, blocks: Iterable[Block]):
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, with_cp: bool = False) -> Tensor:
        if self.downsample is not None:
            x = self.downsample(x)
        for block in self.blocks:
            x = _checkpointed(block, x) if with_cp and torch.is_grad_enabled() else block(x)
        return x


def _checkpointed(block: Block, x: Tensor) -> Tensor:
    contexts = lambda: (nullcontext(), _frozen_statistics(block))  # noqa: E731
    return checkpoint(block, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def _frozen_statistics(module: nn.Module):
    """Let running statistics go to a copy: the backward runs the block again, and a batch counts once."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    saved = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    try:
        for norm, buffers in zip(norms, saved, strict=True):
            for name, value in buffers.items():
                setattr(norm, name, value.clone())
        yield
    finally:
        for norm, buffers in zip(norms, saved, strict=True):
            for name, value in buffers.items():
                setattr(norm, name, value)


class DAMamba(nn.Module):
    """DAMamba backbone for dense prediction.

    Args:
        arch: 'tiny', 'small', 'base', or a dict of :class:`Arch`'s fields: depths and dims at least, and with more or
            fewer than 4 stages ffn_ratios and layer_scale too.
        pretrained: path or URL of weights (ImageNet's classifier, a backbone or a detector), read by
            :meth:`init_weights` when a new training starts, at no other time.
        in_channels: channels of the picture.
        drop_path_rate: rate at the last block, rising linearly from 0 at the first; by default the variant's.
        out_indices: the stages (from 0) whose feature maps :meth:`forward` returns.
        frozen_stages: -1 trains everything; 0 freezes the stem; i the stem and the first i stages.
        norm_eval: keep batch normalisation in evaluation mode while training.
        with_cp: recompute each block in the backward pass: less memory, the same results.
        norm_cfg: the batch normalisation, ``dict(type='BN')`` or ``dict(type='SyncBN')``.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)``, MMDetection's other way to say ``pretrained``.
        pretrain_size, img_size: accepted because published configs carry them, and ignored with a warning.

    Raises:
        ArgumentError: an argument is out of range (the text names it), or ``pretrained`` meets ``init_cfg``.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        pretrained: str | None = None,
        in_channels: int = 3,
        drop_path_rate: float | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006  MMDetection's habit; never modified
        init_cfg: dict | None = None,
        pretrain_size: int | None = None,
        img_size: int | None = None,
    ):
        super().__init__()
        self.arch = resolve_arch(arch)
        self.pretrained = _pretrained_path(pretrained, init_cfg)
        self.out_indices = _checked_indices(out_indices, len(self.arch.dims))
        self.frozen_stages = _checked_frozen(frozen_stages, len(self.arch.dims))
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.is_init = False  # MMEngine's mark of a module whose weights are set
        if pretrain_size is not None or img_size is not None:
            warnings.warn('DAMamba: pretrain_size and img_size have no effect: any image size will do', stacklevel=2)

        if in_channels < 1:
            raise ArgumentError(f'DAMamba: in_channels must be at least 1, got {in_channels}')
        rate = self.arch.drop_path_rate if drop_path_rate is None else _checked_rate(drop_path_rate)
        self.stem = Stem(in_channels, self.arch.dims[0], norm_cfg)
        self.stages = nn.ModuleList(_build_stages(self.arch, rate, norm_cfg))
        for i, dim in enumerate(self.arch.dims):
            self.add_module(f'norm{i + 1}', LayerNorm2d(dim))
        self._reset_parameters()
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[B, in_channels, H, W] -> the feature maps of ``out_indices``, stage i [B, dims[i], H/2^(i+2), W/2^(i+2)]."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        outs = []
        for i in range(max(self.out_indices) + 1):
            x = getattr(self, f'norm{i + 1}')(self.stages[i](x, self.with_cp))
            if i in self.out_indices:
                outs.append(x.contiguous())  # mmcv's RoIAlign reads channels-last memory as if it were not
        return tuple(outs)

    def init_weights(self) -> None:
        """Fill the backbone from ``pretrained``, once; without it the drawn weights stay.

        Raises:
            damamba.checkpoint.CheckpointError: the file is missing, broken or of another model.
        """
        if self.pretrained and not self.is_init:
            load_backbone(self, self.pretrained)
        self.is_init = True

    def train(self, mode: bool = True) -> 'DAMamba':
        """Set the mode; what is frozen, and with ``norm_eval`` every batch normalisation, stays in evaluation mode."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
                if module.weight.is_contiguous(memory_format=torch.channels_last):  # the same memory in both formats:
                    weight = module.weight.detach().to(memory_format=torch.channels_last)
                    module.weight = nn.Parameter(weight)  # has its gradient's strides, or autograd copies that

    def _frozen(self) -> list[nn.Module]:
        """The modules that ``frozen_stages`` names."""
        stages = range(self.frozen_stages)
        norms = [getattr(self, f'norm{i + 1}') for i in stages]
        return [self.stem, *(self.stages[i] for i in stages), *norms] if self.frozen_stages >= 0 else []

    def _freeze(self) -> None:
        """Take frozen parameters, and those behind the last feature map, out of the training."""
        unused = range(max(self.out_indices) + 1, len(self.stages))
        behind = [module for i in unused for module in (self.stages[i], getattr(self, f'norm{i + 1}'))]
        for module in (*self._frozen(), *behind):
            module.eval().requires_grad_(False)


def _build_stages(arch: Arch, drop_path_rate: float, norm_cfg: dict) -> Iterable[Stage]:
    last = sum(arch.depths) - 1
    rates = iter([drop_path_rate * i / max(last, 1) for i in range(last + 1)])
    for i, (depth, dim) in enumerate(zip(arch.depths, arch.dims, strict=True)):
        blocks = [Block(dim, arch.ffn_ratios[i], next(rates), arch.layer_scale[i], norm_cfg) for _ in range(depth)]
        yield Stage(Downsample(arch.dims[i - 1], dim, norm_cfg) if i else None, blocks)


def _pretrained_path(pretrained: str | None, init_cfg: dict | None) -> str | None:
    if init_cfg is None:
        return pretrained
    if pretrained is not None:
        raise ArgumentError('DAMamba: pretrained and init_cfg both say where the weights come from; give one of them')
    is_pretrained = isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'
    if not is_pretrained or not init_cfg.get('checkpoint'):
        raise ArgumentError(f"DAMamba: init_cfg must be dict(type='Pretrained', checkpoint=...), got {init_cfg}")
    return init_cfg['checkpoint']


def _checked_indices(out_indices: Sequence[int], stages: int) -> tuple[int, ...]:
    indices = (out_indices,) if isinstance(out_indices, int) else tuple(out_indices)
    if not indices or any(i not in range(stages) for i in indices) or list(indices) != sorted(set(indices)):
        raise ArgumentError(f'DAMamba: out_indices must name stages 0 to {stages - 1} in rising order, got {indices}')
    return indices


def _checked_frozen(frozen_stages: int, stages: int) -> int:
    if not isinstance(frozen_stages, int) or frozen_stages not in range(-1, stages + 1):
        raise ArgumentError(f'DAMamba: frozen_stages must be from -1 to {stages}, got {frozen_stages}')
    return frozen_stages
