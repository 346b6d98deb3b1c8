"""All that a GPU is needed for, in under 9 minutes: `make gpu`, or python benchmarks/gpu.py [--out FOLDER].

The GPU tests; a small DAMamba in Mask R-CNN trained and tested on drawn scenes in float32, bfloat16 and float16, with
losses that fall; every benchmark, into benchmarks/results. Nothing is installed: it takes the Python that runs it and
what is on PYTHONPATH. Each row has a time limit of its own, and the rows after one that fails run too. FOLDER gets the
table, what each row printed, and the CSVs.
"""

import argparse
import contextlib
import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from benchmarks import runner
from benchmarks.runner import RESULTS, ROOT

DEMO = ROOT / 'configs' / 'demo' / 'mask_rcnn_DAMamba_nano_fpn_shapes.py'
TESTS = ['tests/ops', 'tests/execution', 'tests/models', 'tests/mmcv_ops']
BENCHMARKS = {  # seconds at most, arguments
    'ops': (50, ['--skip', 'compiled', 'reference', '--repeat', '20']),
    'step_profile': (25, []),
    'backbone': (80, ['--repeat', '15']),
    'detector': (45, ['--repeat', '10']),
    'scaling': (25, ['--repeat', '10']),
    'masks': (25, []),
}
PRECISIONS = {
    'fp32': [],
    'bf16': ['--amp', '--cfg-options', 'optim_wrapper.dtype=bfloat16'],
    'fp16': ['--amp', '--cfg-options', 'optim_wrapper.dtype=float16'],
}
FALL = 0.8  # of the first losses, at the end
FIGURES = ('median', 'median_ms', 'step_seconds')  # a column of each benchmark's CSV


class Row(NamedTuple):
    """A command, the seconds that it may take, and what to say of it once it has succeeded."""

    name: str
    limit: int
    command: list[str]
    read: Callable[[str], str]


class RowError(Exception):
    """A row ended well, and what it left is wrong."""


def make_rows(args: argparse.Namespace) -> list[Row]:
    """Everything, in an order in which what a stopped lease would cut off is what is needed least."""
    scenes = args.out / 'runs' / 'scenes'
    draw = ['tools/make_demo_data.py', 'shapes', scenes, '--images', args.images, '--val-images', args.images // 10]
    rows = [
        Row('tests', 90, ['-m', 'pytest', '-q', '-m', 'gpu', '--continue-on-collection-errors', *TESTS], last_line),
        Row('scenes', 15, draw, lambda output: f'{args.images} to train on'),
    ]
    for name, flags in PRECISIONS.items():
        rows += train_and_test(name, flags, scenes, args)
    for name, (limit, flags) in BENCHMARKS.items():
        command = [f'benchmarks/{name}.py', *flags, '--device', args.device, '--commit', args.commit]
        rows.append(Row(name, limit, command, lambda _, name=name: read_figures(name, args)))
    return [row for row in rows if not args.rows or row.name.split()[0] in args.rows]


def train_and_test(name: str, flags: list[str], scenes: Path, args: argparse.Namespace) -> list[Row]:
    """Two epochs of batches of 8, and a test of what came out."""
    folder = args.out / 'runs' / name
    options = [
        f'data_root={scenes}',
        'max_epochs=2',
        'train_dataloader.batch_size=8',
        'default_hooks.logger.interval=1',
    ]
    flags = flags if '--cfg-options' in flags else [*flags, '--cfg-options']
    train = ['tools/train.py', DEMO, '--work-dir', folder, '--no-validate', *flags, *options]
    test = ['tools/test.py', DEMO, folder / 'epoch_2.pth', '--work-dir', folder, '--eval', 'bbox', 'segm']
    return [
        Row(f'train {name}', 40, train, lambda _: read_losses(folder)),
        Row(f'test {name}', 20, [*test, '--cfg-options', f'data_root={scenes}'], lambda _: read_metrics(folder)),
    ]


def read_losses(folder: Path) -> str:
    """The mean loss of the first and the last tenth of a run; a RowError unless it fell."""
    lines = max(folder.glob('*/vis_data/scalars.json')).read_text().splitlines()
    losses = [row['loss'] for row in map(json.loads, lines) if 'loss' in row]
    tenth = max(1, len(losses) // 10)
    first, last = statistics.fmean(losses[:tenth]), statistics.fmean(losses[-tenth:])
    text = f'loss {first:.3f} -> {last:.3f} in {len(losses)} iterations'
    if not last < FALL * first:  # not a number is not below either
        raise RowError(text)
    return text


def read_figures(name: str, args: argparse.Namespace) -> str:
    """How many rows of a benchmark's CSV have a figure; a RowError if none has."""
    path = RESULTS / f'{name}_{args.device}.csv'
    with path.open(newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    measured = sum(any(row.get(key) for key in FIGURES) for row in rows)
    text = f'{measured} of {len(rows)} rows measured, {path.relative_to(ROOT)}'
    if not measured:
        raise RowError(text)
    return text


def read_metrics(folder: Path) -> str:
    metrics = json.loads((folder / 'metrics.json').read_text())['metrics']
    return f'box mAP {metrics["coco/bbox_mAP"]:.3f}, mask mAP {metrics["coco/segm_mAP"]:.3f}'


def last_line(output: str) -> str:
    lines = output.strip().splitlines() or ['it printed nothing']
    return lines[-1].strip('= ')[:100]


def run_row(row: Row, log: Path) -> tuple[bool, str, float]:
    """Whether a row held, what there is to say, and the seconds it took; all that it printed goes to the log."""
    start = time.monotonic()
    command = [sys.executable, *map(str, row.command)]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))}
    with log.open('a', encoding='utf-8') as file:
        file.write(f'\n##### {row.name}: {" ".join(command)}\n')
    begin = log.stat().st_size
    with log.open('ab') as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        process.wait(row.limit)
    except subprocess.TimeoutExpired:
        return False, f'stopped after {row.limit} s', time.monotonic() - start
    finally:  # also where it is interrupted: nothing goes on holding the GPU
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    held, text = judge(row, process.returncode == 0, log.read_bytes()[begin:].decode(errors='replace'))
    return held, text, time.monotonic() - start


