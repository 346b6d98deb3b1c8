"""DAMamba-T beside Swin-T, ResNet-50 and ConvNeXt-T: forward, forward + backward, memory, and the operators' share.

    python benchmarks/backbone.py
    python benchmarks/backbone.py --models damamba swin-timm --measures forward --forward 1x512x512
    python benchmarks/backbone.py --busy

The models take turns in one run, with random weights, as they are built: no batch normalisation folded, pictures
contiguous. bf16 means autocast. In training DAMamba does not compute what stochastic depth leaves out, by chance; the
others do. One draw leaves out twice as much as another, so the fewer rounds, the more chance there is in the ratio.
"Nothing dropped" is DAMamba-T at a rate of 0, and memory is always measured like that: on a GPU, the most that is
allocated during a step with nothing else on the device (weights and gradients included); on the CPU, what a forward
makes and keeps for the backward, each storage once. The operators' share is their time at each
stage's shapes, times the stage's depth, from flushed caches, of a forward + backward with nothing dropped.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from benchmarks import runner
from benchmarks.ops import step_time
from benchmarks.peers import PEERS, SWINS, build, build_steps, picture, precision, split_available, train_step
from benchmarks.runner import Clock, Shape, Timing
from damamba.models.drop_path import DropPath

NAME = 'backbone'
WHOLE = 'damamba-whole'
MEASURES = {'forward': 'ms', 'train': 'ms', 'memory': 'MB', 'operators': 'ms', 'busy': 'ms'}
ALONE = [name for name in MEASURES if name != 'busy']  # without --busy
TITLES = {
    'forward': 'Forward, evaluation, milliseconds',
    'train': 'Forward + backward, milliseconds',
    'busy': 'Forward, evaluation, beside a process that keeps a core busy, milliseconds',
    'memory': 'Memory for training, MB for each image',
    'operators': "Both operators in DAMamba-T's forward + backward, nothing dropped, milliseconds",
}
DEFAULTS = {
    'cpu': dict(repeat=15, dtypes=['fp32'], forward=Shape(1, 800, 1344), train=Shape(1, 512, 512)),
    'cuda': dict(repeat=30, dtypes=['fp32', 'bf16'], forward=Shape(2, 800, 1344), train=Shape(2, 800, 1344)),
}


def measure_times(measure: str, names: Sequence[str], shape: Shape, dtype: str, args: argparse.Namespace) -> dict:
    """Timings of forward or training steps, by model."""
    steps = dict(build_steps(names, shape, dtype, args.device, measure == 'train'))
    return runner.interleave(steps, args.repeat, Clock(args.device))


def measure_memory(names: Sequence[str], shape: Shape, dtype: str, args: argparse.Namespace) -> dict[str, Timing]:
    """Megabytes for each image, by model, one model on the device at a time."""
    figures = {}
    for name in names:
        runner.progress(f'memory of {name}')
        try:
            figures[name] = Timing(_training_bytes(name, shape, dtype, args.device) / shape.batch / 1e6)
        except RuntimeError as error:  # out of memory
            figures[name] = Timing(note=f'not run: {str(error).splitlines()[0][:160]}')
        runner.free(args.device)
    return figures


def _training_bytes(name: str, shape: Shape, dtype: str, device: str) -> int:
    model, x = build(name, shape, device, train=True), picture(shape, device)
    for path in (m for m in model.modules() if isinstance(m, DropPath)):
        path.drop_prob = 0.0
    if device == 'cuda':
        return runner.peak_bytes(train_step(model, x, dtype))
    with precision(dtype, device):
        return runner.saved_bytes(lambda: model(x))


def find_baseline(timings: dict[str, Timing], measure: str = '') -> str | None:
    """The Swin-T that was measured, MMDetection's if there is one; on a busy machine ConvNeXt-T."""
    wanted = ('convnext-timm',) if measure == 'busy' else SWINS
    return next((name for name in wanted if name in timings and timings[name].median), None)


