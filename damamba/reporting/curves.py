"""Curves of a training: losses by iteration, mAP by epoch, as one picture."""

from itertools import chain, cycle
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from damamba.reporting.logs import TrainingLog

METRICS = {'bbox_mAP': 'box mAP', 'segm_mAP': 'mask mAP', 'bbox_mAP_50': 'box AP50', 'segm_mAP_50': 'mask AP50'}
COLOURS = ('#3b6ea8', '#d1743c', '#6a9a58', '#8c62a8', '#b8a33b', '#5f9ea0')
INK = '#333333'


def draw_curves(log: TrainingLog, path: Path, title: str) -> Path:
    """Draw the losses and the metrics of a training beside each other into a picture file; return its path."""
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    losses, metrics = figure.subplots(1, 2)
    figure.suptitle(title, color=INK, fontweight='bold')
    _draw_losses(losses, log)
    _draw_metrics(metrics, log)
    for axes in (losses, metrics):
        _settle(axes)
    figure.savefig(path, dpi=130)
    return path


def _draw_losses(axes: Axes, log: TrainingLog) -> None:
    parts = sorted({name for row in log.train for name in row if name.startswith('loss_')})
    for name, colour in zip(['loss', *parts], chain((INK,), cycle(COLOURS)), strict=False):
        rows = [row for row in log.train if name in row]
        label = 'sum' if name == 'loss' else name.removeprefix('loss_')
        width = 2 if name == 'loss' else 1.2
        axes.plot([row['iter'] for row in rows], [row[name] for row in rows], label=label, color=colour, lw=width)
    axes.set(title='Loss', xlabel='iteration', ylim=(0, None))


def _draw_metrics(axes: Axes, log: TrainingLog) -> None:
    for (name, label), colour in zip(METRICS.items(), ('#3b6ea8', '#d1743c') * 2, strict=True):
        rows = log.validated(name)
        if rows:
            style = '--' if name.endswith('_50') else '-'
            axes.plot(*zip(*rows, strict=True), style, marker='o', ms=4, label=label, color=colour)
    axes.set(title='Validation', xlabel='epoch', ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _settle(axes: Axes) -> None:
    axes.grid(color='#e6e6e6', lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.tick_params(colors=INK)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)
