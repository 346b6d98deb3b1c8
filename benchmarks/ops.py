"""The two operators at each stage's shapes: time, least traffic, and its share of what copying memory reaches.

    python benchmarks/ops.py --dtypes bf16
    python benchmarks/ops.py --shapes 1x224x224 --skip reference compiled

Each backend is timed, and torch.compile of the plain torch formulation (`vectorized`). Bytes are the least that must be
moved: every input and output once; the backward reads the inputs again and writes their gradients. The share is
bytes / time / the bandwidth of a copy in the same run. Caches are flushed between repetitions.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from benchmarks import runner
from benchmarks.runner import DTYPES, Case, Clock, Shape, Timing, number
from damamba import ops
from damamba.models import ARCHS
from damamba.models.arch import GROUP_CHANNELS
from damamba.ops.adaptive_sample import BACKENDS as SAMPLE_BACKENDS
from damamba.ops.adaptive_sample import vectorized as sample
from damamba.ops.selective_scan import BACKENDS as SCAN_BACKENDS
from damamba.ops.selective_scan import vectorized as scan

NAME = 'ops'
ARCH = ARCHS['tiny']
PASSES = ('forward', 'backward')
COMPILED = 'compiled'
OFFSET = 1.0  # standard deviation in pixels
DEFAULTS = {
    'cpu': dict(repeat=10, unroll=32, shapes=[Shape(1, 800, 1344), Shape(8, 224, 224)]),
    'cuda': dict(repeat=50, unroll=96, shapes=[Shape(2, 800, 1344), Shape(128, 224, 224)]),
}


class Map(NamedTuple):
    """A stage's feature map, [batch, height, width, channels]."""

    stage: int
    batch: int
    height: int
    width: int
    channels: int


class Operator(NamedTuple):
    """An operator: its public function, its backends, its plain torch, its inputs, and loops in Python."""

    public: Callable[..., Tensor]
    backends: Sequence[str]
    plain: ModuleType
    inputs: Callable[[Map, torch.dtype, str], tuple[Tensor, ...]]
    steps: Callable[[Map], int]  # of the reference's loop
    unrolled: Callable[[Map], int]  # of plain torch's loops, which torch.compile unrolls