def judge(row: Row, succeeded: bool, output: str) -> tuple[bool, str]:
    """Whether a command that has ended did what it is for, and what there is to say."""
    if not succeeded:
        return False, last_line(output)
    try:
        return True, row.read(output)
    except (RowError, OSError, ValueError, KeyError, IndexError) as error:
        return False, f'{error}' if isinstance(error, RowError) else f'{type(error).__name__}: {error}'


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'work_dirs' / 'gpu', help='default: %(default)s')
    parser.add_argument('--commit', default=runner.find_commit(), help='to write down where there is no git to ask')
    names = ['tests', 'scenes', 'train', 'test', *BENCHMARKS]
    parser.add_argument('--rows', nargs='+', choices=names, metavar='ROW', help=f'only these: {", ".join(names)}')
    parser.add_argument('--images', type=int, default=400, help='scenes to train on; default: %(default)s')
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda', help='cpu: to try the rows out, slowly')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the rows, print a table; returns 0 if all held."""
    args = parse(argv)
    if args.device == 'cuda' and not torch.cuda.is_available():
        print('make gpu: torch sees no CUDA device here, and nothing was run', file=sys.stderr)
        return 1
    args.out = args.out.resolve()
    shutil.rmtree(args.out / 'runs', ignore_errors=True)  # an earlier call's, which would be taken for this one's
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / 'log.txt'
    log.write_text('')
    lines, all_held, begin = [], True, time.time()
    for row in make_rows(args):
        held, text, seconds = run_row(row, log)
        all_held &= held
        lines.append(f'{"held" if held else "FAILED":<7} {row.name:<11} {seconds:5.0f} s  {text}')
        print(lines[-1], flush=True)
        (args.out / 'table.txt').write_text('\n'.join(lines) + '\n')
    for path in RESULTS.glob(f'*_{args.device}.csv'):  # a part of one, where a benchmark was stopped
        if path.stat().st_mtime >= begin:
            shutil.copy(path, args.out)
    print(f'{"All of it held" if all_held else "Not all of it held"}: {log} has what each row printed')
    return 0 if all_held else 1


if __name__ == '__main__':
    sys.exit(main())
