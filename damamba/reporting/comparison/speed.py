"""Seconds a picture by what is in it, and memory."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes

from damamba.reporting.comparison.bars import draw_bars, highest, rows_of
from damamba.reporting.comparison.fonts import as_it_is
from damamba.reporting.comparison.layout import in_order, patches, start, write
from damamba.reporting.words import place_of

ALL = 'all'
MEMORY = {'cuda': 'memory of the GPU', 'cpu': 'memory of the process'}
NOTE = 'Full bars and bold figures: the median. Light bars: nine of ten pictures take no longer.'
UNLIKE = 'Not all were measured on the same device in the same way: such times do not compare.'


@as_it_is
def draw_latency(speeds: Mapping[str, dict], palette: Mapping[str, str], path: Path) -> Path:
    """Draw the median seconds a picture by number of objects, with what nine of ten take, and the peak of memory."""
    speeds = {name: speeds[name] for name in in_order(speeds, palette)}
    rows = rows_of([*sorted_bins(speeds), ALL, 'memory'], len(speeds))
    places = {name: place_of(speed) for name, speed in speeds.items()}
    alike = len(set(places.values())) == 1
    note = f'{NOTE} {f"On {next(iter(places.values()))}." if alike else UNLIKE}'
    labels = {name: name if alike else f'{name}: {place}' for name, place in places.items()}
    figure = start('Seconds a picture, and peak memory', note, patches(labels, palette), height=3.6 * len(rows))
    grid = figure.add_gridspec(len(rows), len(rows[0]))
    top = max(highest(_times(speeds, bins, key)) for bins in rows for key in ('median', 'p90'))
    for r, row in enumerate(rows):
        bins = [name for name in row if name != 'memory']
        if bins:
            _draw_times(figure.add_subplot(grid[r, : len(bins)]), speeds, bins, palette, top)
    _draw_memory(figure.add_subplot(grid[-1, len(rows[-1]) - 1]), speeds, palette)
    return write(figure, path)


def sorted_bins(speeds: Mapping[str, dict]) -> list[str]:
    """All bins of numbers of objects, such as ``'5-10'`` or ``'100+'``, the least first."""
    bins = {name for speed in speeds.values() for name in speed['bins']}
    return sorted(bins, key=lambda name: int(name.rstrip('+').split('-')[0]))


def _times(speeds: Mapping[str, dict], bins: list[str], key: str) -> dict[str, list]:
    """A figure of each bin, by run."""
    return {
        name: [{**speed['bins'], ALL: speed['overall']}.get(b, {}).get(key) for b in bins]
        for name, speed in speeds.items()
    }


def _draw_times(
    axes: Axes, speeds: Mapping[str, dict], bins: list[str], palette: Mapping[str, str], top: float
) -> None:
    counts = _times(speeds, bins, 'pictures').values()
    labels = [f'{name}\n{_count(column)}' for name, column in zip(bins, zip(*counts, strict=True), strict=True)]
    medians, marks = (_times(speeds, bins, key) for key in ('median', 'p90'))
    draw_bars(axes, labels, medians, palette, top, '{:#.3g}', above=marks)
    axes.set_ylabel('seconds')
    if bins[-1] == ALL:
        axes.set_xlabel('objects in a picture')
        axes.axvline(len(bins) - 1.5, color='#bbbbbb', lw=0.8)


def _count(pictures: tuple[int | None, ...]) -> str:
    """How many pictures the runs have in a bin."""
    known = sorted({count for count in pictures if count})
    text = f'{known[0]}' if len(known) == 1 else f'{known[0]}–{known[-1]}'
    return f'{text} picture' + ('' if text == '1' else 's')


def _draw_memory(axes: Axes, speeds: Mapping[str, dict], palette: Mapping[str, str]) -> None:
    memory = {name: [speed['peak_memory'] and speed['peak_memory'] / 1e9] for name, speed in speeds.items()}
    kinds = list(dict.fromkeys(speed['kind'] for speed in speeds.values()))
    label = MEMORY.get(kinds[0], 'memory') if len(kinds) == 1 else 'memory'
    draw_bars(axes, [label.replace(' of', '\nof')], memory, palette, style='{:.2f}')
    axes.set(ylabel='GB')
