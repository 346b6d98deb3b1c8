"""Scores, curves, errors, confusion: every figure is that of its run or class, and stands where it belongs."""

import copy

import numpy as np
import pytest

from damamba.reporting import charts
from damamba.reporting.charts import bars
from tests.reporting.charts.made_up import ERRORS, LONG, evaluation, figures, heights, labels, legend, scores, section


def of_one_run(names: list[str]) -> dict:
    """What one kind's details are in metrics.json; the last class has no objects."""
    n = len(names)
    errors = {name: {'AP50': 0.5, **dict.fromkeys(ERRORS, (k + 1) / 100)} for k, name in enumerate(names)}
    errors[names[-1]] = dict.fromkeys(('AP50', *ERRORS), -1.0)
    curves = {
        name: {'0.50': np.linspace(1, 0, 101).tolist(), '0.75': np.linspace(0.8, 0, 101).tolist()} for name in names
    }
    curves[names[-1]] = {}
    counts = [[10 * r + c for c in range(n + 1)] for r in range(n + 1)]
    return {
        'curves': curves,
        'confusion': {'classes': [*names, 'background'], 'counts': counts},
        'errors': {'values': {'AP50': 0.4, **dict.fromkeys(ERRORS, 0.2)}, 'classes': errors},
    }


FEW, MANY = of_one_run(['Object', 'Tote', 'Hand']), of_one_run([f'class {n}' for n in range(30)])


@pytest.fixture
def drawn(figure_of):
    """The figure that a chart of one run is."""
    return lambda function, **kinds: figure_of(lambda data, _, path: function(data, path), {'kinds': kinds}, runs=['a'])


def test_the_overview_has_the_figures_of_each_data_set_and_run(figure_of):
    levels = {'mix': {'a': scores(0.31), 'b': scores(0.123456789)}, 'transfer set': {'b': scores(0.2)}}
    figure = figure_of(charts.draw_overview, levels, 'masks of Object', runs=['a', 'b'])
    (axes,) = figure.axes
    found = {'a': [0.31, 0], 'b': [0.123456789, 0.2]}
    assert heights(axes) == found | {f'{name}, above': [1.5 * v for v in values] for name, values in found.items()}
    assert labels(axes) == ['mix', 'transfer set'] and legend(figure) == ['a', 'b']
    texts = [(text.get_text(), text.get_fontweight()) for text in axes.texts]
    assert texts[:4] == [('0.310', 'bold'), (bars.GAP, 'bold'), ('0.465', 'normal'), (bars.GAP, 'normal')]
    assert [text for text, _ in texts[4:]] == ['0.123', '0.200', '0.185', '0.300']
    assert figure.get_suptitle() == 'mAP and AP50: masks of Object'


def test_sizes_are_drawn_by_pixels_and_by_parts_of_the_picture(figure_of):
    data = {'a': evaluation(0.3), 'b': evaluation(0.2, details=False)}
    pixels, shares = figure_of(*figures('sizes', data, 'segm', 'Object')).axes
    for axes, runs, first in ((pixels, {'a': 0.3, 'b': 0.2}, 1.7), (shares, {'a': 0.3}, 2.3)):
        assert heights(axes) == {name: [level / (k + first) for k in range(3)] for name, level in runs.items()}
        assert [label.split('\n')[0] for label in labels(axes)] == ['small', 'medium', 'large']
    (alone,) = figure_of(*figures('sizes', {'b': data['b']}, 'segm', None)).axes
    assert heights(alone)['b'] == pytest.approx([1.5 * 0.2 / (k + 1.7) for k in range(3)])


def test_recall_is_drawn_by_limits_in_their_order_and_by_size_and_segmentation_in_percent(figure_of):
    data = {'a': evaluation(0.3)}
    data['a']['scores']['bbox']['classes']['Tote'] |= {'AR@20': 0.5, 'AR_m@100': 0.6}
    limits, sizes = figure_of(*figures('recall', data, 'bbox', 'Tote')).axes
    assert heights(limits)['a'] == [0.6 + 1 / 1000, 0.6 + 10 / 1000, 0.5, 0.6 + 100 / 1000]
    assert labels(limits) == ['AR@1', 'AR@10', 'AR@20', 'AR@100'] and heights(sizes)['a'] == [0.6 / 3, 0.6, 0.6 / 3]
    (axes,) = figure_of(*figures('segmentation', data, 'segm', 'Tote')).axes
    assert heights(axes)['a'] == [0.6 / 3, 0.6 / 7] and [text.get_text() for text in axes.texts] == ['20.0%', '8.6%']


def test_first_picks_are_of_no_class_and_have_a_gap_where_no_tote_is_empty(figure_of):
    (axes,) = figure_of(*figures('picks', {'a': evaluation(0.3)}, 'segm', 'Tote')).axes
    assert [text.get_text() for text in axes.texts] == ['30.0%', '30.0%', '60.0%', '10.0%', '–', '–']
    assert labels(axes) == [
        'pick score',
        'on top',
        'on an object',
        'on none',
        'called empty',
        'empty totes\nseen empty',
    ]


