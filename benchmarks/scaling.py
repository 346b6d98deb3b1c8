"""Does time grow in proportion? A backbone's time against the pixels of a picture, and against the batch.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --train --models damamba

Every model at every size takes its turn in one run. The exponent is the slope of log time over log pixels (or images),
by least squares: 1 is linear.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from benchmarks import runner
from benchmarks.peers import PEERS, build_steps, split_available
from benchmarks.runner import DTYPES, Clock, Shape, Timing, number

NAME = 'scaling'
PIXELS = [Shape(1, *size) for size in ((400, 672), (576, 960), (800, 1344), (1120, 1888), (1600, 2688))]
AXES = {'pixels': 'pixels of the picture', 'batch': 'images in the batch'}
DEFAULTS = {
    'cpu': dict(repeat=3, dtype='fp32', pixels=PIXELS, batch=[Shape(b, 224, 224) for b in (1, 2, 4, 8, 16)]),
    'cuda': dict(repeat=20, dtype='bf16', pixels=PIXELS, batch=[Shape(b, 800, 1344) for b in (1, 2, 4, 8)]),
}


def measure(axis: str, names: Sequence[str], args: argparse.Namespace) -> list[dict]:
    """A row for each model and shape, with the model's exponent along the axis."""
    shapes = getattr(args, axis)
    cases = {
        (name, shape): step
        for shape in shapes
        for name, step in build_steps(names, shape, args.dtype, args.device, args.train)
    }
    timings = runner.interleave(cases, args.repeat, Clock(args.device))
    rows = []
    for name in names:
        exponent = fit_exponent([(_size(axis, shape), timings[name, shape].median) for shape in shapes])
        rows += [make_row(axis, name, shape, timings[name, shape], exponent, args) for shape in shapes]
    return rows


def _size(axis: str, shape: Shape) -> int:
    return shape.batch if axis == 'batch' else shape.height * shape.width


def fit_exponent(points: Sequence[tuple[int, float | None]]) -> float | None:
    """The slope of log time over log size, of the points that were measured; None if they are of one size."""
    logs = [(math.log(size), math.log(time)) for size, time in points if time]
    if len({x for x, _ in logs}) < 2:
        return None
    return statistics.linear_regression(*zip(*logs, strict=True)).slope


def make_row(
    axis: str, name: str, shape: Shape, timing: Timing, exponent: float | None, args: argparse.Namespace
) -> dict:
    pixels = shape.batch * shape.height * shape.width
    return dict(
        benchmark=NAME,
        axis=axis,
        measure='train' if args.train else 'forward',
        model=PEERS[name].label,
        dtype=args.dtype,
        **shape._asdict(),
        median_ms=timing.median,
        low_ms=timing.low,
        high_ms=timing.high,
        ns_per_pixel=timing.median * 1e6 / pixels if timing.median else None,
        exponent=exponent,
        note=timing.note,
    )


def print_rows(rows: Sequence[dict], args: argparse.Namespace) -> None:
    """A block for each axis; every model's exponent stands in its rows."""
    kind = 'forward + backward' if args.train else 'forward'
    for axis in dict.fromkeys(row['axis'] for row in rows):
        header = ('model', 'shape', 'ms', 'quartiles', 'ns a pixel', 'exponent', '')
        title = f'Time against {AXES[axis]}, {kind}: {args.dtype}, medians of {args.repeat}, {args.device}'
        runner.print_table(title, header, [_line(row) for row in rows if row['axis'] == axis])


def _line(row: dict) -> tuple[str, ...]:
    shape = Shape(row['batch'], row['height'], row['width'])
    spread = f'{number(row["low_ms"])} - {number(row["high_ms"])}'
    figures = number(row['ns_per_pixel']), number(row['exponent'])
    return row['model'], str(shape), number(row['median_ms']), spread, *figures, row['note']


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = runner.make_parser(__doc__)
    runner.add_shape(parser, DEFAULTS, '--pixels', 'pictures of rising size; none leaves this out', nargs='*')
    runner.add_shape(parser, DEFAULTS, '--batch', 'batches of rising size; none leaves this out', nargs='*')
    runner.add_per_device(parser, DEFAULTS, '--dtype', 'float32, or bfloat16 under autocast', choices=list(DTYPES))
    models = dict(nargs='+', choices=list(PEERS), metavar='MODEL', help=f'of {", ".join(PEERS)}')
    parser.add_argument('--models', default=['damamba', 'swin-timm'], **models)
    parser.add_argument('--train', action='store_true', help='forward + backward instead of the forward')
    return runner.parse(parser, argv, DEFAULTS, NAME)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    present, missing = split_available(args.models)
    rows = runner.collect((measure(axis, present, args) for axis in AXES if getattr(args, axis)), args)
    if not rows:
        sys.exit('nothing to measure: ' + ('; '.join(missing.values()) or '--pixels and --batch are both empty'))
    print_rows(rows, args)
    for name, reason in missing.items():
        print(f'{PEERS[name].label}: {reason}')
    runner.print_origin(rows, args)


if __name__ == '__main__':
    main()
