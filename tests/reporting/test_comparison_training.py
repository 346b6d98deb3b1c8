"""Losses and validations of runs in one picture: those of their logs."""

import math

import numpy as np
import pytest

from damamba.reporting import comparison
from damamba.reporting.comparison.training import smooth
from damamba.reporting.logs import TrainingLog
from tests.reporting.comparisons import legend, log


def test_losses_are_those_of_the_log_by_epochs_that_had_passed(figure_of):
    logs = {'long': log(8), 'short': log(1)}
    (axes,) = figure_of(comparison.draw_losses, logs).axes
    found = {line.get_label(): line for line in axes.lines}
    assert list(found) == ['long', 'short']
    for name, length in (('long', 70), ('short', 60)):  # of one epoch, what was logged of it
        x, y = found[name].get_data()
        assert y.tolist() == [row['loss'] for row in logs[name].train]
        np.testing.assert_allclose(x, [row['iter'] / length for row in logs[name].train])
    assert found['long'].get_marker() == '' and found['short'].get_marker() == 's'
    assert axes.get_yscale() == 'linear' and axes.get_ylim()[0] == 0


def test_many_losses_are_smoothed_and_what_is_not_finite_is_a_gap(figure_of):
    noisy = log(30)
    noisy.train[7]['loss'], noisy.train[9]['loss'] = math.nan, math.inf
    (axes,) = figure_of(comparison.draw_losses, {'a': noisy}).axes
    raw, smoothed = axes.lines
    assert np.flatnonzero(np.isnan(raw.get_ydata())).tolist() == [7, 9]
    assert raw.get_alpha() < 0.5 and smoothed.get_alpha() is None and raw.get_color() == smoothed.get_color()
    assert np.isfinite(smoothed.get_ydata()).all() and (smoothed.get_xdata() == raw.get_xdata()).all()


def test_smoothing_is_the_mean_of_the_five_around_and_of_less_at_the_ends():
    values = np.arange(75.0)
    np.testing.assert_allclose(smooth(values)[[0, 1, 40, 74]], [1, 1.5, 40, 73])
    values[40] = np.nan
    np.testing.assert_allclose(smooth(values)[[39, 40, 41]], [38.75, 40, 41.25])
    assert np.isnan(smooth(np.full(75, np.nan))).all()


def test_losses_of_other_scales_have_a_log_axis_and_a_word_of_caution(figure_of):
    figure = figure_of(comparison.draw_losses, {'a': log(3), 'b': log(3, loss=90.0)})
    assert figure.axes[0].get_yscale() == 'log'
    assert any('cannot' in text.get_text() for text in figure.texts)
    assert {'2', '10', '50'} <= {label.get_text() for label in figure.axes[0].get_yticklabels()}


def test_a_log_of_losses_that_are_no_numbers_is_drawn(figure_of):
    (axes,) = figure_of(comparison.draw_losses, {'a': log(2, loss=math.nan)}).axes
    assert np.isnan(axes.lines[0].get_ydata()).all()


def test_validation_is_that_of_the_logs_masks_beside_boxes(figure_of):
    logs = {'one': log(1, level=0.2), 'four': log(4, level=0.6)}
    figure = figure_of(comparison.draw_validation, logs)
    masks, boxes = figure.axes
    assert (masks.get_title(), boxes.get_title()) == ('mask mAP', 'box mAP')
    for axes, factor in ((masks, 1), (boxes, 0.5)):
        one, four = axes.lines
        assert one.get_xydata().tolist() == [[1, 0.2 * factor]] and one.get_marker() == 'o'
        assert four.get_xydata().tolist() == [[e, pytest.approx(0.15 * e * factor)] for e in (1, 2, 3, 4)]
        assert axes.get_ylim()[0] == 0 and axes.get_xlabel() == 'epoch'
    assert [text.get_text() for text in masks.texts] == ['0.200', '0.600']
    assert legend(figure) == ['one', 'four']


def test_a_box_map_above_every_mask_map_stands_within_its_panel(figure_of):
    rows = [{'epoch': n, 'coco/segm_mAP': 0.26, 'coco/bbox_mAP': high} for n, high in [(1, 0.42), (2, 0.78)]]
    masks, boxes = figure_of(comparison.draw_validation, {'a': TrainingLog([], rows)}).axes
    assert masks.get_ylim() == boxes.get_ylim()
    assert boxes.get_ylim()[0] == 0 and boxes.get_ylim()[1] > 0.78


def test_a_metric_that_no_run_has_gets_no_axes_and_nothing_to_find_no_point(figure_of):
    rows = [{'coco/segm_mAP': value, 'epoch': e} for e, value in ((1, -1.0), (2, math.nan), (3, 0.0))]
    (axes,) = figure_of(comparison.draw_validation, {'a': TrainingLog([], rows)}).axes
    assert axes.get_title() == 'mask mAP' and axes.lines[0].get_xydata().tolist() == [[3, 0.0]]
    (empty,) = figure_of(comparison.draw_validation, {'a': TrainingLog([], rows[:1])}).axes
    assert not empty.lines
