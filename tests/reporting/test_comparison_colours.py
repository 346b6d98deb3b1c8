"""Colours and names of runs in pictures: told apart by every eye, and whole."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from damamba.reporting import comparison
from damamba.reporting.comparison.layout import wrap
from tests.reporting.comparisons import (
    LONG,
    names,
)


def test_every_run_has_a_colour_of_its_own_and_the_first_are_the_same_however_many_there_are():
    few, many = comparison.palette_of(names(6)), comparison.palette_of(names(30))
    assert len(set(many.values())) == 30 and list(many) == names(30)
    assert few.items() <= many.items()
    assert comparison.palette_of(['a', 'a', 'b']).keys() == {'a', 'b'}


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]


def lab(colour: str, sight: list) -> np.ndarray:
    to_xyz = np.array([[0.412456, 0.357576, 0.180438], [0.212673, 0.715152, 0.072175], [0.019334, 0.119192, 0.950304]])
    x, y, z = np.cbrt(to_xyz @ np.clip(np.array(sight) @ linear(colour), 1e-4, 1) / [0.95047, 1, 1.08883])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize('sight', [np.eye(3), PROTANOPIA, DEUTERANOPIA], ids=['full', 'no red', 'no green'])
def test_the_colours_of_six_runs_differ_to_every_eye_and_on_white(sight):
    palette = list(comparison.palette_of(names(6)).values())
    for one, other in itertools.combinations([*palette, '#ffffff'], 2):
        assert np.linalg.norm(lab(one, sight) - lab(other, sight)) > 17  # 2.3 can just be told apart side by side


def test_long_names_are_broken_after_a_sign_and_lose_no_letter():
    lines = wrap(LONG, 16).split('\n')
    assert lines == ['mask_rcnn_', 'DAMamba_nano_', 'fpn_armbench_', 'demo']
    assert wrap('short', 16) == 'short'
    assert wrap('x' * 40, 16).replace('\n', '') == 'x' * 40 and max(map(len, wrap('x' * 40, 16).split('\n'))) == 16
    assert wrap('mean over classes', 12) == 'mean over\nclasses'
