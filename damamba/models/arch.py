"""The variants of DAMamba: how many blocks of how many channels a stage has.

Source: DAMamba, arXiv 2502.12627, table 1; what the detection recipes add (drop path, layer scale) is the published
weights'.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

GROUP_CHANNELS = 16  # of the mixer: one offset serves a group


class ArgumentError(ValueError):
    """An argument of the backbone that makes no sense; the text names it and what it should be."""


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
        checked_rate(self.drop_path_rate)
        wrong = [dim for dim in self.dims if not isinstance(dim, int) or dim <= 0 or dim % GROUP_CHANNELS]
        if wrong:
            raise ArgumentError(f'DAMamba: arch dims must be multiples of {GROUP_CHANNELS}, got {wrong}')


def checked_rate(rate: float) -> float:
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
    if isinstance(arch, str) and arch in ARCHS:
        return ARCHS[arch]
    if not isinstance(arch, dict):
        raise ArgumentError(f'DAMamba: arch must be one of {", ".join(ARCHS)}, or a dict; got {arch!r}')
    known = [field.name for field in fields(Arch)]
    if unknown := sorted(set(arch) - set(known)):
        raise ArgumentError(f'DAMamba: arch has unknown keys {", ".join(unknown)}; it takes {", ".join(known)}')
    if missing := sorted({'depths', 'dims'} - set(arch)):
        raise ArgumentError(f'DAMamba: arch lacks {", ".join(missing)}')
    return Arch(**arch)
