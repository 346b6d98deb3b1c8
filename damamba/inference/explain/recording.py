"""What the mixers of a backbone did with a picture: hooks read it while the model runs as it always does.

H x W map, L = H*W row-major, C channels, G = C/16 groups.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damamba.models import DAMamba
from damamba.models.mixer import Mixer
from damamba.ops import adaptive_sample


class Scan(NamedTuple):
    """How one mixer read its map."""

    offsets: np.ndarray  # [H, W, G, 2], (dx, dy) in cells of the map
    log_decay: np.ndarray  # [L, C], float64: log a_t, by which the state shrinks at each position


@torch.no_grad()
def record_scans(backbone: DAMamba, inputs: Tensor, block: int = -1) -> list[Scan]:
    """Run a backbone on [1, 3, H, W]; return what a block of each stage did, by default the last one."""
    stages = list(backbone.stages)[: max(backbone.out_indices) + 1]
    mixers = [stage.blocks[block].token_mixer for stage in stages]
    with _recorded([part for mixer in mixers for part in (mixer.act, mixer.da_scan)]) as outputs:
        backbone(inputs)
    return [_scan(mixer, outputs[mixer.act], outputs[mixer.da_scan]) for mixer in mixers]


@contextmanager
def _recorded(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Keep what each module returned last."""
    outputs = {}
    handles = [module.register_forward_hook(lambda it, _, out: outputs.update({it: out})) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _scan(mixer: Mixer, z: Tensor, offset: Tensor) -> Scan:
    """Unpack what was recorded: z [1, C, H, W], offset [1, H, W, 2G] as (g0 dx, g0 dy, g1 dx, ...)."""
    dt, _ = mixer.steps(adaptive_sample(z.permute(0, 2, 3, 1), offset))  # [1, H, W, C]
    steps = F.softplus(dt.double() + mixer.dt_projs_bias.double())
    log_decay = -steps * mixer.A_logs.double().exp().squeeze(1)  # dt_t a
    pairs = offset[0].unflatten(-1, (-1, 2))
    return Scan(pairs.float().cpu().numpy(), log_decay[0].flatten(0, 1).cpu().numpy())
