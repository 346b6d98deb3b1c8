"""Draw the benchmarks' CSVs as PNGs. Needs matplotlib, no torch.

    python benchmarks/plot.py
    python benchmarks/plot.py benchmarks/results/ops_cuda.csv --out docs/images

One picture for each CSV, benchmark_<name of the CSV>.png; by default of all in benchmarks/results.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

ROOT = Path(__file__).resolve().parents[1]
COLOURS = ('#3b6ea8', '#d1743c', '#6a9a58', '#8c62a8', '#b8a33b', '#5f9ea0')
INK, GREY = '#333333', '#8a8a8a'
OURS, VARIANT, OTHERS = COLOURS[0], '#8fb0d3', '#c9cdd2'
TITLES = {
    'backbone': {'forward': 'Forward', 'train': 'Forward + backward', 'memory': 'Training memory'},
    'detector': {'train': 'Training iteration', 'test': 'Test image'},
    'scaling': {'pixels': 'Size of the picture', 'batch': 'Size of the batch'},
}
QUARTILES = ('low', 'high')
SHAPE = ('batch', 'height', 'width')
Row = dict[str, str]


def read(path: Path) -> list[Row]:
    with path.open(newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    if not rows or rows[0].get('benchmark') not in DRAWERS:
        sys.exit(f'{path} is no CSV of a benchmark of {", ".join(DRAWERS)}')
    return rows


def split(rows: Iterable[Row], *keys: str) -> dict[tuple[str, ...], list[Row]]:
    """Rows by their values of the keys, in order of appearance."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def draw_comparison(rows: Sequence[Row]) -> Figure:
    """Horizontal bars with quartiles, one panel for each measure and dtype; ours in colour."""
    titles = TITLES[rows[0]['benchmark']]
    panels = split([row for row in rows if row['measure'] in titles and row['median']], 'measure', 'dtype', *SHAPE)
    columns = min(max(1, len(panels)), 3)
    lines = max(1, -(-len(panels) // columns))
    tallest = max((len(group) for group in panels.values()), default=1)
    figure = Figure(figsize=(5.4 * columns, lines * (1.4 + 0.38 * tallest)), layout='constrained')
    cells = figure.subplots(lines, columns, squeeze=False).flat
    for axes, ((measure, dtype, *shape), group) in zip(cells, panels.items(), strict=False):
        _draw_bars(axes, group)
        axes.set_title(titles[measure], color=INK, fontsize=11, loc='left')
        axes.set_title(f'{"x".join(shape)}, {dtype}', color=GREY, fontsize=9, loc='right')
    for axes in figure.axes[len(panels) :]:
        axes.set_visible(False)
    return figure


def _draw_bars(axes: Axes, rows: Sequence[Row]) -> None:
    values = [float(row['median']) for row in rows]
    axes.barh([row['model'] for row in rows], values, color=[_colour(row['model']) for row in rows], height=0.68)
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        low, high = (float(row[end] or value) for end in QUARTILES)
        if high > low:
            axes.errorbar(value, place, xerr=[[value - low], [high - value]], ecolor=INK, elinewidth=1, capsize=2)
        text = f'{value:,.0f}' + (f'   {float(row["ratio"]):.2f}x' if row['ratio'] else '')
        axes.annotate(text, (high, place), (6, 0), textcoords='offset points', va='center', fontsize=9, color=INK)
    against = next((row['against'] for row in rows if row['against']), '')
    unit = rows[0]['unit']
    axes.set_xlabel(f'{unit}, and times {against}' if against else unit, color=INK, fontsize=9)
    axes.set_xlim(0, 1.35 * max(values))
    axes.invert_yaxis()
    _settle(axes, 'x')


def _colour(model: str) -> str:
    return OURS if model == 'DAMamba-T' else VARIANT if model.startswith('DAMamba') else OTHERS


def draw_ops(rows: Sequence[Row]) -> Figure:
    """The share of the copy bandwidth by stage: a line for each implementation, a panel for each operator and pass."""
    panels = split(rows, 'operator', 'pass', 'dtype')
    columns = max(1, len({key[1:] for key in panels}))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.4 * lines), layout='constrained')
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    names = list(split(rows, 'implementation'))
    for axes, ((operator, kind, dtype), group) in zip(grid.flat, panels.items(), strict=True):
        _draw_shares(axes, group, [name for (name,) in names])
        axes.set_title(f'{operator}, {kind}, {dtype}', color=INK, fontsize=10)
    for axes in grid[:, 0]:
        axes.set_ylabel('share of the copy bandwidth', color=INK, fontsize=9)
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc='outside right upper', frameon=False, fontsize=9)
    return figure


