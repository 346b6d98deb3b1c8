"""What tests of both operators share: inputs, runs and gradients, what is true of them, and sets of combinations."""

import importlib
from collections.abc import Callable, Sequence
from itertools import combinations, product

import pytest
import torch
from torch import Tensor

import damamba.ops

PACKAGES = {name: importlib.import_module(f'damamba.ops.{name}') for name in ('adaptive_sample', 'selective_scan')}
RUNS = [(name, backend) for name, package in PACKAGES.items() for backend in package.BACKENDS]
FAST_RUNS = [run for run in RUNS if run[1] != 'reference']  # the loop itself is held to what is known by hand
BACKENDS = list(PACKAGES['adaptive_sample'].BACKENDS)
FAST = [name for name in BACKENDS if name != 'reference']
DOUBLES = ['vectorized', 'reference']  # they compute in float64
FLOAT32 = ('offset', 'A', 'D', 'dt_bias')  # as the model has them, whatever the map is in
LAYOUTS = ['contiguous', 'transposed', 'with gaps', 'rows apart']


def widest(backend: str) -> torch.dtype:
    return torch.float64 if backend in DOUBLES else torch.float32


def held(t: Tensor, layout: str) -> Tensor:
    """The same numbers in another layout."""
    if layout == 'transposed':
        return t.permute(*range(t.ndim)[::-1]).contiguous().permute(*range(t.ndim)[::-1])
    if layout == 'rows apart':
        return torch.cat((t, t), dim=-1)[..., : t.shape[-1]]
    return torch.stack((t, t), dim=-1)[..., 0] if layout == 'with gaps' else t


def make_sample(*size: int, group: int = 16, spread: float = 2) -> list[Tensor]:
    """A map (B, H, W, C), and offsets of this standard deviation."""
    return [torch.randn(size), spread * torch.randn(*size[:3], 2 * size[3] // group)]


def make_scan(batch: int, length: int, channels: int) -> list[Tensor]:
    """u, dt, A, B, C, D, dt_bias."""
    sequence, step = (batch, length, channels), (batch, length)
    return [
        *(torch.randn(sequence), torch.randn(sequence), -torch.rand(channels) - 0.1),
        *(torch.randn(step), torch.randn(step), torch.randn(channels), torch.randn(channels) - 1),
    ]


def cast(
    operator: str, args: Sequence[Tensor], dtype: torch.dtype, device: str, keep: Sequence[str] = ()
) -> list[Tensor]:
    """To a device and a dtype, but for those that keep theirs."""
    names = PACKAGES[operator].INPUTS
    return [t.to(device, t.dtype if name in keep else dtype) for name, t in zip(names, args, strict=True)]


def make(operator: str, dtype=torch.float32, device='cpu', layout='contiguous') -> list[Tensor]:
    """Small inputs."""
    args = make_scan(1, 10, 5) if operator == 'selective_scan' else make_sample(1, 2, 3, 32)
    return [held(t, layout) for t in cast(operator, args, dtype, device, FLOAT32)]


def call(operator: str, args: Sequence[Tensor], backend: str) -> Tensor:
    """The operator's result by this backend; skips the test with the backend's own reason."""
    reason = PACKAGES[operator].BACKENDS[backend].why_not(*args)
    if reason is not None:
        assert backend not in DOUBLES, 'plain torch runs everything'
        pytest.skip(f'{backend}: {reason}')
    return getattr(damamba.ops, operator)(*args, backend=backend)


def leaves(args: Sequence[Tensor]) -> list[Tensor]:
    return [t.detach().requires_grad_() for t in args]


def results(operator: str, args: Sequence[Tensor], backend: str, upstream: Tensor) -> tuple[Tensor, ...]:
    """The output and every gradient."""
    args = leaves(args)
    y = call(operator, args, backend)
    return y.detach(), *torch.autograd.grad(y, args, upstream)


def compare(operator: str, args: Sequence[Tensor], backend: str, close, upstream: Tensor | None = None) -> None:
    """Hold the output and every gradient against the loop in float64."""
    upstream = torch.randn(args[0].shape).to(args[0]) if upstream is None else upstream
    values = results(operator, args, backend, upstream)
    truths = results(operator, [t.double().cpu() for t in args], 'reference', upstream.double().cpu())
    names = 'the output', *PACKAGES[operator].INPUTS
    for name, value, truth, like in zip(names, values, truths, (args[0], *args), strict=True):
        assert value.dtype == like.dtype, name
        close(value, truth, name)


def pairwise(factors: dict[str, list], affordable: Callable[[dict], bool] = lambda case: True) -> list[dict]:
    """Affordable combinations in which any two values of two factors meet, if an affordable one has them both."""
    cases = [
        case for values in product(*factors.values()) if affordable(case := dict(zip(factors, values, strict=True)))
    ]
    pairs = [set(combinations(case.items(), 2)) for case in cases]
    left, chosen = set().union(*pairs), []
    while left:
        best = max(range(len(cases)), key=lambda i: len(left & pairs[i]))
        chosen.append(cases[best])
        left -= pairs[best]
    return chosen


def parametrize(cases: list[dict]) -> pytest.MarkDecorator:
    """Have a test take each combination as its arguments."""
    rows = [pytest.param(*case.values(), id='-'.join(map(str, case.values()))) for case in cases]
    return pytest.mark.parametrize(tuple(cases[0]), rows)
