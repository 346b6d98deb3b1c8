"""Average precision and recall of all runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from damamba.reporting.comparison.bars import MOST_BARS, Figures, draw_bars, highest, rows_of
from damamba.reporting.comparison.fonts import as_it_is
from damamba.reporting.comparison.layout import entitle, in_order, patches, start, subject, wrap, write

SIZES = ('s', 'm', 'l')
PIXELS = ('small\n< 32² pixels', 'medium\n32² to 96² pixels', 'large\n≥ 96² pixels')  # areas
SHARES = ('small\n< 1/300', 'medium\n1/300 to 3/100', 'large\n≥ 3/100')


@as_it_is
def draw_overview(
    scores: Mapping[str, Mapping[str, Mapping[str, float]]], palette: Mapping[str, str], path: Path, focus: str | None
) -> Path:
    """Draw mAP and AP50 of masks, of all runs on each data set: full bars inside light ones."""
    names = in_order({name for runs in scores.values() for name in runs}, palette)
    rows = rows_of(list(scores), len(names))
    note = 'Full bars and bold figures: mAP, the mean over overlaps of 0.50 to 0.95. Light bars: AP50, at 0.50.'
    title = f'mAP and AP50: {subject("segm", focus)}'
    figure = start(title, note, patches({name: name for name in names}, palette), height=3.6 * len(rows))
    top = max(highest(_by_run(scores, names, key)) for key in ('mAP', 'mAP_50'))
    for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        _overview(axes, {dataset: scores[dataset] for dataset in row}, names, palette, top)
    return write(figure, path)


def _overview(
    axes: Axes,
    scores: Mapping[str, Mapping[str, Mapping[str, float]]],
    names: Sequence[str],
    palette: Mapping[str, str],
    top: float,
) -> None:
    means, halves = (_by_run(scores, names, key) for key in ('mAP', 'mAP_50'))
    width = max(14, 100 // len(scores))
    draw_bars(axes, [wrap(dataset, width) for dataset in scores], means, palette, top, above=halves)
    axes.set_ylabel('average precision')


def _by_run(
    scores: Mapping[str, Mapping[str, Mapping[str, float]]], names: Sequence[str], key: str
) -> dict[str, list[float | None]]:
    """A figure on each data set, by run."""
    return {name: [runs.get(name, {}).get(key) for runs in scores.values()] for name in names}


@as_it_is
def draw_sizes(
    evaluations: Mapping[str, dict], palette: Mapping[str, str], path: Path, kind: str, focus: str | None
) -> Path:
    """Draw AP of small, medium and large objects: by pixels, and beside it by parts of the picture."""
    pixels, shares = by_size(evaluations, palette, 'mAP_{}', kind, focus)
    return _draw_sides(
        f'AP by size of objects: {subject(kind, focus)}', 'average precision', palette, path,
        [('area in pixels, as COCO has it', PIXELS, pixels), ('area as a part of the picture', SHARES, shares)],
    )  # fmt: skip


@as_it_is
def draw_recall(
    evaluations: Mapping[str, dict], palette: Mapping[str, str], path: Path, kind: str, focus: str | None
) -> Path:
    """Draw AR by the number of detections that count in a picture, and by size."""
    runs = {name: figures(evaluations[name], kind, focus) for name in in_order(evaluations, palette)}
    limits = sorted({int(key[3:]) for values in runs.values() for key in values if key.startswith('AR@')})
    overall = {name: [values.get(f'AR@{limit}') for limit in limits] for name, values in runs.items()}
    most = max(limits, default=100)
    sizes = {name: [values.get(f'AR_{size}@{most}') for size in SIZES] for name, values in runs.items()}
    return _draw_sides(
        f'Recall: {subject(kind, focus)}', 'average recall', palette, path,
        [('by how many detections of a picture and class count', [f'AR@{limit}' for limit in limits], overall),
         (f'AR@{most} by area in pixels', PIXELS, sizes)],
    )  # fmt: skip


def by_size(
    evaluations: Mapping[str, dict], palette: Mapping[str, str], key: str, kind: str, focus: str | None
) -> tuple[dict[str, list], dict[str, list]]:
    """Figures of small, medium and large objects: by pixels, and of the runs with details by parts of the picture."""
    pixels, shares = {}, {}
    for name in in_order(evaluations, palette):
        scores = figures(evaluations[name], kind, focus)
        pixels[name] = [scores.get(key.format(size)) for size in SIZES]
        details = details_of(evaluations[name], kind)
        if details and details.get('sizes'):
            values = chosen(details['sizes'], focus)
            shares[name] = [values.get(key.format(size)) for size in SIZES]
    return pixels, shares


def figures(evaluation: dict, kind: str, focus: str | None) -> dict[str, float]:
    """The scores of a class or their mean; none where there are none."""
    scores = evaluation['scores'].get(kind)
    return chosen(scores, focus) if scores else {}


def chosen(part: Mapping, focus: str | None) -> dict[str, float]:
    """The values of a class, or those of all."""
    return part['values'] if focus is None else part['classes'].get(focus, {})


def details_of(evaluation: dict, kind: str) -> dict | None:
    """The details of boxes or masks, if there are any."""
    return ((evaluation.get('details') or {}).get('kinds') or {}).get(kind)


def _draw_sides(
    title: str, label: str, palette: Mapping[str, str], path: Path, sides: Sequence[tuple[str, Sequence[str], Figures]]
) -> Path:
    """Bars beside each other on one scale, below each other where there are many; a side without runs is left out."""
    sides = [side for side in sides if side[2]]
    names = in_order({name for _, _, values in sides for name in values}, palette)
    rows = len(sides) if sum(len(groups) * len(values) for _, groups, values in sides) > MOST_BARS else 1
    figure = start(title, '', patches({name: name for name in names}, palette), height=3.6 * rows)
    top = highest(*(values for _, _, values in sides))
    grid = figure.subplots(rows, len(sides) // rows, squeeze=False, sharey=True)
    for axes, (heading, groups, values) in zip(grid.flat, sides, strict=True):
        draw_bars(axes, groups, values, palette, top)
        entitle(axes, heading)
        axes.set_ylabel(label if axes.get_subplotspec().is_first_col() else '')
    return write(figure, path)
