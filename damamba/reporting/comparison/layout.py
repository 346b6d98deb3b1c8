"""What all pictures of a comparison share: colours, the place of title, note and legend, and the names of runs."""

import re
import textwrap
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from damamba.reporting.analysis import KINDS
from damamba.reporting.comparison.fonts import save
from damamba.reporting.curves import INK

# The first six after Okabe and Ito, https://jfly.uni-koeln.de/color, light ones darkened for a white ground.
RUN_COLOURS = (
    '#0067a8', '#c44601', '#009e73', '#e69f00', '#c2659d', '#4fb0e6',
    '#2b2b2b', '#332288', '#882255', '#47b256', '#663300', '#8f8f8f',
)  # fmt: skip
MARKERS = 'osD^vPX<>*hp'  # of runs, so that curves differ in more than colour
SHIFT = 5  # markers, at each turn of the colours
QUIET = '#666666'  # of what stands beside the figures
WIDTH = 11.0  # inches; a report shows them as about 1100 pixels
DPI = 150
LINE = 0.19  # inches, of a line of the note or the legend
LETTER = 0.076  # inches, of the legend


def palette_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each run; those after the twelfth have darker tones of the same colours."""
    palette = {}
    for name in dict.fromkeys(names):
        turn, place = divmod(len(palette), len(RUN_COLOURS))
        palette[name] = to_hex(np.array(to_rgb(RUN_COLOURS[place])) * 0.7**turn)
    return palette


def subject(kind: str, focus: str | None) -> str:
    """What figures are of, for a title."""
    return f'{KINDS[kind]} of {focus}' if focus else f'{KINDS[kind]}, mean over classes'


def wrap(name: str, width: int) -> str:
    """A name in lines of at most ``width`` letters, broken after a sign where there is one."""
    parts = re.findall(r'[^_\-/ .]*[_\-/ .]*', name)
    lines = ['']
    for part in parts:
        if lines[-1] and len((lines[-1] + part).rstrip()) > width:
            lines.append('')
        lines[-1] += part
    return '\n'.join(piece.strip() for line in lines for piece in textwrap.wrap(line, width) or [''])


def tone_of(colour: str) -> str:
    """A colour as letters on white have it: a light one darker."""
    return to_hex(np.array(to_rgb(colour)) * (1 if lightness(colour) < 0.45 else 0.72))


def lightness(colour: str) -> float:
    """How light a colour is to the eye, from 0 to 1."""
    return float(np.dot(to_rgb(colour), (0.3, 0.59, 0.11)))


def marker_of(name: str, palette: Mapping[str, str]) -> str:
    """The marker of a run, the same in every picture; runs of nearly one colour have different ones."""
    turn, place = divmod(list(palette).index(name), len(RUN_COLOURS))
    return MARKERS[(place + SHIFT * turn) % len(MARKERS)]


def start(title: str, note: str, legend: Sequence[Artist], height: float, width: float = WIDTH) -> Figure:
    """An empty figure with its title and a note at the top and the legend at the bottom, ``height`` inches between."""
    notes = textwrap.wrap(note, int(width * 14.5))
    columns, rows = _legend_shape(legend, width)
    top, bottom = 0.46 + LINE * len(notes), 0.14 + LINE * rows
    whole = top + height + bottom
    figure = Figure(figsize=(width, whole), layout='constrained')
    figure.get_layout_engine().set(rect=(0, bottom / whole, 1, height / whole), w_pad=0.08, h_pad=0.06)
    figure.text(0.1 / width, 1 - 0.1 / whole, title, color=INK, fontweight='bold', fontsize=13, va='top')
    figure.text(0.1 / width, 1 - 0.38 / whole, '\n'.join(notes), color=QUIET, fontsize=9, va='top', linespacing=1.35)
    if legend:
        figure.legend(
            handles=legend, loc='lower left', bbox_to_anchor=(0.08 / width, 0.05 / whole), ncols=columns, frameon=False,
            fontsize=9, labelcolor=INK, borderaxespad=0, borderpad=0.2, labelspacing=0.3,
        ).set_in_layout(False)  # fmt: skip
    for text in figure.texts:
        text.set_in_layout(False)
    return figure


def _legend_shape(legend: Sequence[Artist], width: float) -> tuple[int, int]:
    """Columns, and rows in lines of text."""
    if not legend:
        return 1, 0
    labels = [artist.get_label().split('\n') for artist in legend]
    longest = max(len(line) for lines in labels for line in lines)
    columns = max(1, min(len(legend), int(width / (longest * LETTER + 0.65))))
    return columns, -(-len(legend) // columns) * max(map(len, labels))


def patches(labels: Mapping[str, str], palette: Mapping[str, str]) -> list[Patch]:
    """A legend of bars, from the label of each run."""
    return [Patch(color=palette[name], label=wrap(label, 90)) for name, label in labels.items()]


def strokes(names: Iterable[str], palette: Mapping[str, str], marked: Container[str] = ()) -> list[Line2D]:
    """A legend of curves, some of which have their points marked."""
    markers = {name: marker_of(name, palette) if name in marked else '' for name in names}
    return [
        Line2D([], [], color=palette[name], lw=2, marker=marker, ms=5, label=wrap(name, 90))
        for name, marker in markers.items()
    ]


def in_order(names: Iterable[str], palette: Mapping[str, str]) -> list[str]:
    """The runs in the order of the palette."""
    return sorted(names, key=list(palette).index)


def entitle(axes: Axes, title: str) -> None:
    """Give axes their heading."""
    axes.set_title(title, color=INK, fontsize=10)


def settle(axes: Axes, grid: str = 'both') -> None:
    """Give axes their quiet look: a light grid behind what is drawn, no frame above and on the right."""
    axes.grid(axis=grid, color='#e6e6e6', lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color('#999999')
    axes.tick_params(colors=INK, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=9)


def write(figure: Figure, path: Path) -> Path:
    """Write a figure into a file; return its path."""
    return save(figure, path, DPI)
