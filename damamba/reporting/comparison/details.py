"""What lies behind the scores of all runs: curves, errors, over- and under-segmentation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from damamba.reporting.comparison.bars import draw_bars, is_figure, rows_of
from damamba.reporting.comparison.fonts import as_it_is
from damamba.reporting.comparison.layout import entitle, in_order, patches, settle, start, strokes, subject, wrap, write
from damamba.reporting.comparison.scores import chosen, details_of

OVERLAPS = ('0.50', '0.75')
SUMS = 'false positives'  # from here on the kinds of errors take in those before
SEGMENTATION = {
    'under rate': 'under-segmentation:\nmasks over several objects',
    'over rate': 'over-segmentation:\nobjects with several masks',
}


@as_it_is
def draw_precision_recall(
    evaluations: Mapping[str, dict], palette: Mapping[str, str], path: Path, kind: str, focus: str | None
) -> Path:
    """Draw precision by recall of all runs at overlaps of 0.50 and 0.75."""
    details = _details(evaluations, palette, kind)
    note = 'How many of what was found is right, by how much of what is there was found; the area is AP.'
    figure = start(f'Precision by recall: {subject(kind, focus)}', note, strokes(details, palette), height=4.6)
    look = dict(lw=1.8, clip_on=False)
    for axes, overlap in zip(figure.subplots(1, 2, sharey=True), OVERLAPS, strict=True):
        for name, values in details.items():
            precision = curve(values['curves'], overlap, focus)
            axes.plot(np.linspace(0, 1, len(precision)), precision, color=palette[name], label=name, **look)
        entitle(axes, f'IoU {overlap}')
        axes.set(xlabel='recall', ylabel='precision', xlim=(0, 1.01), ylim=(0, 1.02))
        settle(axes)
    return write(figure, path)


def curve(curves: Mapping[str, Mapping[str, list[float]]], overlap: str, focus: str | None) -> np.ndarray:
    """Precision at the recalls from 0 to 1, of a class or the mean of all that have objects; may be empty."""
    there = [
        by_overlap[overlap] for name, by_overlap in curves.items() if overlap in by_overlap and focus in (None, name)
    ]
    return np.mean(there, axis=0) if there else np.zeros(0)


@as_it_is
def draw_errors(
    evaluations: Mapping[str, dict], palette: Mapping[str, str], path: Path, kind: str, focus: str | None
) -> Path:
    """Draw the AP50 that each kind of error costs each run."""
    errors = {name: chosen(d['errors'], focus) for name, d in _details(evaluations, palette, kind).items()}
    kinds = list(dict.fromkeys(error for values in errors.values() for error in values if error != 'AP50'))
    labels = {
        name: f'{name}, AP50 {values["AP50"]:.3f}' if is_figure(values.get('AP50')) else name
        for name, values in errors.items()
    }
    rows = rows_of(kinds, len(errors))
    note = 'What AP50 would gain if errors of one kind alone were mended; the last two take in the others.'
    title = f'AP50 lost to each kind of error: {subject(kind, focus)}'
    figure = start(title, note, patches(labels, palette), height=3.4 * len(rows))
    costs = [v for values in errors.values() for error, v in values.items() if error != 'AP50' and is_figure(v)]
    top = max(costs, default=0)
    for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        _errors(axes, row, errors, palette, top)
    return write(figure, path)


def _errors(axes: Axes, kinds: Sequence[str], errors: Mapping, palette: Mapping[str, str], top: float) -> None:
    values = {name: [costs.get(error) for error in kinds] for name, costs in errors.items()}
    draw_bars(axes, [wrap(error, 14) for error in kinds], values, palette, top)
    axes.set_ylabel('AP50 lost')
    if SUMS in kinds and kinds[0] != SUMS:
        axes.axvline(kinds.index(SUMS) - 0.5, color='#bbbbbb', lw=0.8)


@as_it_is
def draw_segmentation(
    evaluations: Mapping[str, dict], palette: Mapping[str, str], path: Path, focus: str | None
) -> Path:
    """Draw how often a mask covers several objects, and an object has several masks."""
    details = {name: values['segmentation'] for name, values in _details(evaluations, palette, 'segm').items()}
    rates = {name: chosen(part, focus) for name, part in details.items() if part}
    values = {name: [part.get(key) for key in SEGMENTATION] for name, part in rates.items()}
    title = f'Over- and under-segmentation: {subject("segm", focus)}'
    note = 'Parts of the masks that score enough to be used, and of the objects. Less is better.'
    figure = start(title, note, patches({name: name for name in values}, palette), height=3.4)
    axes = figure.subplots()
    draw_bars(axes, list(SEGMENTATION.values()), values, palette, style='{:.1%}')
    axes.set_ylabel('rate')
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return write(figure, path)


def _details(evaluations: Mapping[str, dict], palette: Mapping[str, str], kind: str) -> dict[str, dict]:
    """The details of the runs that have some."""
    details = {name: details_of(evaluations[name], kind) for name in in_order(evaluations, palette)}
    return {name: values for name, values in details.items() if values}