def test_curves_are_those_of_the_class_or_the_mean_of_all_with_objects(figure_of):
    data = {LONG: evaluation(0.2), 'b': evaluation(0.3)}
    panels = figure_of(charts.draw_precision_recall, section(data, 'Tote').figures('segm', 'curves'), 'masks').axes
    for axes, overlap in zip(panels, ('0.50', '0.75'), strict=True):
        assert axes.get_title() == f'IoU {overlap}'
        for line, (name, values) in zip(axes.lines, data.items(), strict=True):
            assert line.get_label() == name and line.get_xdata()[[0, 50, 100]].tolist() == [0, 0.5, 1]
            assert line.get_ydata().tolist() == values['details']['kinds']['segm']['curves']['Tote'][overlap]
    curves = data[LONG]['details']['kinds']['segm']['curves']
    curves['Hand'] = {}
    axes = figure_of(charts.draw_precision_recall, section(data, None).figures('segm', 'curves'), 'masks').axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.mean([curves[n]['0.50'] for n in ('Object', 'Tote')], 0))


def test_a_class_of_one_run_has_a_colour_and_an_overlap_a_style_and_of_many_the_mean_is_drawn(drawn):
    boxes, masks = drawn(charts.draw_class_precision_recall, bbox=FEW, segm=FEW).axes
    assert (boxes.get_title(), masks.get_title()) == ('boxes', 'masks')
    lines = {line.get_label(): line for line in masks.lines}
    assert list(lines) == [f'{name}, IoU {overlap}' for name in ('Object', 'Tote') for overlap in ('0.50', '0.75')]
    line, other = lines['Tote, IoU 0.75'], lines['Tote, IoU 0.50']
    assert line.get_color() == other.get_color() != lines['Object, IoU 0.75'].get_color()
    assert (line.get_linestyle(), other.get_linestyle()) == ('--', '-')
    assert line.get_xydata()[[0, 30, 100]].tolist() == [[0, 0.8], [0.3, pytest.approx(0.56)], [1, 0]]
    many = copy.deepcopy(MANY)
    many['curves']['class 0']['0.50'] = [1.0] * 101
    (axes,) = drawn(charts.draw_class_precision_recall, segm=many).axes
    assert [line.get_label() for line in axes.lines] == ['mean of 29, IoU 0.50', 'mean of 29, IoU 0.75']
    assert axes.lines[0].get_ydata()[-1] == pytest.approx(1 / 29) and axes.lines[1].get_ydata()[-1] == 0


def test_costs_of_errors_are_bars_and_the_sums_stand_apart(figure_of):
    data = {'a': evaluation(0.3), 'b': evaluation(0.2), 'old': evaluation(0.2, details=False)}
    figure = figure_of(charts.draw_errors, section(data, 'Object').figures('segm', 'errors'), 'masks')
    (axes,) = figure.axes
    assert heights(axes) == {name: [v / (k + 3) for k in range(5)] for name, v in (('a', 0.3), ('b', 0.2))}
    assert [label.replace('\n', ' ') for label in labels(axes)] == list(ERRORS)
    assert axes.lines[0].get_xdata() == [2.5, 2.5] and legend(figure) == ['a, AP50 0.300', 'b, AP50 0.200']


def test_costs_of_the_classes_of_boxes_and_masks_have_one_scale(drawn):
    high = copy.deepcopy(FEW)
    high['errors']['classes']['Tote'] |= {'missed': 0.9, 'AP50': 0.6}
    figure = drawn(charts.draw_class_errors, bbox=FEW, segm=high)
    boxes, masks = figure.axes
    assert heights(boxes) == {'Object': [0.01] * 5, 'Tote': [0.02] * 5} and heights(masks)['Tote'][2] == 0.9
    assert boxes.get_ylim() == masks.get_ylim() and boxes.get_ylim()[1] > 0.9
    reached = [('Object', 0.5), ('Tote', 0.6)]
    assert legend(figure) == [f'{name}, AP50 0.500 of boxes, AP50 {ap:.3f} of masks' for name, ap in reached]
    figure = drawn(charts.draw_class_errors, segm=MANY)
    assert heights(figure.axes[0]) == {'mean of 29': [0.2] * 5}
    assert legend(figure) == ['mean of 29, AP50 0.400 of masks']


def test_a_matrix_is_shaded_by_the_parts_of_each_row_and_says_the_numbers(drawn):
    few = copy.deepcopy(FEW)
    few['confusion']['counts'][0] = [0] * 4
    _, axes = drawn(charts.draw_confusion, bbox=few, segm=few).axes
    np.testing.assert_allclose(axes.images[0].get_array()[:2], [[0] * 4, np.array([10, 11, 12, 13]) / 46])
    texts = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert texts[2, 1] == '12\n26%' and len(texts) == 15 and (3, 3) not in texts
    assert [label.get_text() for label in axes.get_yticklabels()] == ['Object', 'Tote', 'Hand', 'background']
    assert not drawn(charts.draw_confusion, segm=MANY).axes[0].texts


@pytest.mark.parametrize('draw', [charts.draw_class_precision_recall, charts.draw_confusion, charts.draw_class_errors])
def test_nothing_to_draw_is_an_empty_chart(drawn, draw):
    assert len(drawn(draw, segm=of_one_run(['Object'])).axes) == 1
