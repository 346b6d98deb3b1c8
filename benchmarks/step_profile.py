"""Where a training step of DAMamba-T goes: what the host takes to queue it, and the operators by their time.

    python benchmarks/step_profile.py
    python benchmarks/step_profile.py --dtypes bf16 --train 2x800x1344

On a GPU the host runs ahead: `queued` is the time until a step is queued, `step` the time until it is done. Where the
first is nearly the second, the GPU waits for the host, and faster kernels gain nothing. The operators' times are the
device's own, from torch's profiler, which slows the host down.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from benchmarks import runner
from benchmarks.peers import PEERS, build, picture, train_step
from benchmarks.runner import Case, Shape, Timing

NAME = 'step_profile'
MODEL = 'damamba-whole'
DEFAULTS = {
    'cpu': dict(repeat=3, dtypes=['fp32'], train=Shape(1, 512, 512)),
    'cuda': dict(repeat=20, dtypes=['fp32', 'bf16'], train=Shape(2, 800, 1344)),
}


def time_host(step: Case, args: argparse.Namespace) -> dict[str, Timing]:
    """Until a step is queued, and until it is done, in milliseconds."""
    wait = torch.cuda.synchronize if args.device == 'cuda' else lambda: None
    queued, done = [], []
    for _ in range(args.repeat):
        wait()
        start = time.perf_counter()
        step()
        queued.append(1000 * (time.perf_counter() - start))
        wait()
        done.append(1000 * (time.perf_counter() - start))
    return {'step': Timing.of(done), 'queued': Timing.of(queued)}


def time_operators(step: Case, args: argparse.Namespace) -> dict[str, Timing]:
    """The device's own time of the operators of one step that take most of it, in milliseconds."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if args.device == 'cuda' else [])]
    with profile(activities=activities, acc_events=True) as profiler:
        step()
    own = 'self_device_time_total' if args.device == 'cuda' else 'self_cpu_time_total'
    times = {f'{it.key[:60]}, {it.count} calls': getattr(it, own) / 1000 for it in profiler.key_averages()}
    most = sorted(times, key=times.get, reverse=True)[: args.most]
    return {name: Timing(times[name]) for name in most if times[name]}


def measure_all(args: argparse.Namespace) -> Iterator[list[dict]]:
    """The rows of each type, beside the whole step."""
    for dtype in args.dtypes:
        model = build(MODEL, args.train, args.device, train=True)
        step = train_step(model, picture(args.train, args.device), dtype)
        runner.progress(f'a step in {dtype}')
        for _ in range(runner.WARM_UP[args.device]):
            step()
        timings = time_host(step, args)
        base = timings['step'].median
        timings |= time_operators(step, args)
        runner.progress('')
        yield [runner.compare(_describe(name, dtype, args.train), it, base, 'step') for name, it in timings.items()]
        del model, step
        runner.free(args.device)


def _describe(part: str, dtype: str, shape: Shape) -> dict:
    return dict(benchmark=NAME, measure=part, model=PEERS[MODEL].label, dtype=dtype, **shape._asdict(), unit='ms')


def print_rows(rows: Sequence[dict], args: argparse.Namespace) -> None:
    for dtype in args.dtypes:
        parts = [{**row, 'model': row['measure']} for row in rows if row['dtype'] == dtype]
        title = f'A training step of {PEERS[MODEL].label}, milliseconds: {dtype}, {args.train}, {args.device}'
        runner.print_comparison(title, parts)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = runner.make_parser(__doc__)
    runner.add_shape(parser, DEFAULTS, '--train', 'pictures of a step')
    runner.add_dtypes(parser, DEFAULTS)
    parser.add_argument('--most', type=int, default=30, help='how many operators; default: %(default)s')
    return runner.parse(parser, argv, DEFAULTS, NAME)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    runner.run(measure_all(args), args, print_rows)


if __name__ == '__main__':
    main()
