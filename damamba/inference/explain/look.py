"""The look of the sheet: that of the charts, on a dark ground."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import rc_context

from damamba.inference.explain.paint import GROUND, INK, QUIET
from damamba.reporting.charts.style import STYLE, font_families

DARK = {
    **dict.fromkeys(('axes.edgecolor', 'axes.labelcolor', 'xtick.color', 'ytick.color'), QUIET),
    **dict.fromkeys(('axes.facecolor', 'figure.facecolor', 'savefig.facecolor'), GROUND),
    'axes.grid': False,
    'text.color': INK,
    'xtick.labelsize': 8,
    'ytick.labelsize': 8,
}


@contextmanager
def dark_look() -> Iterator[None]:
    """Draw like this for a while."""
    with rc_context({**STYLE, **DARK, 'font.family': font_families()}), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Glyph .* missing from')  # a picture's name may have any letters
        yield
