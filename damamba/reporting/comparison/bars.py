"""Bars in groups: one group for each thing that is measured, in it a bar for each run.

A bar can have two figures, such as mAP and AP50: a full bar up to the lesser, and a light one up to the greater.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from damamba.reporting.comparison.layout import QUIET, lightness, settle
from damamba.reporting.curves import INK

FULL = 0.86  # of a group's place that its bars fill
FILLED = 0.92  # of a bar's place that it fills
WIDEST = 0.8  # inches, of a bar
MOST_BARS = 48  # beside each other, so that figures fit above them
HEADROOM = 1.18  # for the figures above the highest bar
LETTER, LINE, LEAST = 0.056, 0.13, 0.105  # inches: a digit, a line of them, and the narrowest bar that has a figure
GROWTH = 1.18  # of axes' width when they are laid out
GAP = '–'  # stands where there is no bar

Figures = Mapping[str, Sequence[float | None]]  # of each run, in the order of the groups


def is_figure(value: float | None) -> bool:
    """Whether something was measured: COCO's -1 says that there was nothing to find."""
    return value is not None and math.isfinite(value) and value >= 0


def highest(*figures: Figures) -> float:
    """The greatest of all figures."""
    return max((v for runs in figures for values in runs.values() for v in values if is_figure(v)), default=0)


def rows_of(groups: Sequence[str], runs: int) -> list[list[str]]:
    """The groups in as many rows of about equal length as their bars need."""
    rows = min(len(groups), -(-len(groups) * runs // MOST_BARS))
    length = -(-len(groups) // rows)
    return [list(groups[start : start + length]) for start in range(0, len(groups), length)]


@dataclass(frozen=True)
class _Bar:
    """A bar of a run: its middle and width in groups, its width and the scale of its height in inches."""

    axes: Axes
    name: str
    middle: float
    width: float
    inches: float
    scale: float
    colour: str


def draw_bars(
    axes: Axes, groups: Sequence[str], figures: Figures, palette: Mapping[str, str], top: float | None = None,
    style: str = '{:.3f}', above: Figures | None = None,
) -> None:  # fmt: skip
    """Draw a bar for each run in each group, with its figure where there is room.

    Args:
        axes: where.
        groups: what stands below them.
        figures: None, NaN or -1 is a gap.
        palette: the runs' colours.
        top: the highest figure, if it is not that of these; several axes may share it.
        style: how a figure is written.
        above: figures that are greater, up to which bars go on lightly.
    """
    top = max(highest(figures, above or {}) if top is None else top, 1e-9)
    across, up = _inches(axes)
    place = min(FULL / len(figures), WIDEST * len(groups) / across)
    for r, (name, values) in enumerate(figures.items()):
        for g, value in enumerate(values):
            middle = g + (r - (len(figures) - 1) / 2) * place
            inches = place * across / len(groups)
            bar = _Bar(axes, name, middle, place * FILLED, inches, up / (top * HEADROOM), palette[name])
            _draw(bar, value, above[name][g] if above else None, style)
    axes.set(xlim=(-0.5, len(groups) - 0.5), ylim=(0, top * HEADROOM))
    axes.set_xticks(range(len(groups)), groups)
    settle(axes, grid='y')
    axes.tick_params(axis='x', length=0)


def _inches(axes: Axes) -> tuple[float, float]:
    """Width and height of axes, about: before they are laid out."""
    place = axes.get_position()
    return place.width * GROWTH * axes.figure.get_figwidth(), place.height * axes.figure.get_figheight()


def _draw(bar: _Bar, value: float | None, above: float | None, style: str) -> None:
    if is_figure(above):
        look = dict(facecolor=(bar.colour, 0.22), edgecolor=bar.colour, lw=0.9)
        bar.axes.bar(bar.middle, above, bar.width, label=f'{bar.name}, above', **look)
    if is_figure(value):
        bar.axes.bar(bar.middle, value, bar.width, color=bar.colour, label=bar.name)
    if is_figure(above):
        _say_two(bar, value, above, style)
    elif is_figure(value):
        _say(bar, value, style.format(value))
    else:
        look = dict(xytext=(0, 2), textcoords='offset points', ha='center', color=QUIET, fontsize=8)
        bar.axes.annotate(GAP, (bar.middle, 0), **look)


def _say_two(bar: _Bar, value: float | None, above: float, style: str) -> None:
    """The lesser figure in the full bar or in the light one; else above both below the greater, or in its place."""
    if not is_figure(value):
        _say(bar, above, style.format(above))
        return
    text, bold = style.format(value), dict(fontweight='bold')
    room = LINE + 0.04 if _fits(bar, text) else LETTER * len(text) + 0.08
    inside = dict(xytext=(0, -3), va='top', color='white' if lightness(bar.colour) < 0.6 else INK)
    if value * bar.scale >= room:
        _say(bar, value, text, **bold, **inside)
        _say(bar, above, style.format(above))
    elif (above - value) * bar.scale >= room:
        _say(bar, value, text, **bold)
        _say(bar, above, style.format(above))
    else:
        _say(bar, above, text, **bold)
        if _fits(bar, text):
            _say(bar, above, style.format(above), xytext=(0, 2 + 72 * LINE))


def _say(bar: _Bar, height: float, text: str, **look: object) -> None:
    """Write a figure above a bar: across, or upright where that is too wide, or not at all."""
    if bar.inches < LEAST:
        return
    usual = dict(xytext=(0, 2), textcoords='offset points', ha='center', va='bottom', fontsize=7.5, color=INK)
    bar.axes.annotate(text, (bar.middle, height), rotation=0 if _fits(bar, text) else 90, **{**usual, **look})


def _fits(bar: _Bar, text: str) -> bool:
    return bar.inches >= LETTER * len(text) + 0.03
