"""Names are written into pictures as they are."""

import warnings

import pytest
from matplotlib import font_manager, rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text

from damamba.reporting.comparison import draw_latency, draw_losses, fonts, palette_of
from damamba.reporting.comparison.layout import MARKERS, RUN_COLOURS, marker_of
from tests.reporting.test_comparison import log, speed

NAMES = ('costs $5 and $x_{', '$\\frac$', '漢字')


@pytest.fixture
def texts(monkeypatch):
    """All texts of the figures that are saved."""
    found, save = [], Figure.savefig

    def keep(figure, path, dpi):
        save(figure, path, dpi=30)
        found.extend(text for text in figure.findobj(Text) if text.get_text())

    monkeypatch.setattr(Figure, 'savefig', keep)
    return found


@pytest.mark.parametrize(('draw', 'data'), [(draw_losses, log(2)), (draw_latency, speed(0.1))])
def test_dollar_signs_are_no_formulas_and_letters_without_a_font_no_warnings(tmp_path, texts, draw, data):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        draw(dict.fromkeys(NAMES, data), palette_of(NAMES), tmp_path / 'a.png')
    shown = {text.get_text() for text in texts}
    assert set(NAMES) <= {text.replace('\n', ' ') for text in shown} and not any(it.get_parse_math() for it in texts)
    assert rcParams['text.parse_math']  # of others' figures


def test_letters_that_no_font_has_are_told():
    assert fonts.unknown_letters(['ünï $ Ω', 'a b']) == ''
    unknown = fonts.unknown_letters(['a\ufdd0b', '\ufdd0'])  # no letter, and never one
    assert unknown == '\ufdd0'


def test_fonts_with_more_letters_follow_where_they_are_installed(monkeypatch):
    installed = ['DejaVu Sans', 'SimHei', 'Comic Sans']
    monkeypatch.setattr(font_manager.fontManager, 'get_font_names', lambda: installed)
    assert fonts.families() == [*rcParams['font.family'], 'SimHei']


def test_runs_of_nearly_one_colour_have_other_markers():
    names = [f'run {n}' for n in range(3 * len(RUN_COLOURS))]
    markers = [marker_of(name, palette_of(names)) for name in names]
    for place in range(len(RUN_COLOURS)):
        assert len(set(markers[place :: len(RUN_COLOURS)])) == 3
    assert markers[: len(MARKERS)] == list(MARKERS)
