"""What the benchmarks share: arguments, an interleaved clock, memory, and results as a table and as CSV.

Times are in milliseconds, sizes in bytes. Only ratios within one run mean anything: cases take turns (A B C, A B C),
so that whatever else the machine does meets all of them alike.
"""

import argparse
import csv
import gc
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from damamba import __version__

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks' / 'results'
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
DISTRIBUTIONS = {
    'torch': ['torch'],
    'triton': ['triton'],
    'numba': ['numba'],
    'timm': ['timm'],
    'mmdet': ['onedl-mmdetection', 'mmdet'],
}
WARM_UP = {'cpu': 1, 'cuda': 3}  # calls
SCRATCH = {'cpu': 2**27, 'cuda': 2**28}  # bytes, several times the last cache
COPIED = {'cpu': 2**27, 'cuda': 2**30}  # bytes, long enough that a launch does not count
Case = Callable[[], object]


class Shape(NamedTuple):
    """A batch of pictures."""

    batch: int
    height: int
    width: int

    def __str__(self) -> str:
        return f'{self.batch}x{self.height}x{self.width}'

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    @classmethod
    def parse(cls, text: str) -> 'Shape':
        """Read '2x800x1344'."""
        sizes = [int(size) for size in text.split('x')]
        if len(sizes) != 3 or min(sizes) < 1:
            raise argparse.ArgumentTypeError(f'a shape is BATCHxHEIGHTxWIDTH, such as 2x800x1344; got {text}')
        return cls(*sizes)


def make_parser(text: str | None) -> argparse.ArgumentParser:
    """The arguments that every benchmark takes."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser.add_argument('--device', choices=['cpu', 'cuda'], default=device, help='default here: %(default)s')
    parser.add_argument('--threads', type=int, default=count_cores(), help='of the CPU; default here: %(default)s')
    parser.add_argument('--repeat', type=int, help='how many rounds to take the median of')
    parser.add_argument('--out', type=Path, help='CSV to write; default: benchmarks/results/<benchmark>_<device>.csv')
    parser.add_argument('--commit', help='to write down where there is no git checkout to ask')
    return parser


def add_per_device(parser: argparse.ArgumentParser, defaults: Mapping[str, dict], flag: str, text: str, **more) -> None:
    """Add a flag whose default depends on the device, and say so in its help."""
    name = flag.removeprefix('--').replace('-', '_')
    shown = '; '.join(f'{device}: {_show_default(values[name])}' for device, values in defaults.items())
    parser.add_argument(flag, help=f'{text} (default on {shown})', **more)


def add_shape(parser: argparse.ArgumentParser, defaults: Mapping[str, dict], flag: str, text: str, **more) -> None:
    """Add a flag that takes a shape, or with ``nargs`` several."""
    add_per_device(parser, defaults, flag, text, type=Shape.parse, metavar='BxHxW', **more)


def add_dtypes(parser: argparse.ArgumentParser, defaults: Mapping[str, dict]) -> None:
    text = 'float32, or bfloat16 under autocast'
    add_per_device(parser, defaults, '--dtypes', text, nargs='+', choices=list(DTYPES))


def add_models(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    names = list(names)
    text = f'of {", ".join(names)}; default: all'
    parser.add_argument('--models', nargs='+', choices=names, metavar='MODEL', default=names, help=text)


def _show_default(value: object) -> str:
    return str(value) if isinstance(value, (str, int, Shape)) else ' '.join(map(str, value))


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, defaults: Mapping[str, dict], name: str
) -> argparse.Namespace:
    """Parse, fill in the device's defaults, and set torch's threads."""
    args = parser.parse_args(argv)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: torch sees no CUDA device here')
    for key, value in defaults[args.device].items():
        if getattr(args, key) is None:
            setattr(args, key, value)
    if args.repeat < 1 or args.threads < 1:
        parser.error('--repeat and --threads must be at least 1')
    args.out = args.out or RESULTS / f'{name}_{args.device}.csv'
    torch.set_num_threads(args.threads)
    return args


class Timing(NamedTuple):
    """Median and quartiles of a case's times in milliseconds; or why there are none."""

    median: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ''

    @classmethod
    def of(cls, times: Sequence[float]) -> 'Timing':
        several = times if len(times) > 1 else [*times, *times]
        low, median, high = statistics.quantiles(several, n=4, method='inclusive')
        return cls(median, low, high)


