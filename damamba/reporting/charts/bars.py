"""Bar charts: panels of groups, one group for each thing that is measured, in it a bar for each run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from damamba.reporting.charts.style import INK, WIDTH, Palette, new_chart
from damamba.tables import is_figure

FULL, FILLED = 0.86, 0.92  # of a group's place that its bars fill, and of a bar's place that it fills
WIDEST = 0.8  # inches, of a bar
MOST_BARS = 48  # beside each other, in several panels
FIGURE, LINE = 0.34, 0.13  # inches: a figure above a bar, and a line of them
LARGEST, SMALLEST = 7.5, 5  # points, of figures above bars
GAP = '–'  # stands where there is no bar
WHISKERS = dict(fmt='none', elinewidth=0.9, capsize=1.8, capthick=0.9, ecolor=INK)  # intervals
APART = 0.3  # of a bar's width, between those of two figures

# Of each run, by the keys of groups: a figure, or several by their names. One of an interval has its ends beside it:
# ``mAP``, ``mAP low``, ``mAP high``.
Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Panel:
    """Groups of bars, and the figures that they show."""

    groups: Mapping[str, str]  # what stands below them, by their keys
    figures: Figures  # None, NaN, -1 or none is a gap
    unit: str  # what stands beside the scale, which is the same for all panels if they have one unit
    names: Sequence[str] = ()  # of two figures in a group: the second is greater, bars go on lightly up to it
    heading: str = ''
    form: str = '{:.3f}'  # how a figure is written
    sums: str = ''  # the key of the group from which on figures take in the others: a line stands before it


def draw_bar_chart(
    path: Path, title: str, panels: Sequence[Panel], palette: Palette,
    note: str = '', labels: Mapping[str, str] | None = None,
) -> Path:  # fmt: skip
    """Draw panels, beside each other or where there are many bars below each other; those without runs are left out.

    ``note`` stands above the legend, and ``labels`` in it, where they are not the runs' names.
    """
    panels = [panel for panel in panels if panel.figures] or panels[:1]
    alike = len({panel.unit for panel in panels}) == 1
    widths = [max(len(panel.groups), 1) for panel in panels]
    beside = sum(width * len(panel.figures) for width, panel in zip(widths, panels, strict=True)) <= MOST_BARS
    rows, columns = (1, len(panels)) if beside else (len(panels), 1)
    grid = dict(rows=rows, columns=columns, width_ratios=widths if beside else [1], sharey=alike)
    runs = {name: name for panel in panels for name in panel.figures} | (labels or {})
    handles = {label: Patch(color=palette[name]) for name, label in runs.items()}
    with new_chart(path, title, 3.5 * rows, note, handles, **grid) as places:
        for axes, panel, width in zip(places.flat, panels, widths, strict=True):
            _draw_panel(axes, panel, palette, (WIDTH - 1) / (sum(widths) if beside else width))
            axes.set_ylabel('' if alike and axes not in places[:, 0] else panel.unit)
        for axes in places.flat:
            axes.set_ylim(bottom=0)
    return path


def _reach(cells: Sequence[tuple[Mapping, str]], heights: np.ndarray) -> np.ndarray | None:
    """How far intervals reach below and above their figures [2, groups]; None where no figure has one."""
    ends = [[of.get(f'{key} {end}') for of, key in cells] for end in ('low', 'high')]
    if not any(map(is_figure, ends[0])):
        return None
    low, high = (np.array([it if is_figure(it) else np.nan for it in side]) for side in ends)
    return np.maximum([heights - low, high - heights], 0)


def _draw_panel(axes: Axes, panel: Panel, palette: Palette, inches: float) -> None:
    """Draw all bars of a panel; a group has so many inches."""
    step = min(FULL / max(len(panel.figures), 1), WIDEST / inches)
    room, rotation = (LINE, 0) if step * inches >= FIGURE else (FIGURE + 0.03, 90)
    size = min(LARGEST, 68 * step * inches)
    for place, (name, figures) in enumerate(panel.figures.items()):
        cells = [[(figures, key) for key in panel.groups]]
        if panel.names:
            cells = [[(figures.get(key) or {}, which) for key in panel.groups] for which in panel.names]
        layers = [[of.get(key) for of, key in row] for row in cells]
        heights = np.maximum.accumulate([[max(v, 0) if is_figure(v) else 0 for v in values] for values in layers])
        middles = np.arange(len(panel.groups)) + (place - (len(panel.figures) - 1) / 2) * step
        light = dict(facecolor=(palette[name], 0.22), edgecolor=palette[name], lw=0.9, label=f'{name}, above')
        looks = (dict(color=palette[name], label=name), light)
        for line, (row, height, look) in enumerate(zip(cells, heights, looks, strict=False)):
            bars, reach = axes.bar(middles, height, step * FILLED, **look), _reach(row, height)
            if reach is not None:  # those of two figures stand beside each other, and below the numbers
                beside = middles + (line - (len(cells) - 1) / 2) * step * FILLED * APART
                bars.errorbar = axes.errorbar(beside, height, reach, **WHISKERS)
        for line, values in enumerate(layers if size >= SMALLEST else ()):
            texts = [panel.form.format(value) if is_figure(value) else GAP for value in values]
            look = dict(fontsize=size, rotation=rotation, fontweight='bold' if len(layers) > line + 1 else 'normal')
            axes.bar_label(bars, texts, padding=2 + 72 * room * line, **look)
    axes.set_xticks(range(len(panel.groups)), panel.groups.values())
    axes.tick_params(axis='x', length=0)
    axes.grid(False, axis='x')
    axes.margins(y=room * (len(panel.names) or 1) / 2.2 + 0.03)
    axes.set(title=panel.heading, xlim=(-0.5, max(len(panel.groups), 1) - 0.5))
    if '%' in panel.form:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    if panel.sums in panel.groups:
        axes.axvline(list(panel.groups).index(panel.sums) - 0.5, color='#bbbbbb', lw=0.8)
