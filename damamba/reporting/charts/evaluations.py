"""What tests scored: AP, recall, precision by recall, costs of errors, confusion, over- and under-segmentation.

``what`` says in a title of what figures are; without another word they go by run.
"""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from damamba.reporting.charts.bars import Figures, Panel, draw_bar_chart
from damamba.reporting.charts.style import INK, RUN_COLOURS, Palette, new_chart, palette_of, wrap_name
from damamba.reporting.ground_truth import mean_curves
from damamba.reporting.words import KINDS
from damamba.tables import is_figure

OVERVIEW = (
    'Full bars and bold figures: mAP, the mean over overlaps of 0.50 to 0.95. Light bars: AP50, at 0.50. '
    'Lines: 95 % intervals.'
)
OVERLAPS = {'0.50': '-', '0.75': '--'}  # and the curves' styles in the chart of one run
CURVES = 'How many of what was found is right, by how much of what is there was found; the area is AP.'
MOST_CLASSES = 6  # beside each other in the charts of one run
COSTS = 'What AP50 would gain if errors of one kind alone were mended; the last two take in the others.'
SUMS = 'false positives'  # from here on the kinds of errors take in those before
SHADES = LinearSegmentedColormap.from_list('shades', ['#ffffff', RUN_COLOURS[0]])
MOST_CELLS = 15  # classes beyond which numbers in a matrix would not be readable

Texts = Mapping[str, str]