def sample_inputs(size: Map, dtype: torch.dtype, device: str) -> tuple[Tensor, ...]:
    """x, offset; offsets are float32 in the model, whatever the map is in."""
    x = torch.randn(size[1:], device=device).to(dtype)
    return x, OFFSET * torch.randn(*size[1:4], 2 * size.channels // GROUP_CHANNELS, device=device)


def scan_inputs(size: Map, dtype: torch.dtype, device: str) -> tuple[Tensor, ...]:
    """u, dt, A, B, C, D, dt_bias; B and C are columns of one projection, as in the model."""
    length, rank = size.height * size.width, math.ceil(size.channels / GROUP_CHANNELS)
    u, dt = torch.randn(2, size.batch, length, size.channels, device=device).to(dtype)
    projected = torch.randn(size.batch, length, rank + 2, device=device).to(dtype)
    weights = torch.ones(size.channels, device=device)
    return u, dt, -weights, projected[..., -2], projected[..., -1], weights.clone(), -3 * weights


def count_scan_steps(length: int) -> int:
    """The steps of plain torch's scan, at all of its levels."""
    return length if length <= scan.CHUNK else scan.CHUNK + length % scan.CHUNK + count_scan_steps(length // scan.CHUNK)


OPERATORS = {
    'adaptive_sample': Operator(
        ops.adaptive_sample,
        tuple(SAMPLE_BACKENDS),
        sample,
        sample_inputs,
        steps=lambda m: m.batch * m.height * m.width * m.channels // GROUP_CHANNELS,
        unrolled=lambda m: 0,
    ),
    'selective_scan': Operator(
        ops.selective_scan,
        tuple(SCAN_BACKENDS),
        scan,
        scan_inputs,
        steps=lambda m: m.height * m.width,
        unrolled=lambda m: count_scan_steps(m.height * m.width),
    ),
}


def stage_maps(shape: Shape) -> Iterator[Map]:
    """The map of every stage for a batch of pictures: the stem's two halvings, then one a stage."""
    height, width = ((size + 1) // 2 for size in shape[1:])
    for i, channels in enumerate(ARCH.dims):
        height, width = (height + 1) // 2, (width + 1) // 2
        yield Map(i + 1, shape.batch, height, width, channels)


def least_bytes(inputs: Sequence[Tensor], output: Tensor, kind: str) -> int:
    """Forward reads the inputs and writes the output; backward reads its gradient and them, and writes theirs."""
    read = sum(t.numel() * t.element_size() for t in inputs)
    return output.nbytes + read * (2 if kind == 'backward' else 1)


def forward_case(run: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Case:
    return torch.no_grad()(lambda: run(*inputs))


def backward_case(run: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor) -> Case:
    """The backward alone; the forward runs at the first call."""
    leaves = [t.detach().requires_grad_() for t in inputs]
    outputs: list[Tensor] = []

    def case() -> tuple[Tensor, ...]:
        if not outputs:
            outputs.append(run(*leaves))
        return torch.autograd.grad(outputs[0], leaves, grad, retain_graph=True)

    return case


def build_case(operator: Operator, name: str, kind: str, inputs: Sequence[Tensor], grad: Tensor) -> Case:
    if name == COMPILED:
        function = torch.compile(getattr(operator.plain, kind), dynamic=False)
        return forward_case(function, inputs if kind == 'forward' else (grad, *inputs))

    def run(*args: Tensor) -> Tensor:
        return operator.public(*args, backend=name)

    return forward_case(run, inputs) if kind == 'forward' else backward_case(run, inputs, grad)


def implementations(operator: Operator) -> list[str]:
    return [*operator.backends, COMPILED]


def count_steps(operator: Operator, name: str, size: Map) -> int:
    """The steps that an implementation loops over in Python, or that torch.compile unrolls."""
    return operator.steps(size) if name == 'reference' else operator.unrolled(size) if name == COMPILED else 0


def why_not(operator: Operator, name: str, size: Map, args: argparse.Namespace) -> str | None:
    """Why an implementation is not even tried."""
    if name in args.skip:
        return f'not run: --skip {name}'
    steps = count_steps(operator, name, size)
    if name == COMPILED and steps > args.unroll:
        return f'not run where it unrolls more than {args.unroll} steps (--unroll): minutes to compile, and slow then'
    if name == 'reference' and steps > args.steps:
        return f'not run where it loops over more than {args.steps} steps in Python (--steps)'
    return None


def measure(name: str, size: Map, dtype: str, kind: str, args: argparse.Namespace, clock: Clock) -> list[dict]:
    """Rows of one operator, map, dtype and pass: one for each implementation."""
    operator = OPERATORS[name]
    torch.compiler.reset()  # else torch.compile stops at a number of shapes and runs them as they are
    inputs = operator.inputs(size, DTYPES[dtype], args.device)
    grad = torch.randn_like(inputs[0], memory_format=torch.contiguous_format)
    reasons = {impl: why_not(operator, impl, size, args) for impl in implementations(operator)}
    cases = {i: build_case(operator, i, kind, inputs, grad) for i, reason in reasons.items() if reason is None}
    runner.progress(f'{name} {kind} {dtype} {size}')
    timings = runner.interleave(cases, args.repeat, clock)
    shared = dict(benchmark=NAME, operator=name, dtype=dtype, **{'pass': kind}, **size._asdict())
    moved = least_bytes(inputs, grad, kind)
    return [
        {
            **shared,
            'implementation': impl,
            'steps': count_steps(operator, impl, size),
            **figures(timings.get(impl, Timing(note=reason or '')), moved, args),
        }
        for impl, reason in reasons.items()
    ]


def figures(timing: Timing, moved: int, args: argparse.Namespace) -> dict:
    rate = moved / timing.median * 1000 if timing.median else None
    return dict(
        median_ms=timing.median,
        low_ms=timing.low,
        high_ms=timing.high,
        bytes=moved,
        bytes_per_s=rate,
        copy_bytes_per_s=args.copy,
        share=rate and rate / args.copy,
        note=timing.note,
    )


def step_time(shape: Shape, dtype: str, repeat: int, clock: Clock) -> Timing:
    """What both operators take of a backbone's training step: each stage's forward and backward, times its depth."""
    total = [0.0, 0.0, 0.0]
    for depth, size in zip(ARCH.depths, stage_maps(shape), strict=True):
        for operator in OPERATORS.values():
            inputs = operator.inputs(size, DTYPES[dtype], clock.device)
            forward = forward_case(operator.public, inputs)
            backward = backward_case(operator.public, inputs, torch.randn_like(inputs[0]))
            for timing in runner.interleave(dict(forward=forward, backward=backward), repeat, clock).values():
                if timing.median is None:
                    return timing
                total = [sum_ + depth * part for sum_, part in zip(total, timing[:3], strict=True)]
    return Timing(*total)


def print_rows(rows: Sequence[dict], args: argparse.Namespace) -> None:
    """One line for each operator, map, dtype and pass; under every implementation milliseconds and share."""
    names = list(dict.fromkeys(row['implementation'] for row in rows))
    groups: dict[tuple[str, ...], dict[str, dict]] = {}
    for row in rows:
        size = 'x'.join(str(row[key]) for key in ('batch', 'height', 'width', 'channels'))
        key = (row['operator'], row['pass'], row['dtype'], size, number(row['bytes'] / 1e6))
        groups.setdefault(key, {})[row['implementation']] = row
    header = ('operator', 'pass', 'dtype', 'map', 'MB', *(cell for name in names for cell in (name, 'share')))
    lines = [(*key, *(cell for name in names for cell in _cells(group.get(name)))) for key, group in groups.items()]
    title = f'Milliseconds, medians of {args.repeat}; share of the copy bandwidth, {args.copy / 1e9:.1f} GB/s'
    runner.print_table(title, header, lines)
    for note in dict.fromkeys(f'{row["implementation"]}: {row["note"]}' for row in rows if row['note']):
        print(note)


def _cells(row: dict | None) -> tuple[str, str]:
    if row is None or row['median_ms'] is None:
        return '-', '-'
    return number(row['median_ms']), f'{100 * row["share"]:.1f}%'


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = runner.make_parser(__doc__)
    runner.add_shape(parser, DEFAULTS, '--shapes', 'batches of pictures whose stages are taken', nargs='+')
    parser.add_argument('--dtypes', nargs='+', choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument('--operators', nargs='+', choices=list(OPERATORS), default=list(OPERATORS))
    names = sorted({name for operator in OPERATORS.values() for name in implementations(operator)})
    parser.add_argument('--skip', nargs='+', choices=names, default=[], help='implementations not to run')
    parser.add_argument('--steps', type=int, default=300, help='of the reference: the most to loop over in Python')
    runner.add_per_device(parser, DEFAULTS, '--unroll', 'the most steps of a loop that torch.compile unrolls', type=int)
    return runner.parse(parser, argv, DEFAULTS, NAME)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    torch.manual_seed(0)
    clock = Clock(args.device, flush=True)
    args.copy = runner.copy_bandwidth(clock)
    groups = (
        measure(name, size, dtype, kind, args, clock)
        for name in args.operators
        for shape in args.shapes
        for size in stage_maps(shape)
        for dtype in args.dtypes
        for kind in PASSES
    )
    runner.run(groups, args, print_rows)


if __name__ == '__main__':
    main()
