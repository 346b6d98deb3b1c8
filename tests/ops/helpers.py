"""What tests of both operators share: the dtypes that a backend computes in, and sets of combinations."""

from collections.abc import Callable, Iterable
from itertools import combinations, product

import pytest
import torch
from torch import Tensor

WIDEST = {'triton': torch.float32, 'numba': torch.float32}  # of a backend that has no float64
HALVES = [torch.bfloat16, torch.float16]
LAYOUTS = ['contiguous', 'transposed', 'with gaps']


def widest(backend: str) -> torch.dtype:
    return WIDEST.get(backend, torch.float64)


def doubles(backends: Iterable[str]) -> list[str]:
    """The backends that compute in float64."""
    return [name for name in backends if widest(name) == torch.float64]


def pairwise(factors: dict[str, list], affordable: Callable[[dict], bool] = lambda case: True) -> list[dict]:
    """Affordable combinations in which any two values of two factors meet, if an affordable one has them both."""
    cases = [
        case for values in product(*factors.values()) if affordable(case := dict(zip(factors, values, strict=True)))
    ]
    pairs = [pairs_of(case) for case in cases]
    left, chosen = set().union(*pairs), []
    while left:
        best = max(range(len(cases)), key=lambda i: len(left & pairs[i]))
        chosen.append(cases[best])
        left -= pairs[best]
    return chosen


def pairs_of(case: dict) -> set:
    """The pairs of values that meet in a combination."""
    return set(combinations(case.items(), 2))


def parametrize(cases: list[dict]) -> pytest.MarkDecorator:
    """Have a test take each combination as its arguments."""
    rows = [pytest.param(*case.values(), id='-'.join(map(str, case.values()))) for case in cases]
    return pytest.mark.parametrize(tuple(cases[0]), rows)


def held(t: Tensor, layout: str) -> Tensor:
    """The same numbers in another layout."""
    if layout == 'transposed':
        return t.permute(*range(t.ndim)[::-1]).contiguous().permute(*range(t.ndim)[::-1])
    return torch.stack((t, t), dim=-1)[..., 0] if layout == 'with gaps' else t
