"""What all charts share beside report.mplstyle: colours, markers and names of runs, fonts, title, note and legend."""

import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context, rc_params_from_file, rcParams
from matplotlib.artist import Artist
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

STYLE = rc_params_from_file(Path(__file__).with_name('report.mplstyle'), use_default_template=False)
RUN_COLOURS = STYLE['axes.prop_cycle'].by_key()['color']
MARKERS = 'osD^vPX<>*hp'  # of runs, so that curves differ in more than colour
SHIFT = 5  # markers, at each turn of the colours
INK, QUIET = '#333333', '#666666'  # texts and notes
WIDTH = 11.0  # inches; a report shows them as about 1100 pixels
TITLE = 0.4  # inches, for a figure's title

Palette = Mapping[str, str]  # the colour of each run, in their order


def palette_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each run; those after the twelfth have darker tones of the same colours."""
    turns = ((name, *divmod(k, len(RUN_COLOURS))) for k, name in enumerate(dict.fromkeys(names)))
    return {name: to_hex(np.array(to_rgb(RUN_COLOURS[place])) * 0.7**turn) for name, turn, place in turns}


def marker_of(name: str, palette: Palette) -> str:
    """The marker of a run, the same in every chart; runs of nearly one colour have different ones."""
    place = list(palette).index(name)
    return MARKERS[(place + SHIFT * (place // len(RUN_COLOURS))) % len(MARKERS)]


def tone_of(colour: str) -> str:
    """A colour as letters on white have it: a light one darker."""
    is_dark = np.dot(to_rgb(colour), (0.3, 0.59, 0.11)) < 0.45
    return colour if is_dark else to_hex(np.array(to_rgb(colour)) * 0.72)


def wrap_name(name: str, width: int) -> str:
    """A name in lines of at most ``width`` letters, broken after a sign where there is one."""
    wrapper = textwrap.TextWrapper(width)
    wrapper.wordsep_re = re.compile(r'( +)|(?<=[_\-/.])(?![_\-/.])')
    return wrapper.fill(name)


def font_families() -> list[str]:
    """matplotlib's own, and installed ones with more letters: it takes each letter from the first that has it."""
    installed = set(font_manager.fontManager.get_font_names())
    return [*rcParams['font.family'], *(name for name in STYLE['font.family'] if name in installed)]


def unknown_letters(texts: Iterable[str]) -> str:
    """The letters that no font here has, each once; charts show boxes in their places."""
    fonts = [FT2Font(font_manager.findfont(font_manager.FontProperties(family=[name]))) for name in font_families()]
    letters = dict.fromkeys(letter for text in texts for letter in text if not letter.isspace())
    return ''.join(letter for letter in letters if not any(font.get_char_index(ord(letter)) for font in fonts))


@contextmanager
def new_chart(
    path: Path, title: str, height: float, note: str | None = None, handles: Mapping[str, Artist] | None = None, *,
    width: float = WIDTH, dpi: int = 150, rows: int = 1, columns: int = 1, **grid: Any,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Give empty axes [rows, columns] on ``height`` inches below a title; write what is drawn into a file at the end.

    With a note, it stands below them, and under it a legend of handles by their labels, or else of curves.
    """
    with rc_context({**STYLE, 'font.family': font_families()}), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Glyph .* missing from')  # unknown_letters tells of them
        figure = Figure(figsize=(width, height + TITLE), layout='constrained')
        figure.suptitle(title, x=0.1 / width, ha='left')
        yield figure.subplots(rows, columns, squeeze=False, **grid)
        if handles is None:
            handles = {line.get_label(): line for axes in figure.axes for line in axes.lines}
        if note is not None:
            artists, labels = [*handles.values()], [wrap_name(label, 90) for label in handles]
            column = figure.legend(artists, labels)
            columns = max(1, min(len(handles), int(figure.bbox.width / column.get_window_extent().width)))
            column.remove()
            look = dict(loc='outside lower left', ncols=columns, title=textwrap.fill(note, 150), alignment='left')
            legend = figure.legend(artists, labels, **look)
            legend.get_title().set_color(QUIET)
            figure.set_figheight(figure.get_figheight() + legend.get_window_extent().height / figure.dpi)
        figure.savefig(path, dpi=dpi)
