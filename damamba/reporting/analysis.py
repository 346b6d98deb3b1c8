"""Pictures of an evaluation's details: precision by recall, confusion, what errors cost.

They are drawn from plain dictionaries, as ``details`` in metrics.json has them; ``kinds`` are drawn beside each other.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from damamba.reporting.curves import COLOURS, INK

KINDS = {'bbox': 'boxes', 'segm': 'masks'}
STYLES = ('-', '--', ':')  # of overlaps
SHADES = LinearSegmentedColormap.from_list('shades', ['#ffffff', COLOURS[0]])
MOST_CELLS = 15  # classes beyond which numbers in a matrix would not be readable


def draw_precision_recall(details: Mapping, path: Path, title: str = 'Precision by recall') -> Path:
    """Draw a curve for each class and overlap into a picture file; of more classes than colours, their mean."""
    return _draw(details, path, title, _precision_recall, width=5.2, height=4.4)


def draw_confusion(details: Mapping, path: Path, title: str = 'What objects are taken for') -> Path:
    """Draw the confusion matrices, each row's parts as shades and the numbers in the cells, into a picture file."""
    classes = max(len(kind['confusion']['classes']) for kind in details['kinds'].values())
    side = min(10.0, 3.2 + 0.6 * classes)
    return _draw(details, path, title, _confusion, width=side, height=side)


def draw_errors(details: Mapping, path: Path, title: str = 'AP50 lost to each kind of error') -> Path:
    """Draw what each kind of error costs each class into a picture file; of more classes than colours, the mean."""
    shown = [_shown_classes(kind['errors']) for kind in details['kinds'].values()]
    costs = [values[error] for classes in shown for values in classes.values() for error in set(values) - {'AP50'}]
    draw = partial(_errors, most=max(costs, default=0.05))  # one scale for all
    return _draw(details, path, title, draw, width=5.6, height=1.4 + 8 * max(0.35, 0.15 * max(map(len, shown))))


def _draw(
    details: Mapping, path: Path, title: str, draw: Callable[[Axes, Mapping], None], width: float, height: float
) -> Path:
    kinds = details['kinds']
    figure = Figure(figsize=(width * len(kinds), height), layout='constrained')
    figure.suptitle(title, color=INK, fontweight='bold')
    for axes, (kind, values) in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds.items(), strict=True):
        axes.set_title(KINDS[kind], color=INK)
        axes.tick_params(colors=INK)
        draw(axes, values)
    figure.savefig(path, dpi=130)
    return path


def _precision_recall(axes: Axes, kind: Mapping) -> None:
    curves = {name: by_overlap for name, by_overlap in kind['curves'].items() if by_overlap}
    if len(curves) > len(COLOURS):
        overlaps = next(iter(curves.values()))
        curves = {f'mean of {len(curves)}': {o: np.mean([c[o] for c in curves.values()], axis=0) for o in overlaps}}
    for (name, by_overlap), colour in zip(curves.items(), COLOURS, strict=False):
        for (overlap, precision), style in zip(by_overlap.items(), STYLES, strict=False):
            recall = np.linspace(0, 1, len(precision))
            axes.plot(recall, precision, style, color=colour, lw=1.6, label=f'{name}, IoU {overlap}')
    axes.set(xlabel='recall', ylabel='precision', xlim=(0, 1.01), ylim=(0, 1.02))
    _settle(axes)
    axes.grid(color='#e6e6e6', lw=0.8)


def _confusion(axes: Axes, kind: Mapping) -> None:
    classes, counts = kind['confusion']['classes'], np.array(kind['confusion']['counts'])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=90 if len(classes) > 5 else 0)
    axes.set_yticks(places, classes)
    axes.set(xlabel='taken for', ylabel='object')
    axes.spines[:].set_color('#cccccc')
    if len(classes) > MOST_CELLS:
        axes.tick_params(labelsize=6)
        return
    for r in places:
        for c in places:
            if (r, c) != (places[-1], places[-1]):  # there is no background that was not detected
                text = f'{counts[r, c]:,}\n{shares[r, c]:.0%}'
                colour = 'white' if shares[r, c] > 0.7 else INK
                axes.text(c, r, text, ha='center', va='center', color=colour, fontsize=9)


def _shown_classes(errors: Mapping) -> dict[str, Mapping]:
    """The classes that have objects; the mean if there are more of them than colours."""
    classes = {name: values for name, values in errors['classes'].items() if values['AP50'] >= 0}
    return classes if len(classes) <= len(COLOURS) else {f'mean of {len(classes)}': errors['values']}


def _errors(axes: Axes, kind: Mapping, most: float) -> None:
    classes = _shown_classes(kind['errors'])
    names = [name for name in kind['errors']['values'] if name != 'AP50']
    height = min(0.4, 0.8 / max(len(classes), 1))
    for k, ((name, values), colour) in enumerate(zip(classes.items(), COLOURS, strict=False)):
        places = np.arange(len(names)) + (k - (len(classes) - 1) / 2) * height
        costs = [values[error] for error in names]
        bars = axes.barh(places, costs, height, color=colour, label=f'{name}, AP50 {values["AP50"]:.3f}')
        axes.bar_label(
            bars, [f'{cost:.3f}' if cost >= 0.0005 else '' for cost in costs], padding=3, fontsize=7, color=INK
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axhline(len(names) - 2.5, color='#cccccc', lw=0.8)  # the last two take in what stands above
    axes.set(xlabel='AP50', xlim=(0, max(most, 0.01) * 1.18))
    _settle(axes, loc='upper center', bbox_to_anchor=(0.5, -0.75 / axes.figure.get_figheight()), ncols=2)
    axes.grid(axis='x', color='#e6e6e6', lw=0.8)


def _settle(axes: Axes, **legend: object) -> None:
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, **legend)
