"""Losses and validation by epoch, of several runs; of one run the parts of its loss too."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from damamba.reporting.charts.style import INK, Palette, marker_of, new_chart, palette_of, tone_of
from damamba.reporting.logs import TrainingLog

FEW = 12  # points up to which each is marked
FEW_EPOCHS = 3  # within which parts of epochs are told apart
MANY = 60  # points from which on a smoothed line is drawn
SMOOTHED = 0.04  # of a log that a point of the smoothed line is the mean of
SCALES = 10  # how often the loss of one run is that of another from where on a log axis is needed
METRICS = {'segm_mAP': 'mask mAP', 'bbox_mAP': 'box mAP'}
LOSSES = 'Losses of different models are sums of different parts: how one falls can be compared, how high it is cannot.'
VALIDATION = 'On the validation set while training: the mean over classes and overlaps of 0.50 to 0.95.'


def draw_losses(logs: Mapping[str, TrainingLog], palette: Palette, path: Path) -> Path:
    """Draw the losses of all runs by epochs that had passed, on a log axis where they differ much, else from 0 on."""
    with new_chart(path, 'Training loss', 4, LOSSES) as ((axes,),):
        for name, log in logs.items():
            epochs = np.array([row['iter'] for row in log.train]) / log.iterations_per_epoch()
            losses = np.array([row['loss'] for row in log.train], dtype=float)
            losses[np.isinf(losses)] = np.nan
            look = dict(color=palette[name], label=name, marker=marker_of(name, palette) if len(losses) <= FEW else '')
            if len(losses) >= MANY:
                axes.plot(epochs, losses, lw=0.9, alpha=0.35, **look)
                losses = smooth(losses)
            axes.plot(epochs, losses, **look)
        losses = [line.get_ydata()[np.isfinite(line.get_ydata())] for line in axes.lines]
        typical = [np.median(values) for values in losses if len(values)]
        lowest = min(np.concatenate([*losses, [np.inf]]))
        if lowest > 0 and max(typical, default=0) > SCALES * min(typical, default=0):
            axes.set_yscale('log')
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter('{x:g}')
            axes.minorticks_off()
        else:
            axes.set_ylim(bottom=min(0, lowest))
        axes.set(xlabel='epoch', ylabel='loss', xlim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(steps=(1, 2, 5, 10), integer=axes.get_xlim()[1] > FEW_EPOCHS))
    return path


def smooth(values: np.ndarray) -> np.ndarray:
    """The mean around each value, of fewer at the ends; NaN does not count, and is the mean of nothing."""
    window = np.ones(2 * max(1, round(SMOOTHED * len(values) / 2)) + 1)
    sums, counts = (np.convolve(it, window, mode='same') for it in (np.nan_to_num(values), np.isfinite(values)))
    return sums / np.where(counts > 0, counts, np.nan)


def draw_validation(logs: Mapping[str, TrainingLog], palette: Palette, path: Path) -> Path:
    """Draw mask mAP and box mAP of all runs by epoch beside each other."""
    logs = {name: log for name, log in logs.items() if any(map(log.validated, METRICS))}
    metrics = [key for key in METRICS if any(log.validated(key) for log in logs.values())] or ['segm_mAP']
    with new_chart(path, 'mAP while training', 3.7, VALIDATION, columns=len(metrics), sharey=True) as (panels,):
        for axes, key in zip(panels, metrics, strict=True):
            for name, log in logs.items():
                _plot_metric(axes, log, key, label=name, color=palette[name], marker=marker_of(name, palette))
            axes.set(title=METRICS[key], xlabel='epoch', ylabel='mAP')
        panels[0].set_ylim(bottom=0)  # once all are drawn: the panels share it, and it scales no more
        for axes in panels:
            _write_last(axes)
    return path


def _plot_metric(axes: Axes, log: TrainingLog, metric: str, **look: str) -> None:
    axes.plot(*np.array(log.validated(metric)).reshape(-1, 2).T, clip_on=False, zorder=3, **look)
    axes.margins(x=0.09)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _write_last(axes: Axes) -> None:
    """Write the last figures beside their points, apart from each other."""
    apart = 0.045 * axes.get_ylim()[1]
    reached: dict[float, float] = {}
    ends = [(*line.get_xydata()[-1], tone_of(line.get_color())) for line in axes.lines if len(line.get_xydata())]
    for epoch, value, colour in sorted(ends, key=lambda end: end[1]):
        reached[epoch] = max(value, reached.get(epoch, -apart) + apart)
        look = dict(color=colour, fontsize=8, va='center', path_effects=[withStroke(linewidth=2.5, foreground='white')])
        axes.annotate(f'{value:.3f}', (epoch, reached[epoch]), (7, 0), textcoords='offset points', zorder=4, **look)
    axes.set_xlim(left=0)


def draw_curves(log: TrainingLog, path: Path, title: str) -> Path:
    """Draw one training: the parts of its loss by iteration, and beside them mAP and AP50 by epoch."""
    parts = sorted({name for row in log.train for name in row if name.startswith('loss_')})
    with new_chart(path, title, 3.9, columns=2) as ((losses, metrics),):
        for name, colour in {'loss': INK, **palette_of(parts)}.items():
            points = [(row['iter'], row[name]) for row in log.train if name in row]
            look = dict(label='sum', lw=2) if name == 'loss' else dict(label=name.removeprefix('loss_'), lw=1.2)
            losses.plot(*np.array(points).reshape(-1, 2).T, color=colour, **look)
        for key, colour in palette_of(METRICS).items():
            for metric, style in ((key, '-'), (f'{key}_50', '--')):
                label = METRICS[key] if metric == key else METRICS[key].replace('mAP', 'AP50')
                if log.validated(metric):
                    _plot_metric(metrics, log, metric, label=label, color=colour, marker='o', ls=style)
        losses.set(title='Loss', xlabel='iteration', ylim=(0, None))
        metrics.set(title='Validation', xlabel='epoch', ylim=(0, 1))
        for axes in (losses, metrics):
            if axes.lines:
                axes.legend()
    return path
