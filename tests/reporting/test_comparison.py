"""Pictures that compare runs: what is drawn, by the drawings' own objects, and the files that come out."""

import itertools
import json
import math

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from damamba.reporting import comparison
from damamba.reporting.comparison import bars
from tests.reporting.comparisons import (
    ERRORS,
    LONG,
    evaluation,
    evaluations,
    heights,
    labels,
    legend,
    log,
    names,
    scores,
    speed,
)

# Scores


def test_the_overview_has_the_figures_of_each_data_set_and_run(figure_of):
    figures = {'mix': {'a': scores(0.31), 'b': scores(0.12345678901234567)}, 'transfer set': {'b': scores(0.2)}}
    figure = figure_of(comparison.draw_overview, figures, 'Object', runs=['a', 'b'])
    (axes,) = figure.axes
    found = heights(axes)
    assert found['a'] == [0.31] and found['b'] == [0.12345678901234567, 0.2]
    assert found['b, above'] == [0.12345678901234567 * 1.5, 0.2 * 1.5]
    assert labels(axes) == ['mix', 'transfer set'] and legend(figure) == ['a', 'b']
    texts = [text.get_text() for text in axes.texts]
    assert texts.count(bars.GAP) == 1 and {'0.310', '0.465', '0.123', '0.185', '0.200', '0.300'} <= set(texts)
    assert 'Object' in figure.texts[0].get_text()


def test_a_bar_has_the_colour_of_its_run_in_every_picture(figure_of):
    runs, both = ['a', 'b', 'c'], {name: evaluation(0.3) for name in ('b', 'c')}
    palette = comparison.palette_of(runs)
    figures = [
        figure_of(comparison.draw_sizes, both, 'segm', None, runs=runs),
        figure_of(comparison.draw_recall, both, 'bbox', 'Tote', runs=runs),
        figure_of(comparison.draw_errors, both, 'segm', None, runs=runs),
        figure_of(comparison.draw_segmentation, both, None, runs=runs),
        figure_of(comparison.draw_latency, {'c': speed(1), 'b': speed(2)}, runs=runs),
    ]
    for figure in figures:
        assert legend(figure)[0].startswith('b') and legend(figure)[1].startswith('c')
        for axes in figure.axes:
            seen = {c.get_label(): {to_hex(bar.get_facecolor()) for bar in c} for c in axes.containers}
            assert seen['b'] == {palette['b']} and seen['c'] == {palette['c']}
    figures = [
        figure_of(comparison.draw_precision_recall, both, 'segm', None, runs=runs),
        figure_of(comparison.draw_validation, {'b': log(2)}, runs=runs),
    ]
    for figure in figures:
        for axes in figure.axes:
            assert all(line.get_color() == palette[line.get_label()] for line in axes.lines)


def test_sizes_are_drawn_by_pixels_and_by_parts_of_the_picture(figure_of):
    data = {'a': evaluation(0.3), 'b': evaluation(0.2, details=False)}
    pixels, shares = figure_of(comparison.draw_sizes, data, 'segm', 'Object').axes
    for axes, name, level, first in ((pixels, 'a', 0.3, 1.7), (pixels, 'b', 0.2, 1.7), (shares, 'a', 0.3, 2.3)):
        assert heights(axes)[name] == [level / (k + first) for k in range(3)]
    assert 'b' not in heights(shares) and pixels.get_ylim() == shares.get_ylim()
    assert [label.split('\n')[0] for label in labels(pixels)] == ['small', 'medium', 'large']
    (alone,) = figure_of(comparison.draw_sizes, {'b': data['b']}, 'segm', None).axes
    assert heights(alone)['b'] == [1.5 * 0.2 / (k + 1.7) for k in range(3)]


def test_what_there_was_nothing_of_is_a_gap_and_no_bar(figure_of):
    data = {'a': evaluation(0.3), 'b': evaluation(0.2)}
    values = data['a']['scores']['segm']['classes']['Tote']
    values |= {'mAP_s': -1.0, 'mAP_m': math.nan, 'mAP_l': 0.0}
    pixels, _ = figure_of(comparison.draw_sizes, data, 'segm', 'Tote').axes
    assert heights(pixels)['a'] == [0.0] and len(heights(pixels)['b']) == 3
    gaps = [text.xy for text in pixels.texts if text.get_text() == bars.GAP]
    assert len(gaps) == 2 and '0.000' in [text.get_text() for text in pixels.texts]
    left, right = (pixels.containers[k][0] for k in (0, 1))  # the only bar of a is that of large objects
    assert left.get_x() > right.get_x() and gaps[0][0] < right.get_x()


def test_recall_is_drawn_by_limits_in_their_order_and_by_size(figure_of):
    one = evaluation(0.3)
    limits, sizes = figure_of(comparison.draw_recall, {'a': one}, 'bbox', 'Tote').axes
    assert heights(limits)['a'] == [0.6 + n / 1000 for n in (1, 10, 100)]
    assert labels(limits) == ['AR@1', 'AR@10', 'AR@100'] and heights(sizes)['a'] == [0.6 / 3] * 3


# Details


def test_curves_are_those_of_the_class_or_the_mean_of_all_with_objects(figure_of):
    data = evaluations(2)
    at_half, at_three_quarters = figure_of(comparison.draw_precision_recall, data, 'segm', 'Tote').axes
    for axes, overlap in ((at_half, '0.50'), (at_three_quarters, '0.75')):
        assert axes.get_title() == f'IoU {overlap}'
        for line, (name, values) in zip(axes.lines, data.items(), strict=True):
            assert line.get_label() == name and line.get_xdata()[[0, 50, 100]].tolist() == [0, 0.5, 1]
            assert line.get_ydata().tolist() == values['details']['kinds']['segm']['curves']['Tote'][overlap]
    curves = data[LONG]['details']['kinds']['segm']['curves']
    curves['Hand'] = {}
    axes = figure_of(comparison.draw_precision_recall, data, 'segm', None).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.mean([curves[n]['0.50'] for n in ('Object', 'Tote')], 0))


