"""What the sources of weights share: what a conversion gives, and the account of a source's tensors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from damamba.checkpoint.files import CheckpointError

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class Setting(NamedTuple):
    """What a config's model must have for weights to compute what they computed."""

    key: str  # below `model`
    value: object  # None: the file does not say
    otherwise: object  # what the model has where its config says nothing
    why: str  # with `{}` for what the config has


@dataclass(frozen=True)
class Converted:
    """Weights under MMDetection's names, and what became of each tensor of the source."""

    source: str  # the name of the Source
    owner: str  # whose form it is, as one writes it
    variant: str  # what was recognised: "Mask R-CNN with ResNet-50 and FPN (v1)"
    state: dict[str, Tensor]
    used: list[str]  # names of the source
    left: dict[str, str]  # names of the source, or parts of them, and why nothing of ours needs them
    added: dict[str, str]  # names of ours that the source lacks, and what they were filled with
    classes: tuple[str, ...]  # in the order of `state`, which is the config's
    rows: tuple[int, ...]  # where each of them stands in the source
    config: str  # of ours that computes what the source computes
    licence: str  # of the source's published weights: what it covers, and where that is written
    settings: tuple[Setting, ...] = ()  # of the config
    notes: tuple[str, ...] = ()  # sentences about what the file does not say


class Source(NamedTuple):
    """A form in which weights come."""

    name: str  # as `--from` says it
    matches: Callable[[Mapping[str, Tensor]], bool]  # by the names of its tensors
    # takes the tensors, the source's classes or None, and the config's classes or None
    convert: Callable[[Mapping[str, Tensor], Sequence[str] | None, Sequence[str] | None], Converted]


@dataclass
class Account:
    """Takes the tensors of a source one by one, and knows in the end what became of each."""

    state: Mapping[str, Tensor]
    what: str  # as errors name the source: "torchvision's Mask R-CNN"
    used: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, shape: Sequence[int | None], kinds: Sequence[torch.dtype] = FLOATS) -> Tensor:
        """One tensor, to be converted.

        Args:
            shape: that it must have; None stands for any length but 0.
            kinds: that it may be of.

        Raises:
            CheckpointError: it is not there, or has another shape, or is of another kind.
        """
        if name not in self.state:
            raise CheckpointError(f'{self.what} lacks {name}; {len(self.state)} tensors are there')
        value = self.state[name]
        if value.dtype not in kinds or value.layout != torch.strided or value.is_nested:
            layout = '' if value.layout == torch.strided else f' ({_plain(value.layout)})'
            found, wanted = f'{_plain(value.dtype)}{layout}', ', '.join(map(_plain, kinds))
            raise CheckpointError(f'{self.what} has {name} as {found}; wanted a dense one of {wanted}')
        if value.ndim != len(shape) or any(n != m and (n or not m) for n, m in zip(shape, value.shape, strict=True)):
            raise CheckpointError(f'{self.what} has {name} of {_size(value.shape)}; wanted {_size(shape)}')
        self.used.append(name)
        return value

    def leave(self, name: str, reason: str) -> None:
        """Leave a tensor, or a part of one that was taken, out of what is converted."""
        self.left[name] = reason

    def close(self) -> None:
        """Refuse what was neither taken nor left.

        Raises:
            CheckpointError: there are such tensors; the text names the first.
        """
        done = {*self.used, *self.left}
        if rest := [name for name in self.state if name not in done]:
            more = f' and {len(rest) - 3} more' if len(rest) > 3 else ''
            raise CheckpointError(f'{self.what} should not have {", ".join(rest[:3])}{more}: it is another model')


def class_names(value: object, where: str) -> tuple[str, ...]:
    """The names of classes, as a file or a config lists them.

    Raises:
        CheckpointError: it is no list of names that can be printed; the text says where.
    """
    names = tuple(value) if isinstance(value, list | tuple) else ()
    if not names or not all(isinstance(name, str) and name.strip() and name.isprintable() for name in names):
        raise CheckpointError(f'{where}: the classes are no list of names that can be printed')
    return names


def taken_for(whose: str, rows: int) -> str:
    """The note that the classes were told from their number alone."""
    return f"classes taken for {whose}'s ({rows} rows); name others with --classes"


def places(source: Sequence[str], order: Sequence[str]) -> list[int]:
    """Where each class of ``order`` stands in ``source``, by its name, whatever its case.

    Raises:
        CheckpointError: they do not name the same classes, or one of them names a class twice.
    """
    found = {name.casefold(): place for place, name in enumerate(source)}
    wanted = [name.casefold() for name in order]
    if len(found) != len(source) or len(set(wanted)) != len(wanted):
        raise CheckpointError(f'a class is named twice: {", ".join(source)}, and {", ".join(order)} in the config')
    if set(wanted) != set(found):
        raise CheckpointError(
            f'the weights know {_several(source, wanted)}, the config {_several(order, list(found))}: '
            'both must name the same classes, those of the weights by --classes in their order'
        )
    return [found[name] for name in wanted]


def _several(names: Sequence[str], others: Iterable[str]) -> str:
    """How many classes, and those that the other side lacks."""
    alone = [name for name in names if name.casefold() not in set(others)]
    shown = ', '.join(alone[:5]) + (', ...' if len(alone) > 5 else '')
    return f'{len(names)} classes' + (f' ({shown} only here)' if alone else '')


def _plain(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix('torch.')


def _size(shape: Sequence[int | None]) -> str:
    return 'x'.join('N' if side is None else str(side) for side in shape) or 'scalar'