def _draw_shares(axes: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    places = {key: place for place, key in enumerate(split(rows, 'batch', 'height', 'width', 'channels'))}
    groups = split(rows, 'implementation')
    for name, colour in zip(names, COLOURS, strict=False):
        timed = [row for row in groups.get((name,), []) if row['share']]
        x = [places[row['batch'], row['height'], row['width'], row['channels']] for row in timed]
        if timed:
            axes.plot(x, [100 * float(row['share']) for row in timed], 'o-', ms=4, lw=1.2, color=colour, label=name)
    axes.axhline(100, color=GREY, lw=1, ls='--')
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}%'))
    axes.yaxis.set_minor_formatter(NullFormatter())
    ticks = [f'{batch}x{height}x{width}x{channels}' for batch, height, width, channels in places]
    axes.set_xticks(range(len(places)), ticks, rotation=35, ha='right', rotation_mode='anchor', fontsize=7)
    _settle(axes, 'y')


def draw_scaling(rows: Sequence[Row]) -> Figure:
    """Time against size on two logarithmic axes; the dashed line from the first point is linear."""
    panels = split([row for row in rows if row['median_ms']], 'axis')
    figure = Figure(figsize=(5.6 * max(1, len(panels)), 4.2), layout='constrained')
    grid = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    for axes, ((axis,), group) in zip(grid, panels.items(), strict=False):
        for (model,), colour in zip(curves := split(group, 'model'), COLOURS, strict=False):
            _draw_curve(axes, axis, curves[model,], colour)
        axes.plot([], [], '--', lw=1, color=GREY, label='linear')
        kind = 'forward + backward' if group[0]['measure'] == 'train' else 'forward'
        axes.set_title(f'{TITLES["scaling"][axis]}: {kind}, {group[0]["dtype"]}', color=INK, fontsize=11)
        label = 'images' if axis == 'batch' else 'megapixels'
        axes.set(xscale='log', yscale='log', xlabel=label, ylabel='ms')
        ticks = sorted({_size(axis, row): _tick(axis, row) for row in group}.items())
        axes.set_xticks([size for size, _ in ticks], [tick for _, tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        _settle(axes, 'both')
        axes.legend(frameon=False, fontsize=9)
    return figure


def _draw_curve(axes: Axes, axis: str, rows: Sequence[Row], colour: str) -> None:
    sizes, times = [_size(axis, row) for row in rows], [float(row['median_ms']) for row in rows]
    exponent = f', exponent {float(rows[0]["exponent"]):.2f}' if rows[0]['exponent'] else ''
    axes.plot(sizes, [times[0] * size / sizes[0] for size in sizes], '--', lw=1, color=GREY)
    axes.plot(sizes, times, 'o-', ms=5, lw=1.6, color=colour, label=rows[0]['model'] + exponent)
    spread = [[abs(float(row[f'{end}_ms']) - time) for row, time in zip(rows, times, strict=True)] for end in QUARTILES]
    axes.errorbar(sizes, times, yerr=spread, fmt='none', ecolor=colour, elinewidth=1, capsize=2)


def _size(axis: str, row: Row) -> float:
    return float(row['batch']) if axis == 'batch' else float(row['height']) * float(row['width']) / 1e6


def _tick(axis: str, row: Row) -> str:
    return row['batch'] if axis == 'batch' else f'{_size(axis, row):.2g}'


def _settle(axes: Axes, grid: str) -> None:
    axes.grid(color='#e6e6e6', lw=0.8, axis=grid)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.tick_params(colors=INK)


DRAWERS: dict[str, Callable[[Sequence[Row]], Figure]] = {
    'ops': draw_ops,
    'backbone': draw_comparison,
    'detector': draw_comparison,
    'scaling': draw_scaling,
}
HEADINGS = {
    'ops': 'Operators: least traffic in the time taken',
    'backbone': 'Backbones',
    'detector': 'Mask R-CNN',
    'scaling': 'Time against size',
}


def draw(path: Path, out: Path) -> Path:
    """Draw one CSV; the picture says where its figures are from."""
    rows = read(path)
    first = rows[0]
    figure = DRAWERS[first['benchmark']](rows)
    threads = f'CPU threads: {first["threads"]}, ' if first['device'] == 'cpu' else ''
    origin = f'{first["machine"]}, {threads}torch {first["torch"]}, commit {first["commit"]}, {first["date"][:10]}'
    figure.suptitle(HEADINGS[first['benchmark']], color=INK, fontweight='bold')
    figure.supxlabel(origin, color=GREY, fontsize=8)
    out.mkdir(parents=True, exist_ok=True)
    target = out / f'benchmark_{path.stem}.png'
    figure.savefig(target, dpi=130)
    return target


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('csv', nargs='*', type=Path, help='default: those in benchmarks/results')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'images', help='folder; default: docs/images')
    args = parser.parse_args(argv)
    results = ROOT / 'benchmarks' / 'results'
    paths = args.csv or sorted(path for name in DRAWERS for path in results.glob(f'{name}_*.csv'))
    if not paths:
        sys.exit('there is nothing to draw: run python benchmarks/backbone.py first, or name a CSV')
    for path in paths:
        print(draw(path, args.out))


if __name__ == '__main__':
    main()