def make_rows(measure: str, shape: Shape, dtype: str, timings: dict[str, Timing], missing: dict[str, str]) -> list:
    """A row for each model, those left out too, beside the baseline of the same run."""
    base = find_baseline(timings, measure)
    against = (timings[base].median, PEERS[base].label) if base else (None, '')
    left_out = {name: Timing(note=reason) for name, reason in missing.items()}
    return [
        runner.compare(describe(measure, PEERS[name].label, shape, dtype), timing, *against)
        for name, timing in {**timings, **left_out}.items()
    ]


def describe(measure: str, model: str, shape: Shape, dtype: str) -> dict:
    unit = MEASURES[measure]
    return dict(benchmark=NAME, measure=measure, model=model, dtype=dtype, **shape._asdict(), unit=unit)


def operators_row(train: dict[str, Timing], dtype: str, args: argparse.Namespace) -> dict:
    """The operators beside the training step of the same run."""
    runner.free(args.device)
    timing = step_time(args.train, dtype, args.repeat, Clock(args.device, flush=True))
    step = train.get(WHOLE, Timing()).median
    what = describe('operators', 'both operators', args.train, dtype)
    return runner.compare(what, timing, step, PEERS[WHOLE].label)


def choose_models(measure: str, names: Sequence[str], device: str) -> list[str]:
    """Some differ in training or in inference alone; on the CPU, compiling a training step takes minutes."""
    compiled = {'damamba-compiled', 'damamba-graphs'}
    on_cpu = {'damamba-graphs'} if device == 'cpu' else set()  # without a GPU it is torch.compile
    left_out = {
        'forward': {'damamba-cp', WHOLE, *on_cpu},
        'busy': {'damamba-cp', WHOLE, *compiled},
        'train': {'damamba-fused', *(compiled if device == 'cpu' else ())},
        'memory': {'damamba-fused', WHOLE, *compiled},
    }[measure]
    return [name for name in names if name not in left_out]


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy meanwhile, as another user's process does."""
    process = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure_all(args: argparse.Namespace) -> Iterator[list[dict]]:
    """The rows of each measure and type."""
    present, missing = split_available(args.models)
    for dtype in args.dtypes:
        train: dict[str, Timing] = {}
        for measure in (name for name in MEASURES if name in args.measures):  # the operators' share is of a training
            if measure == 'operators':
                yield [operators_row(train, dtype, args)]
                continue
            names = choose_models(measure, present, args.device)
            shape = args.train if measure == 'train' else args.forward
            if measure == 'memory':
                timings = measure_memory(names, shape, dtype, args)
            else:
                with busy_process() if measure == 'busy' else nullcontext():
                    timings = measure_times(measure, names, shape, dtype, args)
            train = timings if measure == 'train' else train
            yield make_rows(measure, shape, dtype, timings, missing)
            runner.free(args.device)


def print_rows(rows: Sequence[dict], args: argparse.Namespace) -> None:
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        shape = Shape(row['batch'], row['height'], row['width'])
        groups.setdefault((row['measure'], row['dtype'], shape), []).append(row)
    for (measure, dtype, shape), group in groups.items():
        count = '' if measure == 'memory' else f', medians of {args.repeat}, {args.device}, {args.threads} threads'
        runner.print_comparison(f'{TITLES[measure]}: {dtype}, {shape}{count}', group)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = runner.make_parser(__doc__)
    runner.add_shape(parser, DEFAULTS, '--forward', 'pictures for the forward and for memory')
    runner.add_shape(parser, DEFAULTS, '--train', 'pictures for forward + backward')
    runner.add_dtypes(parser, DEFAULTS)
    runner.add_models(parser, PEERS)
    parser.add_argument('--measures', nargs='+', choices=ALONE, default=ALONE)
    parser.add_argument('--busy', action='store_true', help='only the forward, beside a process that keeps a core busy')
    args = runner.parse(parser, argv, DEFAULTS, NAME)
    if args.busy:
        args.measures = ['busy']
        args.out = (
            args.out.with_name(f'{NAME}_busy_{args.device}.csv') if args.out.parent == runner.RESULTS else args.out
        )
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    runner.run(measure_all(args), args, print_rows)


if __name__ == '__main__':
    main()
