"""Pictures of details: what is drawn, by the drawing's own objects, and the files that come out."""

import copy

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from damamba.reporting.analysis import (
    _confusion,
    _errors,
    _precision_recall,
    draw_confusion,
    draw_errors,
    draw_precision_recall,
)
from damamba.reporting.curves import COLOURS

ERRORS = ('classification', 'localisation', 'missed', 'false positives', 'false negatives')
DRAWERS = (draw_precision_recall, draw_confusion, draw_errors)


def made_up(names: list[str]) -> dict:
    """What one kind's details are in metrics.json; the last class has no objects."""
    n = len(names)
    errors = {name: {'AP50': 0.5, **dict.fromkeys(ERRORS, (k + 1) / 100)} for k, name in enumerate(names)}
    errors[names[-1]] = dict.fromkeys(('AP50', *ERRORS), -1.0)
    curves = {name: {o: np.linspace(1, 0, 101).tolist() for o in ('0.50', '0.75')} for name in names}
    curves[names[-1]] = {}
    counts = [[10 * r + c for c in range(n + 1)] for r in range(n + 1)]
    counts[-1][-1] = 0
    return {
        'curves': curves,
        'confusion': {'classes': [*names, 'background'], 'counts': counts},
        'errors': {'values': {'AP50': 0.4, **dict.fromkeys(ERRORS, 0.2)}, 'classes': errors},
    }


FEW = made_up(['Object', 'Tote', 'Hand'])
MANY = made_up([f'class {n}' for n in range(30)])


@pytest.fixture
def axes():
    return Figure().subplots()


def test_a_curve_is_drawn_for_each_class_with_objects_and_each_overlap(axes):
    _precision_recall(axes, FEW)
    drawn = {line.get_label(): line for line in axes.lines}
    assert list(drawn) == [f'{name}, IoU {overlap}' for name in ('Object', 'Tote') for overlap in ('0.50', '0.75')]
    line = drawn['Tote, IoU 0.75']
    assert line.get_color() == COLOURS[1] == drawn['Tote, IoU 0.50'].get_color()
    assert line.get_linestyle() == '--' and drawn['Tote, IoU 0.50'].get_linestyle() == '-'
    assert line.get_xydata()[[0, 30, 100]].tolist() == [[0, 1], [0.3, pytest.approx(0.7)], [1, 0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('recall', 'precision')


def test_of_more_classes_than_colours_the_mean_is_drawn(axes):
    many = copy.deepcopy(MANY)
    many['curves']['class 0']['0.50'] = [1.0] * 101
    _precision_recall(axes, many)
    assert [line.get_label() for line in axes.lines] == ['mean of 29, IoU 0.50', 'mean of 29, IoU 0.75']
    assert axes.lines[0].get_ydata()[-1] == pytest.approx(1 / 29) and axes.lines[1].get_ydata()[-1] == 0


def test_a_matrix_is_shaded_by_the_parts_of_each_row_and_says_the_numbers(axes):
    _confusion(axes, FEW)
    (image,) = axes.images
    np.testing.assert_allclose(image.get_array()[1], np.array([10, 11, 12, 13]) / 46)
    texts = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert texts[2, 1] == '12\n26%' and len(texts) == 15 and (3, 3) not in texts
    assert [label.get_text() for label in axes.get_yticklabels()] == ['Object', 'Tote', 'Hand', 'background']


def test_a_row_without_any_is_white_and_many_classes_have_no_numbers(axes):
    empty = copy.deepcopy(FEW)
    empty['confusion']['counts'][0] = [0] * 4
    _confusion(axes, empty)
    assert axes.images[0].get_array()[0].tolist() == [0] * 4
    many = Figure().subplots()
    _confusion(many, MANY)
    assert not many.texts


def test_costs_are_bars_of_each_class_that_has_objects(axes):
    _errors(axes, FEW, most=0.02)
    assert [bars.get_label() for bars in axes.containers] == ['Object, AP50 0.500', 'Tote, AP50 0.500']
    objects, totes = axes.containers
    assert [bar.get_width() for bar in totes] == [0.02] * 5
    assert {to_hex(bar.get_facecolor()) for bar in objects} == {COLOURS[0]}
    assert [label.get_text() for label in axes.get_yticklabels()] == list(ERRORS)
    tops = [bar.get_y() for bar in (objects[0], totes[0], objects[1])]
    assert tops == sorted(tops) and axes.yaxis_inverted()  # the first class and error stand above


def test_costs_of_many_classes_are_their_mean(axes):
    _errors(axes, MANY, most=0.2)
    (bars,) = axes.containers
    assert bars.get_label() == 'mean of 29, AP50 0.400' and [bar.get_width() for bar in bars] == [0.2] * 5


@pytest.mark.parametrize('draw', DRAWERS)
@pytest.mark.parametrize('kinds', [{'bbox': FEW}, {'bbox': FEW, 'segm': FEW}, {'bbox': MANY, 'segm': MANY}])
def test_a_picture_of_all_kinds_is_written(tmp_path, draw, kinds):
    path = draw({'kinds': kinds}, tmp_path / 'a.png')
    assert path == tmp_path / 'a.png'
    height, width = cv2.imread(str(path)).shape[:2]
    assert 300 < height < 1500 and 600 < width < 3000


@pytest.mark.parametrize('draw', DRAWERS)
def test_nothing_to_draw_is_an_empty_picture(tmp_path, draw):
    nothing = made_up(['Object'])
    assert draw({'kinds': {'segm': nothing}}, tmp_path / 'a.png').is_file()


def test_the_costs_of_boxes_and_masks_have_one_scale(tmp_path, monkeypatch):
    low, high = copy.deepcopy(FEW), copy.deepcopy(FEW)
    high['errors']['classes']['Tote']['missed'] = 0.9
    limits = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, path, dpi: limits.extend(a.get_xlim() for a in self.axes))
    draw_errors({'kinds': {'bbox': low, 'segm': high}}, tmp_path / 'a.png')
    assert limits[0] == limits[1] and limits[0][1] > 0.9