def test_costs_of_errors_are_bars_and_the_sums_stand_apart(figure_of):
    data = {'a': evaluation(0.3), 'b': evaluation(0.2), 'old': evaluation(0.2, details=False)}
    figure = figure_of(comparison.draw_errors, data, 'segm', 'Object')
    (axes,) = figure.axes
    assert heights(axes) == {name: [v / (k + 3) for k in range(5)] for name, v in (('a', 0.3), ('b', 0.2))}
    assert [label.replace('\n', ' ') for label in labels(axes)] == list(ERRORS)
    assert axes.lines[0].get_xdata() == [2.5, 2.5] and legend(figure) == ['a, AP50 0.300', 'b, AP50 0.200']


def test_segmentation_is_that_of_masks_in_percent(figure_of):
    (axes,) = figure_of(comparison.draw_segmentation, {'a': evaluation(0.3)}, 'Tote').axes
    assert heights(axes)['a'] == [0.6 / 3, 0.6 / 7]
    assert [text.get_text() for text in axes.texts] == ['20.0%', '8.6%']


# Speed


def test_times_are_sorted_by_the_number_of_objects_and_memory_stands_beside_them(figure_of):
    figure = figure_of(comparison.draw_latency, {'a': speed(0.01), 'b': speed(0.02)})
    times, memory = figure.axes
    assert [label.split('\n')[0] for label in labels(times)] == ['0-5', '5-10', '10-15', '50-100', '100+', 'all']
    assert labels(times)[0] == '0-5\n5 pictures'
    assert heights(times)['a'] == [0.01 * k for k in (3, 2, 5, 4, 1, 3)]
    assert heights(times)['b, above'] == [*(0.02 * k * 1.5 for k in (3, 2, 5, 4, 1)), 0.02 * 5]
    assert heights(memory) == {'a': [2.5], 'b': [2.5]} and labels(memory) == ['memory\nof the GPU']
    assert any('On H100, 1 process, batch 1.' in text.get_text().replace('\n', ' ') for text in figure.texts)


def test_times_of_other_machines_are_said_not_to_compare_and_missing_bins_are_gaps(figure_of):
    slow = speed(0.5, 'cpu', processes=2)
    del slow['bins']['5-10']
    slow['peak_memory'] = None
    figure = figure_of(comparison.draw_latency, {'a': speed(0.01), 'b': slow})
    times, memory = figure.axes
    assert len(heights(times)['b']) == 5 and 'b' not in heights(memory)
    assert any('do not compare' in text.get_text().replace('\n', ' ') for text in figure.texts)
    assert legend(figure) == ['a: H100, 1 process, batch 1', 'b: H100, 2 processes of 1 thread each, batch 1']


# Files


def data_sets(runs: list[str]) -> dict[str, dict]:
    return {f'{name}-tote-transfer-set': {run: scores(0.4) for run in runs} for name in ('mix', 'zoomed-out', 'same')}


DRAWERS = {
    'losses': lambda runs: (comparison.draw_losses, {n: log(k + 1, loss=k + 1.0) for k, n in enumerate(runs)}),
    'validation': lambda runs: (comparison.draw_validation, {n: log(k + 1) for k, n in enumerate(runs)}),
    'overview': lambda runs: (comparison.draw_overview, data_sets(runs), None),
    'sizes': lambda runs: (comparison.draw_sizes, evaluations(len(runs)), 'segm', 'Object'),
    'recall': lambda runs: (comparison.draw_recall, evaluations(len(runs)), 'segm', None),
    'curves': lambda runs: (comparison.draw_precision_recall, evaluations(len(runs)), 'bbox', 'Object'),
    'errors': lambda runs: (comparison.draw_errors, evaluations(len(runs)), 'segm', 'Object'),
    'segmentation': lambda runs: (comparison.draw_segmentation, evaluations(len(runs)), None),
    'latency': lambda runs: (comparison.draw_latency, {n: speed(0.1 * (k + 1)) for k, n in enumerate(runs)}),
}


def overlap(one, other) -> float:
    """By how many pixels two boxes lie in each other."""
    return min(min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0))


@pytest.mark.parametrize(('name', 'count'), [*itertools.product(DRAWERS, (1, 12)), ('errors', 4), ('latency', 4)])
def test_one_run_and_a_dozen_fit_into_a_picture(figure_of, tmp_path, name, count):
    figure = figure_of(*DRAWERS[name](names(count)), runs=names(count), full=True)
    height, width = cv2.imread(str(tmp_path / 'a.png')).shape[:2]
    assert width == 1650 and 500 < height < 2000
    assert len(legend(figure)) == count and legend(figure)[0].startswith(LONG)
    renderer, page = FigureCanvasAgg(figure).get_renderer(), figure.bbox.padded(1)
    for text in [*figure.texts, *figure.legends[0].get_texts()]:
        box = text.get_window_extent(renderer)
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
    under = figure.legends[0].get_window_extent(renderer).y1
    for axes in figure.axes:
        assert axes.get_tightbbox(renderer).y0 >= under - 1
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert all(overlap(*pair) < 2 for pair in itertools.combinations(boxes, 2)), 'figures run into each other'


def test_nothing_that_is_handed_over_is_changed(figure_of):
    data = evaluations(2)
    before = json.dumps(data)
    for draw in (comparison.draw_sizes, comparison.draw_recall, comparison.draw_errors):
        figure_of(draw, data, 'segm', 'Object')
    assert json.dumps(data) == before
