"""Losses and validations, of several runs and of one: those of their logs."""

import math

import numpy as np
import pytest

from damamba.reporting import charts
from damamba.reporting.charts.training import smooth
from damamba.reporting.logs import TrainingLog
from tests.reporting.charts.made_up import legend, log


def test_losses_are_those_of_the_log_by_epochs_that_had_passed(figure_of):
    logs = {'long': log(8), 'short': log(1), 'broken': log(2, loss=math.nan)}
    (axes,) = figure_of(charts.draw_losses, logs).axes
    found = {line.get_label(): line for line in axes.lines}
    assert list(found) == list(logs) and np.isnan(found['broken'].get_ydata()).all()
    for name, length in (('long', 70), ('short', 60)):  # of one epoch, what was logged of it
        x, y = found[name].get_data()
        assert y.tolist() == [row['loss'] for row in logs[name].train]
        np.testing.assert_allclose(x, [row['iter'] / length for row in logs[name].train])
    assert found['long'].get_marker() == '' and found['short'].get_marker() == 's'
    assert axes.get_yscale() == 'linear' and axes.get_ylim()[0] == 0


def test_many_losses_are_smoothed_and_what_is_not_finite_is_a_gap(figure_of):
    noisy = log(30)
    noisy.train[7]['loss'], noisy.train[9]['loss'] = math.nan, math.inf
    (axes,) = figure_of(charts.draw_losses, {'a': noisy}).axes
    raw, smoothed = axes.lines
    assert np.flatnonzero(np.isnan(raw.get_ydata())).tolist() == [7, 9]
    assert raw.get_alpha() < 0.5 and smoothed.get_alpha() is None and raw.get_color() == smoothed.get_color()
    assert np.isfinite(smoothed.get_ydata()).all() and (smoothed.get_xdata() == raw.get_xdata()).all()
    values = np.arange(75.0)  # each is the mean of the five around it, and of less at the ends
    np.testing.assert_allclose(smooth(values)[[0, 1, 40, 74]], [1, 1.5, 40, 73])
    values[40] = np.nan
    np.testing.assert_allclose(smooth(values)[[39, 40, 41]], [38.75, 40, 41.25])
    assert np.isnan(smooth(np.full(75, np.nan))).all()


def test_losses_of_other_scales_have_a_log_axis_and_a_word_of_caution(figure_of):
    figure = figure_of(charts.draw_losses, {'a': log(3), 'b': log(3, loss=90.0)})
    assert figure.axes[0].get_yscale() == 'log' and 'cannot' in figure.legends[0].get_title().get_text()
    assert {'2', '10', '50'} <= {label.get_text() for label in figure.axes[0].get_yticklabels()}


def test_validation_is_that_of_the_logs_masks_beside_boxes(figure_of):
    logs = {'boxes': TrainingLog([], [{'epoch': 1, 'coco/bbox_mAP': 0.78}]), 'one': log(1, level=0.2)}
    logs |= {'nothing': TrainingLog([], [{'epoch': 1, 'coco/bbox_mAP': -1.0}]), 'four': log(4, level=0.6)}
    figure = figure_of(charts.draw_validation, logs)
    masks, boxes = figure.axes
    assert (masks.get_title(), boxes.get_title()) == ('mask mAP', 'box mAP')
    for axes, factor in ((masks, 1), (boxes, 0.5)):
        one, four = axes.lines[-2:]
        assert one.get_xydata().tolist() == [[1, 0.2 * factor]] and one.get_marker() == 's'
        assert four.get_xydata().tolist() == [[e, pytest.approx(0.15 * e * factor)] for e in (1, 2, 3, 4)]
        assert axes.get_ylim()[0] == 0 and axes.get_ylim()[1] > 0.78 and axes.get_xlabel() == 'epoch'
    assert [text.get_text() for text in masks.texts] == ['0.200', '0.600'] and legend(figure) == [
        'boxes',
        'one',
        'four',
    ]


def test_a_metric_that_no_run_has_gets_no_axes_and_nothing_to_find_no_point(figure_of):
    rows = [{'coco/segm_mAP': value, 'epoch': e} for e, value in ((1, -1.0), (2, math.nan), (3, 0.0))]
    (axes,) = figure_of(charts.draw_validation, {'a': TrainingLog([], rows)}).axes
    assert axes.get_title() == 'mask mAP' and axes.lines[0].get_xydata().tolist() == [[3, 0.0]]
    (empty,) = figure_of(charts.draw_validation, {'a': TrainingLog([], rows[:1])}).axes
    assert not empty.lines


def test_the_curves_of_one_training_are_all_parts_of_its_loss_and_the_metrics_of_its_validation(figure_of):
    parts = {f'loss_{name}': 1.0 for name in 'abcdefghijklmn'}
    train = [{'loss': 6.0 / n, **parts, 'acc': 90, 'iter': 10 * n, 'epoch': 1} for n in range(1, 9)]
    val = [
        {'coco/bbox_mAP': e / 10, 'coco/segm_mAP': e / 20, 'coco/bbox_mAP_50': (-1, 0.2, 0.4)[e - 1], 'epoch': e}
        for e in (1, 2, 3)
    ]

    def drawn(log: TrainingLog):
        return figure_of(lambda data, _, path: charts.draw_curves(data, path, 'A title'), log, runs=['a']).axes

    losses, metrics = drawn(TrainingLog(train, val))
    lines = {line.get_label(): line for line in (*losses.lines, *metrics.lines)}
    assert list(lines) == ['sum', *'abcdefghijklmn', 'mask mAP', 'box mAP', 'box AP50']
    assert lines['sum'].get_xydata().tolist() == [[10 * n, 6 / n] for n in range(1, 9)]
    assert lines['mask mAP'].get_xydata().tolist() == [[1, 0.05], [2, 0.1], [3, 3 / 20]]
    assert lines['box AP50'].get_xydata().tolist() == [[2, 0.2], [3, 0.4]]
    box, half, mask = (lines[name] for name in ('box mAP', 'box AP50', 'mask mAP'))
    assert box.get_color() == half.get_color() != mask.get_color() and box.get_linestyle() != half.get_linestyle()
    assert losses.get_ylim()[0] == 0 and metrics.get_ylim() == (0, 1) and losses.get_xlabel() == 'iteration'
    for begun in (TrainingLog(train[:1]), TrainingLog()):
        assert all(axes.get_position().width > 0.3 for axes in drawn(begun))
