"""The DAMamba backbone: a convolutional stem, four stages of blocks, a feature map after each.

B batch, C channels, H x W map; maps are [B, C, H, W] in channels-last memory.
Source: DAMamba, arXiv 2502.12627, section 3. Names and shapes of the state dict are those of the published weights.
"""

import math
import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from damamba import execution
from damamba.checkpoint import load_backbone
from damamba.models.arch import Arch, ArgumentError, checked_rate, resolve_arch
from damamba.models.drop_path import DropPath
from damamba.models.layers import Downsample, FeedForward, LayerNorm2d, ResidualDepthwiseConv, Stem, build_norm
from damamba.models.mixer import Mixer


class Block(nn.Module):
    """x + dw(x), then the mixer and the feed-forward network, each as a residual branch."""

    def __init__(self, channels: int, ratio: float, drop_path: float, layer_scale: bool, norm_cfg: dict, with_cp: bool):
        super().__init__()
        self.pos_embed = ResidualDepthwiseConv(channels)
        self.norm1 = LayerNorm2d(channels)
        self.token_mixer = Mixer(channels)
        self.norm2 = build_norm(channels, norm_cfg)
        self.mlp = FeedForward(channels, ratio)
        self.drop_path = DropPath(drop_path)
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), 1e-6)) if layer_scale else None
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), 1e-6)) if layer_scale else None
        self.with_cp = with_cp
        execution.note_parts(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]: :meth:`formula`, in the way that suits the device and the size best."""
        return execution.run(self, x)

    def formula(self, x: Tensor) -> Tensor:
        """The block as the paper has it."""
        x = self.pos_embed(x)  # x + dw(x)
        x = x + self.drop_path(self.scale(self.token_mixer(self.norm1(x)), self.layer_scale_1))
        x = x + self.drop_path(self.scale(self.mlp(self.norm2(x)), self.layer_scale_2))
        return x

    @staticmethod
    def scale(x: Tensor, factors: Tensor | None) -> Tensor:
        """Multiply each channel of [B, C, H, W] by its factor [C], if there are any, in x's dtype."""
        return x if factors is None else (x * factors.view(1, -1, 1, 1)).to(x.dtype)


class Stage(nn.Module):
    """An optional downsampling, then blocks."""

    def __init__(self, downsample: nn.Module | None, blocks: Iterable[Block]):
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        if self.downsample is not None:
            x = self.downsample(x)
        for block in self.blocks:
            x = block(x)
        return x


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
        self.is_init = False  # MMEngine's mark of a module whose weights are set
        if pretrain_size is not None or img_size is not None:
            warnings.warn('DAMamba: pretrain_size and img_size have no effect: any image size will do', stacklevel=2)

        if in_channels < 1:
            raise ArgumentError(f'DAMamba: in_channels must be at least 1, got {in_channels}')
        rate = self.arch.drop_path_rate if drop_path_rate is None else checked_rate(drop_path_rate)
        self.stem = Stem(in_channels, self.arch.dims[0], norm_cfg)
        self.stages = nn.ModuleList(_build_stages(self.arch, rate, norm_cfg, with_cp))
        for i, dim in enumerate(self.arch.dims):
            self.add_module(f'norm{i + 1}', LayerNorm2d(dim))
        self._reset_parameters()
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[B, in_channels, H, W] -> the feature maps of ``out_indices``, stage i [B, dims[i], H/2^(i+2), W/2^(i+2)]."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        outs = []
        with execution.draw_depths(self, x):
            for i in range(max(self.out_indices) + 1):
                x = getattr(self, f'norm{i + 1}')(self.stages[i](x))
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


def _build_stages(arch: Arch, drop_path_rate: float, norm_cfg: dict, with_cp: bool) -> Iterable[Stage]:
    last = sum(arch.depths) - 1
    rates = iter([drop_path_rate * i / max(last, 1) for i in range(last + 1)])
    for i, (depth, dim) in enumerate(zip(arch.depths, arch.dims, strict=True)):
        shape = dim, arch.ffn_ratios[i]
        blocks = [Block(*shape, next(rates), arch.layer_scale[i], norm_cfg, with_cp) for _ in range(depth)]
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
