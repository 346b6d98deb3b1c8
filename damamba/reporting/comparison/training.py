"""Losses and validation of all runs, by epoch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from damamba.reporting.comparison.fonts import as_it_is
from damamba.reporting.comparison.layout import entitle, in_order, marker_of, settle, start, strokes, tone_of, write
from damamba.reporting.logs import TrainingLog

FEW = 12  # points up to which each is marked
FEW_EPOCHS = 3  # within which parts of epochs are told apart
MANY = 60  # points from which on a smoothed line is drawn
SMOOTHED = 0.04  # of a log that a point of the smoothed line is the mean of
SCALES = 10  # how often the loss of one run is that of another from where on a log axis is needed
METRICS = {'segm_mAP': 'mask mAP', 'bbox_mAP': 'box mAP'}
LOSSES = 'Losses of different models are sums of different parts: how one falls can be compared, how high it is cannot.'
VALIDATION = 'On the validation set while training: the mean over classes and overlaps of 0.50 to 0.95.'


@as_it_is
def draw_losses(logs: Mapping[str, TrainingLog], palette: Mapping[str, str], path: Path) -> Path:
    """Draw the sum of losses of all runs by epoch."""
    curves = {name: losses_by_epoch(logs[name]) for name in in_order(logs, palette)}
    marked = {name for name, (_, losses) in curves.items() if len(losses) <= FEW}
    figure = start('Training loss', LOSSES, strokes(curves, palette, marked), height=4)
    _losses(figure.subplots(), curves, palette)
    return write(figure, path)


def losses_by_epoch(log: TrainingLog) -> tuple[np.ndarray, np.ndarray]:
    """Epochs that had passed, and the losses there."""
    length = log.iterations_per_epoch()
    epochs, losses = np.array([(row['iter'] / length, row['loss']) for row in log.train], dtype=float).reshape(-1, 2).T
    return epochs, np.where(np.isfinite(losses), losses, np.nan)


def _losses(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], palette: Mapping[str, str]) -> None:
    for name, (epochs, losses) in curves.items():
        many = len(losses) >= MANY
        look = dict(lw=0.9, alpha=0.35) if many else dict(lw=1.8)
        marker = marker_of(name, palette) if len(losses) <= FEW else ''
        axes.plot(epochs, losses, marker=marker, ms=5, color=palette[name], label=name, **look)
        if many:
            axes.plot(epochs, smooth(losses), color=palette[name], lw=2, label=f'{name}, smoothed')
    _scale(axes, [losses[np.isfinite(losses)] for _, losses in curves.values()])
    _by_epoch(axes, 'loss')


def smooth(values: np.ndarray) -> np.ndarray:
    """The mean around each value, of fewer at the ends; NaN does not count."""
    window = np.ones(2 * max(1, round(SMOOTHED * len(values) / 2)) + 1)
    known = np.isfinite(values)
    sums = np.convolve(np.where(known, values, 0), window, mode='same')
    counts = np.convolve(known, window, mode='same')
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0.5)


def _scale(axes: Axes, losses: list[np.ndarray]) -> None:
    """A log axis where runs differ much; else one that begins with 0."""
    losses = [values for values in losses if len(values)]
    typical = [np.median(values) for values in losses]
    lowest = min((values.min() for values in losses), default=0)
    if lowest > 0 and max(typical) > SCALES * min(typical):
        axes.set_yscale('log')
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    else:
        axes.set_ylim(min(0, lowest), None)


def _by_epoch(axes: Axes, label: str) -> None:
    axes.set(xlabel='epoch', ylabel=label)
    axes.margins(x=0.02)
    axes.set_xlim(0, None)
    axes.xaxis.set_major_locator(MaxNLocator(steps=(1, 2, 5, 10), integer=axes.get_xlim()[1] > FEW_EPOCHS))
    settle(axes)


@as_it_is
def draw_validation(logs: Mapping[str, TrainingLog], palette: Mapping[str, str], path: Path) -> Path:
    """Draw mask mAP and box mAP of all runs by epoch beside each other."""
    found = {name: {metric: logs[name].validated(metric) for metric in METRICS} for name in in_order(logs, palette)}
    metrics = [metric for metric in METRICS if any(curves[metric] for curves in found.values())] or ['segm_mAP']
    figure = start('mAP while training', VALIDATION, strokes(found, palette, marked=found), height=3.9)
    panels = dict(zip(metrics, figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0], strict=True))
    curves = {metric: {name: by_metric[metric] for name, by_metric in found.items()} for metric in metrics}
    for metric, axes in panels.items():
        _validation(axes, curves[metric], palette)
        entitle(axes, METRICS[metric])
    panels[metrics[0]].set_ylim(0, None)  # once all are drawn: the panels share it, and it scales no more
    for metric, axes in panels.items():
        _say_last(axes, {name: points[-1] for name, points in curves[metric].items() if points}, palette)
    return write(figure, path)


def _validation(axes: Axes, curves: Mapping[str, list[tuple[int, float]]], palette: Mapping[str, str]) -> None:
    for name, points in curves.items():
        if points:
            look = dict(marker=marker_of(name, palette), ms=5, lw=1.8, color=palette[name], clip_on=False, zorder=3)
            axes.plot(*zip(*points, strict=True), label=name, **look)
    _by_epoch(axes, 'mAP')
    axes.margins(x=0.09)
    axes.autoscale(axis='x')
    axes.set_xlim(0, None)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _say_last(axes: Axes, ends: Mapping[str, tuple[int, float]], palette: Mapping[str, str]) -> None:
    """Write the last figures beside their points, apart from each other."""
    apart = 0.045 * axes.get_ylim()[1]
    reached: dict[int, float] = {}
    for name, (epoch, value) in sorted(ends.items(), key=lambda end: end[1][1]):
        height = max(value, reached.get(epoch, -apart) + apart)
        reached[epoch] = height
        axes.annotate(
            f'{value:.3f}', (epoch, height), (7, 0), textcoords='offset points', va='center', fontsize=8,
            color=tone_of(palette[name]), zorder=4, path_effects=[withStroke(linewidth=2.5, foreground='white')],
        )  # fmt: skip
