"""Pictures that compare runs: what is drawn, by the drawings' own objects, and the files that come out."""

import itertools
import json
import math
import warnings

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from damamba.reporting import comparison
from damamba.reporting.comparison import bars
from damamba.reporting.comparison.layout import wrap
from damamba.reporting.comparison.training import smooth
from damamba.reporting.logs import TrainingLog

LONG = 'mask_rcnn_DAMamba_nano_fpn_armbench_demo'
ERRORS = ('classification', 'localisation', 'missed', 'false positives', 'false negatives')
SIZES = ('s', 'm', 'l')


def scores(level: float) -> dict[str, float]:
    ap = {'mAP': level, 'mAP_50': level * 1.5, **{f'mAP_{s}': level / (k + 1.7) for k, s in enumerate(SIZES)}}
    return {**ap, **{f'AR@{n}': level + n / 1000 for n in (1, 10, 100)}, **{f'AR_{s}@100': level / 3 for s in SIZES}}


def sized(level: float) -> dict[str, float]:
    return {f'mAP_{s}': level / (k + 2.3) for k, s in enumerate(SIZES)}


def evaluation(level: float, details: bool = True) -> dict:
    """What metrics.json has of one test; the tote is always twice as good as the object."""
    both = {'Object': level, 'Tote': 2 * level}
    made = {'values': scores(1.5 * level), 'classes': {name: scores(value) for name, value in both.items()}}
    part = {
        'sizes': {'values': sized(1.5 * level), 'classes': {name: sized(value) for name, value in both.items()}},
        'curves': {
            name: {o: np.linspace(value, 0, 101).tolist() for o in ('0.50', '0.75')} for name, value in both.items()
        },
        'errors': {
            'values': {'AP50': 1.5 * level, **dict.fromkeys(ERRORS, level / 5)},
            'classes': {n: {'AP50': v, **{e: v / (k + 3) for k, e in enumerate(ERRORS)}} for n, v in both.items()},
        },
        'segmentation': {
            'values': {'under rate': level, 'over rate': level / 2},
            'classes': {name: {'under rate': value / 3, 'over rate': value / 7} for name, value in both.items()},
        },
    }
    kinds = {'bbox': {**part, 'segmentation': None}, 'segm': part}
    return {'scores': {'bbox': made, 'segm': made}, 'details': {'kinds': kinds} if details else None}


def log(epochs: int, per_epoch: int = 70, step: int = 20, loss: float = 3.0, level: float = 0.3) -> TrainingLog:
    """What MMEngine logs: every ``step`` iterations of each epoch; a validation after each."""
    train = [
        {'iter': e * per_epoch + i, 'epoch': e + 1, 'loss': loss / (1 + e + i / per_epoch)}
        for e in range(epochs)
        for i in range(step, per_epoch + 1, step)
    ]
    names = {'coco/segm_mAP': level / epochs, 'coco/bbox_mAP': level / 2 / epochs}
    values = [{**{name: value * e for name, value in names.items()}, 'epoch': e} for e in range(1, epochs + 1)]
    return TrainingLog(train, values)


def speed(base: float, kind: str = 'cuda', processes: int = 1) -> dict:
    factors = {'100+': 1, '5-10': 2, '0-5': 3, '50-100': 4, '10-15': 5}
    bins = {name: {'pictures': 5, 'median': base * k, 'p90': base * k * 1.5} for name, k in factors.items()}
    place = {'device': 'H100', 'kind': kind, 'processes': processes, 'threads': 1, 'batch_size': 1}
    overall = {'pictures': 25, 'median': base * 3, 'p90': base * 5}
    return {'overall': overall, 'bins': bins, 'peak_memory': 2_500_000_000, **place}


def names(count: int) -> list[str]:
    return [LONG, 'mask_rcnn_r50_fpn', *(f'run {n}' for n in range(count))][:count]