class Clock:
    """Times one call: on a GPU by events, on the CPU by the wall.

    With ``flush``, memory larger than the last cache is written first, so that nothing is read from there that a model
    would have to fetch. On a GPU that also gives the host time to queue a small call's kernels before they may start.
    """

    def __init__(self, device: str, flush: bool = False):
        self.device = device
        self.scratch = torch.empty(SCRATCH[device], dtype=torch.uint8, device=device) if flush else None

    def time(self, case: Case) -> float:
        if self.scratch is not None:
            for _ in range(4 if self.device == 'cuda' else 1):
                self.scratch.zero_()
        return self._by_events(case) if self.device == 'cuda' else self._by_wall(case)

    def _by_wall(self, case: Case) -> float:
        start = time.perf_counter()
        result = case()  # named, so that freeing it is not timed
        seconds = time.perf_counter() - start
        del result
        return 1000 * seconds

    def _by_events(self, case: Case) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        result = case()
        end.record()
        end.synchronize()
        del result
        return start.elapsed_time(end)


def interleave(cases: Mapping[str, Case], repeat: int, clock: Clock) -> dict[str, Timing]:
    """Warm every case up, then time them in turns; one that can't run says why instead."""
    notes = {name: _warm_up(case, name, clock) for name, case in cases.items()}
    times: dict[str, list[float]] = {name: [] for name, note in notes.items() if note is None}
    for i in range(repeat):
        progress(f'round {i + 1} of {repeat}')
        for name, taken in times.items():
            taken.append(clock.time(cases[name]))
    progress('')
    return {name: Timing(note=note) if note else Timing.of(times[name]) for name, note in notes.items()}


