"""Seconds a picture by the number of objects in it, and memory."""

from collections.abc import Mapping
from pathlib import Path

from damamba.reporting.charts.bars import Panel, draw_bar_chart
from damamba.reporting.charts.style import Palette
from damamba.reporting.words import counted, place_of

ALL = 'all'
MEMORY = {'cuda': 'memory\nof the GPU', 'cpu': 'memory\nof the process'}
NOTE = 'Full bars and bold figures: the median. Light bars: nine of ten pictures take no longer.'
UNLIKE = 'Not all were measured on the same device in the same way: such times do not compare.'


def draw_latency(speeds: Mapping[str, dict], palette: Palette, path: Path) -> Path:
    """Draw the median seconds a picture by number of objects, with what nine of ten take, and the peak of memory."""
    times = {run: {**speed['bins'], ALL: speed['overall']} for run, speed in speeds.items()}
    groups = {}
    for name in (*sorted_bins(speeds), ALL):
        counts = {bins[name]['pictures'] for bins in times.values() if bins.get(name, {}).get('pictures')}
        several = f'{min(counts)}–' if len(counts) > 1 else ''
        groups[name] = f'{name}\n{several}{counted(max(counts), "picture")}'
    memory = {run: {'peak': speed['peak_memory'] and speed['peak_memory'] / 1e9} for run, speed in speeds.items()}
    kind, *others = {speed['kind'] for speed in speeds.values()}
    panels = [
        Panel(groups, times, 'seconds', ('median', 'p90'), 'by objects in a picture', '{:#.3g}', sums=ALL),
        Panel({'peak': 'memory' if others else MEMORY.get(kind, 'memory')}, memory, 'GB', form='{:.2f}'),
    ]
    place, *others = {place_of(speed) for speed in speeds.values()}
    labels = {run: f'{run}: {place_of(speed)}' for run, speed in speeds.items()} if others else {}
    note = f'{NOTE} {UNLIKE if others else f"On {place}."}'
    return draw_bar_chart(path, 'Seconds a picture, and peak memory', panels, palette, note, labels)


def sorted_bins(speeds: Mapping[str, dict]) -> list[str]:
    """All bins of numbers of objects, such as ``'5-10'`` or ``'100+'``, the least first."""
    bins = {name for speed in speeds.values() for name in speed['bins']}
    return sorted(bins, key=lambda name: int(name.rstrip('+').split('-')[0]))