def draw_overview(scores: Mapping[str, Figures], palette: Palette, path: Path, what: str) -> Path:
    """Draw mAP and AP50 of all runs on each data set: full bars inside light ones."""
    groups = {dataset: wrap_name(dataset, max(14, 100 // len(scores))) for dataset in scores}
    names = [name for name in palette if any(name in runs for runs in scores.values())]
    by_run = {name: {dataset: runs.get(name) for dataset, runs in scores.items()} for name in names}
    panel = Panel(groups, by_run, 'average precision', ('mAP', 'mAP_50'))
    return draw_bar_chart(path, f'mAP and AP50: {what}', [panel], palette, OVERVIEW)


def draw_figures(
    figures: Figures, palette: Palette, path: Path, what: str, shown: Mapping[str, Texts], topic: Texts
) -> Path:
    """Draw bars of figures by rows of topics.csv and figures.csv; those without a label and a panel are in no chart."""
    panels, charted = [], (key for key, row in shown.items() if row['label'] or row['panel'])
    for heading, keys in groupby(charted, lambda key: shown[key]['panel']):
        groups = {key: shown[key]['label'].replace('|', '\n') or key for key in keys}
        having = {run: it for run, it in figures.items() if not groups.keys().isdisjoint(it)}
        heading = heading.format(most=next(iter(groups)).partition('@')[2])
        panels.append(Panel(groups, having, topic['unit'], heading=heading, form=topic['form']))
    return draw_bar_chart(path, topic['chart'].format(what=what), panels, palette, topic['note'])


def draw_precision_recall(curves: Figures, palette: Palette, path: Path, what: str) -> Path:
    """Draw precision by recall of all runs at overlaps of 0.50 and 0.75."""
    panels = {
        f'IoU {overlap}': [(name, of[overlap], palette[name], '-') for name, of in curves.items()]
        for overlap in OVERLAPS
    }
    return _draw_curves(path, f'Precision by recall: {what}', panels)


def draw_class_precision_recall(details: Mapping, path: Path) -> Path:
    """Draw the curves of each class of one run, boxes beside masks, from its details; of many classes, their mean."""
    panels, palette = {}, {}
    for kind, values in details['kinds'].items():
        curves = _few_or_mean({name: of for name, of in values['curves'].items() if of}, mean_curves(values['curves']))
        palette = palette_of([*palette, *curves])
        panels[KINDS[kind]] = [
            (f'{name}, IoU {overlap}', of[overlap], palette[name], style)
            for name, of in curves.items()
            for overlap, style in OVERLAPS.items()
        ]
    return _draw_curves(path, 'Precision by recall', panels)


def _few_or_mean(classes: Mapping[str, Any], mean: Any) -> Mapping[str, Any]:
    """What classes have; of many classes their mean."""
    return classes if len(classes) <= MOST_CLASSES else {f'mean of {len(classes)}': mean}


def _draw_curves(path: Path, title: str, panels: Mapping[str, list[tuple[str, np.ndarray, str, str]]]) -> Path:
    """Draw curves, each with its label, precision, colour and style, in panels by their headings."""
    with new_chart(path, title, 4.4, CURVES, columns=len(panels), sharey=True) as (row,):
        for axes, (heading, curves) in zip(row, panels.items(), strict=True):
            for label, precision, colour, style in curves:
                axes.plot(np.linspace(0, 1, len(precision)), precision, style, color=colour, label=label, clip_on=False)
            axes.set(title=heading, xlabel='recall', xlim=(0, 1.01), ylim=(0, 1.02))
        row[0].set_ylabel('precision')
    return path


def draw_errors(errors: Figures, palette: Palette, path: Path, what: str) -> Path:
    """Draw what errors cost each run."""
    return _draw_costs(path, f'AP50 lost to each kind of error: {what}', {'': errors}, palette)


def draw_class_errors(details: Mapping, path: Path) -> Path:
    """Draw what errors cost each class of one run, boxes and masks, from its details; of many classes, the mean."""
    panels = {}
    for kind, values in details['kinds'].items():
        classes = {name: it for name, it in values['errors']['classes'].items() if is_figure(it['AP50'])}
        panels[KINDS[kind]] = _few_or_mean(classes, values['errors']['values'])
    palette = palette_of(name for classes in panels.values() for name in classes)
    return _draw_costs(path, 'AP50 lost to each kind of error', panels, palette)


def _draw_costs(path: Path, title: str, costs: Mapping[str, Figures], palette: Palette) -> Path:
    """Draw the costs in panels by their headings; the legend tells which AP50 is lost from, where there is one."""
    panels, labels = [], {}
    for heading, errors in costs.items():
        groups = {kind: wrap_name(kind, 14) for values in errors.values() for kind in values if kind != 'AP50'}
        panels.append(Panel(groups, errors, 'AP50 lost', heading=heading, sums=SUMS))
        for name, values in errors.items():
            reached = f', AP50 {values["AP50"]:.3f}' if is_figure(values.get('AP50')) else ''
            labels[name] = labels.get(name, name) + reached + (f' of {heading}' if reached and heading else '')
    return draw_bar_chart(path, title, panels, palette, COSTS, labels)


def draw_confusion(details: Mapping, path: Path) -> Path:
    """Draw what objects are taken for, boxes beside masks, from a run's details: the parts of rows as shades."""
    kinds = details['kinds']
    side = min(10.0, 3.2 + 0.6 * max(len(values['confusion']['classes']) for values in kinds.values()))
    with new_chart(path, 'What objects are taken for', side, width=side * len(kinds), columns=len(kinds)) as (row,):
        for axes, (kind, values) in zip(row, kinds.items(), strict=True):
            classes, counts = values['confusion']['classes'], np.array(values['confusion']['counts'])
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
            axes.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 5 else 0)
            axes.set_yticks(range(len(classes)), classes)
            axes.tick_params(labelsize=6 if len(classes) > MOST_CELLS else 9)
            axes.set(title=KINDS[kind], xlabel='taken for', ylabel='object')
            axes.grid(False)
            cells = list(np.ndenumerate(counts))[:-1]  # there is no background that was not detected
            for place, count in cells if len(classes) <= MOST_CELLS else ():
                look = dict(ha='center', va='center', color='white' if shares[place] > 0.7 else INK)
                axes.text(*place[::-1], f'{count:,}\n{shares[place]:.0%}', **look)
    return path