def _warm_up(case: Case, name: str, clock: Clock) -> str | None:
    progress(f'warming up {name}')
    try:
        for _ in range(WARM_UP[clock.device]):
            clock.time(case)
    except (RuntimeError, NotImplementedError) as error:  # no backend, compiler or memory: a line in the table
        if clock.device == 'cuda':
            torch.cuda.empty_cache()
        return 'not run: ' + (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    return None


def copy_bandwidth(clock: Clock, repeat: int = 10) -> float:
    """Bytes read and written in a second when a large buffer is copied."""
    source = torch.ones(COPIED[clock.device], dtype=torch.uint8, device=clock.device)
    target = torch.zeros_like(source)
    milliseconds = interleave({'copy': lambda: target.copy_(source)}, repeat, clock)['copy'].median
    return 2 * source.nbytes / milliseconds * 1000


class _Storages(TorchDispatchMode):
    """Notes every storage that an operator makes, as the ones of its arguments are not."""

    def __init__(self):
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        results = operator(*args, **(kwargs or {}))
        given = {key for key, _ in _storages((args, kwargs))}
        self.made |= {key: (StorageWeakRef(it), it.nbytes()) for key, it in _storages(results) if key not in given}
        return results


def _storages(values: object) -> list[tuple[int, torch.UntypedStorage]]:
    storages = [it.untyped_storage() for it in tree_leaves(values) if isinstance(it, torch.Tensor)]
    return [(storage._cdata, storage) for storage in storages]


def saved_bytes(forward: Case) -> int:
    """What a forward pass makes and its backward needs, each storage once; the picture and parameters are not made."""
    with _Storages() as storages:
        result = forward()
    graph = [feature.grad_fn for feature in tree_leaves(result)]
    del result  # of the features, those alone that the graph keeps
    kept = sum(size for storage, size in storages.made.values() if not storage.expired())
    del graph
    return kept


def peak_bytes(step: Case) -> int:
    """The most that a CUDA device holds during a step, whatever it holds before it included."""
    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated()


def free(device: str) -> None:
    """Give back what is no longer used."""
    gc.collect()
    if device == 'cuda':
        torch.cuda.empty_cache()


def count_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def origin(args: argparse.Namespace) -> dict[str, object]:
    """Where and with what results were made: the last columns of every CSV."""
    return dict(
        device=args.device,
        machine=torch.cuda.get_device_name() if args.device == 'cuda' else _cpu_name(),
        cores=count_cores(),
        threads=args.threads,
        **{name: _version(distributions) for name, distributions in DISTRIBUTIONS.items()},
        damamba=__version__,
        commit=args.commit or find_commit(),
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
    )


def _cpu_name() -> str:
    path = Path('/proc/cpuinfo')
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def _version(distributions: Iterable[str]) -> str:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ''


def find_commit() -> str:
    """The checkout's commit; what benchmarks write does not make it dirty."""
    outputs = [':!benchmarks/results', ':!docs/images']
    try:
        commit = _git('rev-parse', '--short', 'HEAD')
        return commit + ('-dirty' if _git('status', '--porcelain', '--', '.', *outputs) else '')
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def _git(*args: str) -> str:
    return subprocess.run(['git', '-C', ROOT, *args], check=True, capture_output=True, text=True).stdout.strip()


def collect(groups: Iterable[Sequence[Mapping[str, object]]], args: argparse.Namespace) -> list[Mapping[str, object]]:
    """All rows, written after each group of them, so that a benchmark that is stopped leaves what it had."""
    rows: list[Mapping[str, object]] = []
    for group in groups:
        rows += group
        if rows:
            write_csv(args.out, rows, args)
    return rows


def run(
    groups: Iterable[Sequence[Mapping[str, object]]],
    args: argparse.Namespace,
    show: Callable[[Sequence[Mapping[str, object]], argparse.Namespace], None],
) -> None:
    """Measure, write and show all rows."""
    rows = collect(groups, args)
    show(rows, args)
    print_origin(rows, args)


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], args: argparse.Namespace) -> None:
    """Replace the file by the rows, each with its origin; floats get six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = origin(args)
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, [*rows[0], *stamp], lineterminator='\n')
        writer.writeheader()
        for row in rows:
            filled = {**row, **stamp}
            writer.writerow({key: f'{v:.6g}' if isinstance(v, float) else v for key, v in filled.items()})


def print_origin(rows: Sequence[Mapping[str, object]], args: argparse.Namespace) -> None:
    """Say where the CSV lies, and what it was measured on."""
    stamp = origin(args)
    print(f'\n{args.out}: {len(rows)} rows, {stamp["machine"]}, torch {stamp["torch"]}, commit {stamp["commit"]}')


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns, those of numbers flush right."""
    lines = [list(header), *(list(row) for row in rows)]
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell[:1].isdigit() or cell in ('', '-') for cell in column[1:]) for column in columns]
    print(f'\n{title}\n')
    for line in lines:
        cells = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
        print('  '.join(cells).rstrip())


def compare(what: Mapping[str, object], timing: Timing, base: float | None, against: str) -> dict:
    """A row of ``what`` was measured, what came out, and its ratio to the base of the same run."""
    ratio = timing.median / base if timing.median and base else None
    figures = dict(median=timing.median, low=timing.low, high=timing.high, ratio=ratio)
    return {**what, **figures, 'against': against if base else '', 'note': timing.note}


def print_comparison(title: str, rows: Sequence[Mapping]) -> None:
    """Rows of :func:`compare`, one a line."""
    against = next((row['against'] for row in rows if row['against']), '')
    lines = [
        (row['model'], number(row['median']), _spread(row['low'], row['high']), number(row['ratio']), row['note'])
        for row in rows
    ]
    header = ('model', rows[0]['unit'], 'quartiles', f'of {against}' if against else 'ratio', '')
    print_table(title, header, lines)


def _spread(low: float | None, high: float | None) -> str:
    return '-' if low is None else f'{number(low)} - {number(high)}'


def number(value: float | None, digits: int = 3) -> str:
    """A figure with this many significant digits, never as a power of ten; '-' where there is none."""
    if value is None:
        return '-'
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if abs(value) >= 1 else digits
    return f'{value:.{max(0, decimals)}f}'


def progress(text: str) -> None:
    """Show what is under way, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f'\r\033[K{text}')
        sys.stderr.flush()
