"""Layers that are called differently in two places: which tensors they have, and how those are taken over."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from damamba.checkpoint.conversion.parts import Account

# A layer, or a tensor, of ours -> theirs, with a `{}` for each number; several lie one below the other in ours.
Names = Mapping[str, str | tuple[str, ...]]


class Wanted(NamedTuple):
    """A tensor that a model of ours has."""

    name: str  # with a `{}` for each number
    numbers: tuple[int, ...]
    shape: tuple[int | None, ...]  # None: any length


def layer(name: str, numbers: tuple[int, ...], *weight: int | None, bias: bool = True) -> Iterator[Wanted]:
    """A layer's tensors, by the shape of its weight, whose first length is the bias's."""
    yield Wanted(f'{name}.weight', numbers, weight)
    if bias:
        yield Wanted(f'{name}.bias', numbers, weight[:1])


@dataclass(frozen=True)
class Naming:
    """How a source calls our tensors."""

    prefix: str
    names: Names
    spelled: Mapping[str, str]  # parts of its names, and how this file spells them

    def __call__(self, name: str, numbers: Sequence[int] = ()) -> list[str]:
        """The source's names for a tensor of ours."""
        if name in self.names:
            found, end = self.names[name], ''
        else:
            owner, _, end = name.rpartition('.')
            found, end = self.names[owner], f'.{end}'
        each = (found,) if isinstance(found, str) else found
        return [self._spell(f'{self.prefix}{one}{end}').format(*numbers) for one in each]

    def _spell(self, name: str) -> str:
        for new, old in self.spelled.items():
            name = name.replace(new, old)
        return name


def spelling(state: Iterable[str], older: Mapping[str, str]) -> dict[str, str]:
    """Those of the older spellings that names have."""
    names = list(state)
    return {new: old for new, old in older.items() if any(old in name for name in names)}


def how_many(state: Mapping[str, Tensor], naming: Naming, name: str, *numbers: int) -> int:
    """How many of a tensor of ours a source has, by the last number in its name."""
    return next(last for last in count() if naming(name, (*numbers, last))[0] not in state)


def take_over(account: Account, wanted: Iterable[Wanted], naming: Naming) -> dict[str, Tensor]:
    """Take tensors from a source, under our names."""
    state = {}
    for name, numbers, shape in wanted:
        theirs = naming(name, numbers)
        part = (shape[0] and shape[0] // len(theirs), *shape[1:])
        values = [account.take(one, part) for one in theirs]
        state[name.format(*numbers)] = torch.cat(values) if len(values) > 1 else values[0]
    return state
