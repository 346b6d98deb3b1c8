"""Colours, markers and names of runs: told apart by every eye, and written as they are."""

import itertools

import cv2
import numpy as np
import pytest
from matplotlib import font_manager, rcParams
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from damamba.reporting.charts import draw_latency, draw_losses, palette_of, style
from tests.reporting.charts.made_up import LONG, log, names, speed

NAMES = ('costs $5 and $x_{', '$\\frac$', '漢字', '_hidden')


def test_every_run_has_a_colour_of_its_own_and_the_first_are_the_same_however_many_there_are():
    few, many = palette_of(names(6)), palette_of(names(30))
    assert len(set(many.values())) == 30 and list(many) == names(30) and few.items() <= many.items()
    assert palette_of(['a', 'a', 'b']).keys() == {'a', 'b'}
    markers = [style.marker_of(name, palette_of(names(36))) for name in names(36)]
    assert markers[:12] == list(style.MARKERS)
    assert all(len(set(markers[place::12])) == 3 for place in range(12)), 'runs of nearly one colour have one marker'


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]


def lab(colour: str, sight: list) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(sight) @ linear, 0, 1).astype(np.float32)
    return cv2.cvtColor(seen[None, None], cv2.COLOR_LRGB2LAB)[0, 0]


@pytest.mark.parametrize('sight', [np.eye(3), PROTANOPIA, DEUTERANOPIA], ids=['full', 'no red', 'no green'])
def test_the_colours_of_six_runs_differ_to_every_eye_and_on_white(sight):
    for one, other in itertools.combinations([*palette_of(names(6)).values(), '#ffffff'], 2):
        assert np.linalg.norm(lab(one, sight) - lab(other, sight)) > 17  # 2.3 can just be told apart side by side


def test_long_names_are_broken_after_a_sign_and_lose_no_letter():
    assert style.wrap_name(LONG, 16).split('\n') == ['mask_rcnn_', 'DAMamba_nano_', 'fpn_armbench_', 'demo']
    assert style.wrap_name('short', 16) == 'short' and style.wrap_name('mean over classes', 12) == 'mean over\nclasses'
    assert style.wrap_name('x' * 40, 16).split('\n') == ['x' * 16, 'x' * 16, 'x' * 8]


@pytest.mark.parametrize(('draw', 'data'), [(draw_losses, log(2)), (draw_latency, speed(0.1))])
def test_dollar_signs_are_no_formulas_and_letters_without_a_font_no_warnings(figure_of, draw, data):
    texts = figure_of(draw, dict.fromkeys(NAMES, data)).findobj(lambda it: isinstance(it, Text) and it.get_text())
    assert set(NAMES) <= {text.get_text().replace('\n', ' ') for text in texts}
    assert not any(text.get_parse_math() for text in texts) and rcParams['text.parse_math']  # others' figures have it


def test_letters_that_no_font_has_are_told_and_installed_fonts_have_more(monkeypatch):
    assert style.unknown_letters(['ünï $ Ω', 'a b']) == ''
    assert style.unknown_letters(['a\ufdd0b', '\ufdd0']) == '\ufdd0'  # no letter, and never one
    monkeypatch.setattr(font_manager.fontManager, 'get_font_names', lambda: ['DejaVu Sans', 'SimHei', 'Comic Sans'])
    assert style.font_families() == [*rcParams['font.family'], 'SimHei']
