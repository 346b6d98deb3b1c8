"""What each strategy of DAMamba-T's execution gives, one by one, beside the formula: time, and memory for training.

    python benchmarks/strategies.py
    python benchmarks/strategies.py --measures train --train 2x384x640

All of them run the same model in turns, with the same draws of stochastic depth in the same round. `memory` without
`skipping` computes what stochastic depth leaves out, as the formula does.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from benchmarks import runner
from benchmarks.peers import build, forward_step, picture, train_step
from benchmarks.runner import Case, Clock, Shape, Timing
from damamba import execution
from damamba.execution import memory
from damamba.models import fuse
from damamba.models.damamba import Block
from damamba.models.drop_path import DropPath

NAME = 'strategies'
FORMULA = 'formula'
WAYS = {  # of each measure: the strategies that are allowed
    'forward': {FORMULA: [], 'strips': ['strips'], 'fused, formula': [], 'fused, strips': ['strips']},
    'train': {
        FORMULA: [],
        'skipping': ['skipping'],
        'memory': ['memory'],
        'skipping, memory': ['skipping', 'memory'],
        'skipping, with_cp': ['skipping', 'memory'],
    },
    'memory': {FORMULA: [], 'memory': ['memory'], 'with_cp': ['memory']},
    'host': {FORMULA: [], 'memory': ['memory'], 'with_cp': ['memory']},
}
SMALL = 4, 4  # of a map
UNITS = {'forward': 'ms', 'train': 'ms', 'memory': 'MB', 'host': 'ms'}
TITLES = {
    'forward': 'Forward, evaluation, milliseconds',
    'train': 'Forward + backward, milliseconds',
    'memory': 'Kept for the backward, nothing dropped, MB for each image',
    'host': 'Forward + backward of one block on a map so small that the calls alone count, milliseconds',
}
DEFAULTS = {
    'cpu': dict(repeat=7, forward=Shape(1, 800, 1344), train=Shape(1, 512, 512)),
    'cuda': dict(repeat=20, forward=Shape(2, 800, 1344), train=Shape(2, 800, 1344)),
}


def make_model(way: str, measure: str, shape: Shape, args: argparse.Namespace) -> nn.Module:
    model = build('damamba-cp' if way.endswith('with_cp') else 'damamba', shape, args.device, measure != 'forward')
    if measure == 'memory':
        for path in (m for m in model.modules() if isinstance(m, DropPath)):
            path.drop_prob = 0.0
    return fuse(model) if way.startswith('fused') else model


def make_block_step(way: str, args: argparse.Namespace) -> Case:
    """A training step of a block of stage 3 on the smallest map."""
    block = Block(320, 3, 0.0, False, dict(type='BN'), with_cp=way == 'with_cp').to(args.device)
    x = torch.randn(2, 320, *SMALL, device=args.device).to(memory_format=torch.channels_last).requires_grad_()

    def run() -> None:
        with execution.only(*WAYS['host'][way]), patch.object(memory, 'WORTH', 0):
            block(x).sum().backward()

    return run


def make_step(way: str, measure: str, shape: Shape, args: argparse.Namespace) -> Case:
    """A step in which these strategies alone are allowed."""
    model, x = make_model(way, measure, shape, args), picture(shape, args.device)
    step = forward_step(model, x, 'fp32') if measure == 'forward' else train_step(model, x, 'fp32')
    rounds, alone = iter(range(sys.maxsize)), way == 'skipping'  # it recomputes large maps too, where that is worth it

    def run() -> object:
        torch.manual_seed(next(rounds))  # the same samples are left out in every way
        with execution.only(*WAYS[measure][way]), patch.object(memory, 'WORTH', sys.maxsize if alone else memory.WORTH):
            return step()

    return run


def keep(way: str, args: argparse.Namespace) -> Timing:
    """Megabytes that a training keeps."""
    model, x = make_model(way, 'memory', args.forward, args), picture(args.forward, args.device)
    with execution.only(*WAYS['memory'][way]):
        if args.device == 'cuda':
            return Timing(runner.peak_bytes(train_step(model, x, 'fp32')) / args.forward.batch / 1e6)
        return Timing(runner.saved_bytes(lambda: model(x)) / args.forward.batch / 1e6)


def measure_all(args: argparse.Namespace) -> Iterator[list[dict]]:
    for measure in args.measures:
        shape = args.train if measure == 'train' else args.forward
        if measure == 'memory':
            timings = {way: keep(way, args) for way in WAYS[measure]}
        elif measure == 'host':
            shape, steps = Shape(2, *SMALL), {way: make_block_step(way, args) for way in WAYS[measure]}
            timings = runner.interleave(steps, 20 * args.repeat, Clock(args.device))
        else:
            steps = {way: make_step(way, measure, shape, args) for way in WAYS[measure]}
            timings = runner.interleave(steps, args.repeat, Clock(args.device))
        base = timings[FORMULA].median
        yield [runner.compare(_describe(measure, way, shape), it, base, FORMULA) for way, it in timings.items()]
        runner.free(args.device)


def _describe(measure: str, way: str, shape: Shape) -> dict:
    return dict(benchmark=NAME, measure=measure, model=way, dtype='fp32', **shape._asdict(), unit=UNITS[measure])


def print_rows(rows: Sequence[dict], args: argparse.Namespace) -> None:
    for measure in args.measures:
        shape = next(Shape(row['batch'], row['height'], row['width']) for row in rows if row['measure'] == measure)
        title = f'{TITLES[measure]}: {shape}, {args.device}, {args.threads} threads'
        runner.print_comparison(title, [row for row in rows if row['measure'] == measure])


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = runner.make_parser(__doc__)
    runner.add_shape(parser, DEFAULTS, '--forward', 'pictures for the forward and for memory')
    runner.add_shape(parser, DEFAULTS, '--train', 'pictures for forward + backward')
    parser.add_argument('--measures', nargs='+', choices=list(WAYS), default=list(WAYS))
    return runner.parse(parser, argv, DEFAULTS, NAME)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    runner.run(measure_all(args), args, print_rows)


if __name__ == '__main__':
    main()
