"""Layer-wise decay of the learning rate, for fine-tuning: the nearer a layer is to the picture, the less it changes.

Source: BEiT, arXiv 2106.08254, section 3.2; layers are counted as there.
"""

from collections.abc import Sequence

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from damamba.engine.config_checks import ConfigError
from damamba.models import DAMamba


class LayerDecay(DefaultOptimWrapperConstructor):
    """MMEngine's constructor, with ``paramwise_cfg.decay_rate``, the factor from a layer of DAMamba to the one before.

    The stem is layer 0, and block k, counted from 1 over all stages, layer k; a downsampling goes with the block behind
    it, a stage's norm with the block before. With N blocks, layer k has decay_rate ** (N + 1 - k) of the rate that it
    would have, and what is behind the backbone all of it.

    Raises:
        ConfigError: the model has no DAMamba, the optimizer no rate, or decay_rate is not from above 0 to 1.
    """

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module=None) -> None:
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:  # it calls itself for every module inside
            self._scale(params, module)

    def _scale(self, params: list[dict], model: nn.Module) -> None:
        rate, backbone = self.paramwise_cfg.get('decay_rate'), getattr(model, 'backbone', None)
        if not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise ConfigError(f'LayerDecay takes paramwise_cfg.decay_rate from above 0 to 1, got {rate!r}')
        if self.base_lr is None:
            raise ConfigError('LayerDecay needs the rate that it is to scale: optim_wrapper.optimizer.lr')
        if not isinstance(backbone, DAMamba):
            raise ConfigError(
                f'LayerDecay counts the blocks of a DAMamba, and model.backbone is a {type(backbone).__name__}: '
                'leave out optim_wrapper.constructor'
            )
        depths = backbone.arch.depths
        layers = {id(value): layer_of(name, depths) for name, value in backbone.named_parameters()}
        for group in params:
            (value,) = group['params']
            if id(value) in layers:
                group['lr'] = group.get('lr', self.base_lr) * rate ** (sum(depths) + 1 - layers[id(value)])


def layer_of(name: str, depths: Sequence[int]) -> int:
    """The layer of a parameter of a DAMamba: 0 for ``stem...``, k for what goes with block k."""
    first, *rest = name.split('.')
    if first == 'stem':
        return 0
    if first == 'stages':
        stage, kind, *inner = rest
        return sum(depths[: int(stage)]) + (int(inner[0]) if kind == 'blocks' else 0) + 1
    return sum(depths[: int(first.removeprefix('norm'))])