def evaluations(count: int) -> dict[str, dict]:
    return {name: evaluation(0.1 + 0.3 * k / count) for k, name in enumerate(names(count))}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw something into a file, small to be quick unless ``full``; the figure it was."""
    figures, save = [], Figure.savefig

    def draw(function, data, *args, runs=None, full=False):
        def keep(figure, path, dpi):
            figures.append(figure)
            save(figure, path, dpi=dpi if full else 30)

        monkeypatch.setattr(Figure, 'savefig', keep)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            path = function(data, comparison.palette_of(runs or data), tmp_path / 'a.png', *args)
        assert path == tmp_path / 'a.png' and path.read_bytes().startswith(b'\x89PNG\r\n')
        return figures[-1]

    return draw


def heights(axes) -> dict[str, list[float]]:
    """The bars of each run, from left to right."""
    found = {}
    for container in axes.containers:
        found.setdefault(container.get_label(), []).extend(bar.get_height() for bar in container)
    return found


def labels(axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def legend(figure) -> list[str]:
    return [text.get_text().replace('\n', '') for text in figure.legends[0].get_texts()]


# Colours and names


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


# Training


def test_losses_are_those_of_the_log_by_epochs_that_had_passed(drawn):
    logs = {'long': log(8), 'short': log(1)}
    (axes,) = drawn(comparison.draw_losses, logs).axes
    found = {line.get_label(): line for line in axes.lines}
    assert list(found) == ['long', 'short']
    for name, length in (('long', 70), ('short', 60)):  # of one epoch, what was logged of it
        x, y = found[name].get_data()
        assert y.tolist() == [row['loss'] for row in logs[name].train]
        np.testing.assert_allclose(x, [row['iter'] / length for row in logs[name].train])
    assert found['long'].get_marker() == '' and found['short'].get_marker() == 's'
    assert axes.get_yscale() == 'linear' and axes.get_ylim()[0] == 0


def test_many_losses_are_smoothed_and_what_is_not_finite_is_a_gap(drawn):
    noisy = log(30)
    noisy.train[7]['loss'], noisy.train[9]['loss'] = math.nan, math.inf
    (axes,) = drawn(comparison.draw_losses, {'a': noisy}).axes
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


def test_losses_of_other_scales_have_a_log_axis_and_a_word_of_caution(drawn):
    figure = drawn(comparison.draw_losses, {'a': log(3), 'b': log(3, loss=90.0)})
    assert figure.axes[0].get_yscale() == 'log'
    assert any('cannot' in text.get_text() for text in figure.texts)
    assert {'2', '10', '50'} <= {label.get_text() for label in figure.axes[0].get_yticklabels()}


def test_a_log_of_losses_that_are_no_numbers_is_drawn(drawn):
    (axes,) = drawn(comparison.draw_losses, {'a': log(2, loss=math.nan)}).axes
    assert np.isnan(axes.lines[0].get_ydata()).all()


def test_validation_is_that_of_the_logs_masks_beside_boxes(drawn):
    logs = {'one': log(1, level=0.2), 'four': log(4, level=0.6)}
    figure = drawn(comparison.draw_validation, logs)
    masks, boxes = figure.axes
    assert (masks.get_title(), boxes.get_title()) == ('mask mAP', 'box mAP')
    for axes, factor in ((masks, 1), (boxes, 0.5)):
        one, four = axes.lines
        assert one.get_xydata().tolist() == [[1, 0.2 * factor]] and one.get_marker() == 'o'
        assert four.get_xydata().tolist() == [[e, pytest.approx(0.15 * e * factor)] for e in (1, 2, 3, 4)]
        assert axes.get_ylim()[0] == 0 and axes.get_xlabel() == 'epoch'
    assert [text.get_text() for text in masks.texts] == ['0.200', '0.600']
    assert legend(figure) == ['one', 'four']


def test_a_box_map_above_every_mask_map_stands_within_its_panel(drawn):
    rows = [{'epoch': n, 'coco/segm_mAP': 0.26, 'coco/bbox_mAP': high} for n, high in [(1, 0.42), (2, 0.78)]]
    masks, boxes = drawn(comparison.draw_validation, {'a': TrainingLog([], rows)}).axes
    assert masks.get_ylim() == boxes.get_ylim()
    assert boxes.get_ylim()[0] == 0 and boxes.get_ylim()[1] > 0.78


def test_a_metric_that_no_run_has_gets_no_axes_and_nothing_to_find_no_point(drawn):
    rows = [{'coco/segm_mAP': value, 'epoch': e} for e, value in ((1, -1.0), (2, math.nan), (3, 0.0))]
    (axes,) = drawn(comparison.draw_validation, {'a': TrainingLog([], rows)}).axes
    assert axes.get_title() == 'mask mAP' and axes.lines[0].get_xydata().tolist() == [[3, 0.0]]
    (empty,) = drawn(comparison.draw_validation, {'a': TrainingLog([], rows[:1])}).axes
    assert not empty.lines


# Scores


def test_the_overview_has_the_figures_of_each_data_set_and_run(drawn):
    figures = {'mix': {'a': scores(0.31), 'b': scores(0.12345678901234567)}, 'transfer set': {'b': scores(0.2)}}
    figure = drawn(comparison.draw_overview, figures, 'Object', runs=['a', 'b'])
    (axes,) = figure.axes
    found = heights(axes)
    assert found['a'] == [0.31] and found['b'] == [0.12345678901234567, 0.2]
    assert found['b, above'] == [0.12345678901234567 * 1.5, 0.2 * 1.5]
    assert labels(axes) == ['mix', 'transfer set'] and legend(figure) == ['a', 'b']
    texts = [text.get_text() for text in axes.texts]
    assert texts.count(bars.GAP) == 1 and {'0.310', '0.465', '0.123', '0.185', '0.200', '0.300'} <= set(texts)
    assert 'Object' in figure.texts[0].get_text()


def test_a_bar_has_the_colour_of_its_run_in_every_picture(drawn):
    runs, both = ['a', 'b', 'c'], {name: evaluation(0.3) for name in ('b', 'c')}
    palette = comparison.palette_of(runs)
    figures = [
        drawn(comparison.draw_sizes, both, 'segm', None, runs=runs),
        drawn(comparison.draw_recall, both, 'bbox', 'Tote', runs=runs),
        drawn(comparison.draw_errors, both, 'segm', None, runs=runs),
        drawn(comparison.draw_segmentation, both, None, runs=runs),
        drawn(comparison.draw_latency, {'c': speed(1), 'b': speed(2)}, runs=runs),
    ]
    for figure in figures:
        assert legend(figure)[0].startswith('b') and legend(figure)[1].startswith('c')
        for axes in figure.axes:
            seen = {c.get_label(): {to_hex(bar.get_facecolor()) for bar in c} for c in axes.containers}
            assert seen['b'] == {palette['b']} and seen['c'] == {palette['c']}
    figures = [
        drawn(comparison.draw_precision_recall, both, 'segm', None, runs=runs),
        drawn(comparison.draw_validation, {'b': log(2)}, runs=runs),
    ]
    for figure in figures:
        for axes in figure.axes:
            assert all(line.get_color() == palette[line.get_label()] for line in axes.lines)


def test_sizes_are_drawn_by_pixels_and_by_parts_of_the_picture(drawn):
    data = {'a': evaluation(0.3), 'b': evaluation(0.2, details=False)}
    pixels, shares = drawn(comparison.draw_sizes, data, 'segm', 'Object').axes
    for axes, name, level, first in ((pixels, 'a', 0.3, 1.7), (pixels, 'b', 0.2, 1.7), (shares, 'a', 0.3, 2.3)):
        assert heights(axes)[name] == [level / (k + first) for k in range(3)]
    assert 'b' not in heights(shares) and pixels.get_ylim() == shares.get_ylim()
    assert [label.split('\n')[0] for label in labels(pixels)] == ['small', 'medium', 'large']
    (alone,) = drawn(comparison.draw_sizes, {'b': data['b']}, 'segm', None).axes
    assert heights(alone)['b'] == [1.5 * 0.2 / (k + 1.7) for k in range(3)]


def test_what_there_was_nothing_of_is_a_gap_and_no_bar(drawn):
    data = {'a': evaluation(0.3), 'b': evaluation(0.2)}
    values = data['a']['scores']['segm']['classes']['Tote']
    values |= {'mAP_s': -1.0, 'mAP_m': math.nan, 'mAP_l': 0.0}
    pixels, _ = drawn(comparison.draw_sizes, data, 'segm', 'Tote').axes
    assert heights(pixels)['a'] == [0.0] and len(heights(pixels)['b']) == 3
    gaps = [text.xy for text in pixels.texts if text.get_text() == bars.GAP]
    assert len(gaps) == 2 and '0.000' in [text.get_text() for text in pixels.texts]
    left, right = (pixels.containers[k][0] for k in (0, 1))  # the only bar of a is that of large objects
    assert left.get_x() > right.get_x() and gaps[0][0] < right.get_x()


def test_recall_is_drawn_by_limits_in_their_order_and_by_size(drawn):
    one = evaluation(0.3)
    limits, sizes = drawn(comparison.draw_recall, {'a': one}, 'bbox', 'Tote').axes
    assert heights(limits)['a'] == [0.6 + n / 1000 for n in (1, 10, 100)]
    assert labels(limits) == ['AR@1', 'AR@10', 'AR@100'] and heights(sizes)['a'] == [0.6 / 3] * 3


# Details


def test_curves_are_those_of_the_class_or_the_mean_of_all_with_objects(drawn):
    data = evaluations(2)
    at_half, at_three_quarters = drawn(comparison.draw_precision_recall, data, 'segm', 'Tote').axes
    for axes, overlap in ((at_half, '0.50'), (at_three_quarters, '0.75')):
        assert axes.get_title() == f'IoU {overlap}'
        for line, (name, values) in zip(axes.lines, data.items(), strict=True):
            assert line.get_label() == name and line.get_xdata()[[0, 50, 100]].tolist() == [0, 0.5, 1]
            assert line.get_ydata().tolist() == values['details']['kinds']['segm']['curves']['Tote'][overlap]
    curves = data[LONG]['details']['kinds']['segm']['curves']
    curves['Hand'] = {}
    axes = drawn(comparison.draw_precision_recall, data, 'segm', None).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.mean([curves[n]['0.50'] for n in ('Object', 'Tote')], 0))


def test_costs_of_errors_are_bars_and_the_sums_stand_apart(drawn):
    data = {'a': evaluation(0.3), 'b': evaluation(0.2), 'old': evaluation(0.2, details=False)}
    figure = drawn(comparison.draw_errors, data, 'segm', 'Object')
    (axes,) = figure.axes
    assert heights(axes) == {name: [v / (k + 3) for k in range(5)] for name, v in (('a', 0.3), ('b', 0.2))}
    assert [label.replace('\n', ' ') for label in labels(axes)] == list(ERRORS)
    assert axes.lines[0].get_xdata() == [2.5, 2.5] and legend(figure) == ['a, AP50 0.300', 'b, AP50 0.200']


def test_segmentation_is_that_of_masks_in_percent(drawn):
    (axes,) = drawn(comparison.draw_segmentation, {'a': evaluation(0.3)}, 'Tote').axes
    assert heights(axes)['a'] == [0.6 / 3, 0.6 / 7]
    assert [text.get_text() for text in axes.texts] == ['20.0%', '8.6%']


# Speed


def test_times_are_sorted_by_the_number_of_objects_and_memory_stands_beside_them(drawn):
    figure = drawn(comparison.draw_latency, {'a': speed(0.01), 'b': speed(0.02)})
    times, memory = figure.axes
    assert [label.split('\n')[0] for label in labels(times)] == ['0-5', '5-10', '10-15', '50-100', '100+', 'all']
    assert labels(times)[0] == '0-5\n5 pictures'
    assert heights(times)['a'] == [0.01 * k for k in (3, 2, 5, 4, 1, 3)]
    assert heights(times)['b, above'] == [*(0.02 * k * 1.5 for k in (3, 2, 5, 4, 1)), 0.02 * 5]
    assert heights(memory) == {'a': [2.5], 'b': [2.5]} and labels(memory) == ['memory\nof the GPU']
    assert any('On H100, 1 process, batch 1.' in text.get_text().replace('\n', ' ') for text in figure.texts)


def test_times_of_other_machines_are_said_not_to_compare_and_missing_bins_are_gaps(drawn):
    slow = speed(0.5, 'cpu', processes=2)
    del slow['bins']['5-10']
    slow['peak_memory'] = None
    figure = drawn(comparison.draw_latency, {'a': speed(0.01), 'b': slow})
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
def test_one_run_and_a_dozen_fit_into_a_picture(drawn, tmp_path, name, count):
    figure = drawn(*DRAWERS[name](names(count)), runs=names(count), full=True)
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


def test_nothing_that_is_handed_over_is_changed(drawn):
    data = evaluations(2)
    before = json.dumps(data)
    for draw in (comparison.draw_sizes, comparison.draw_recall, comparison.draw_errors):
        drawn(draw, data, 'segm', 'Object')
    assert json.dumps(data) == before
