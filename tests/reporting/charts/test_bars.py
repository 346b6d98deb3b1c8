"""Bar charts: the figures on them, their colours, and that all of it can be read with one run and with a dozen."""

import itertools
import json
import math

import cv2
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Annotation

from damamba.reporting import charts
from damamba.reporting.charts import bars
from tests.reporting.charts.made_up import (
    LONG,
    bars_of,
    evaluation,
    figures,
    heights,
    labels,
    legend,
    log,
    names,
    scores,
    section,
    speed,
)


def each(runs: list[str], made) -> dict:
    return {name: made(k) for k, name in enumerate(runs)}


def evaluations(runs: list[str]) -> dict[str, dict]:
    return each(runs, lambda k: evaluation(0.1 + 0.3 * k / len(runs)))


def parts(runs: list[str], kind: str, part: str) -> tuple[dict, str]:
    return section(evaluations(runs), 'Object').figures(kind, part), 'things'


def data_sets(runs: list[str]) -> dict[str, dict]:
    ends = {'mAP low': 0.35, 'mAP high': 0.44, 'mAP_50 low': 0.57, 'mAP_50 high': 0.64}
    return {
        f'{name}-tote-transfer-set': dict.fromkeys(runs, scores(0.4) | ends) for name in ('mix', 'zoomed-out', 'same')
    }


DRAWERS = {
    'losses': lambda runs: (charts.draw_losses, each(runs, lambda k: log(k + 1, loss=k + 1.0))),
    'validation': lambda runs: (charts.draw_validation, each(runs, lambda k: log(k + 1))),
    'overview': lambda runs: (charts.draw_overview, data_sets(runs), 'masks'),
    'sizes': lambda runs: figures('sizes', evaluations(runs), 'segm', 'Object'),
    'curves': lambda runs: (charts.draw_precision_recall, *parts(runs, 'bbox', 'curves')),
    'errors': lambda runs: (charts.draw_errors, *parts(runs, 'segm', 'errors')),
    'segmentation': lambda runs: figures('segmentation', evaluations(runs), 'segm', None),
    'picks': lambda runs: figures('picks', evaluations(runs), 'segm', 'Object'),
    'latency': lambda runs: (charts.draw_latency, each(runs, lambda k: speed(0.1 * (k + 1)))),
}


def overlap(one, other) -> float:
    """By how many pixels two boxes lie in each other."""
    return min(min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0))


@pytest.mark.parametrize(('name', 'count'), [*itertools.product(DRAWERS, (1, 12)), ('errors', 4), ('latency', 5)])
def test_one_run_and_a_dozen_fit_into_a_chart(figure_of, tmp_path, name, count):
    figure = figure_of(*DRAWERS[name](names(count)), runs=names(count), full=True)
    height, width = cv2.imread(str(tmp_path / 'a.png')).shape[:2]
    assert width == 1650 and 500 < height < 2000
    assert len(legend(figure)) == count and legend(figure)[0].startswith(LONG)
    renderer, page = FigureCanvasAgg(figure).get_renderer(), figure.bbox.padded(1)
    lowest = figure.legends[0].get_window_extent(renderer)
    assert page.x0 <= lowest.x0 and lowest.x1 <= page.x1 and page.y0 <= lowest.y0
    for axes in figure.axes:
        whole = axes.get_tightbbox(renderer)
        assert whole.y0 >= lowest.y1 - 1 and whole.y1 <= figure._suptitle.get_window_extent(renderer).y0 + 1
        shown = [text for text in axes.texts if not isinstance(text, Annotation) or text._check_xy(renderer)]
        assert len(shown) == sum(len(it) for it in bars_of(axes)) or name == 'validation'
        boxes = [text.get_window_extent(renderer) for text in shown if text.get_text()]
        assert all(overlap(*pair) < 2 for pair in itertools.combinations(boxes, 2)), 'figures run into each other'
        assert all(box.y1 <= axes.bbox.y1 + 12 for box in boxes), 'figures run into what stands above'


def test_a_bar_has_the_colour_of_its_run_in_every_chart(figure_of):
    palette = charts.palette_of('abc')
    for name in DRAWERS:
        function, data, *options = DRAWERS[name](['b', 'c'])
        figure = figure_of(function, data, *options, runs='abc')
        assert [label[0] for label in legend(figure)] == ['b', 'c'], name
        for axes in figure.axes:
            seen = {it.get_label(): {to_hex(bar.get_facecolor()) for bar in it} for it in bars_of(axes)}
            seen |= {line.get_label(): {line.get_color()} for line in axes.lines}
            assert seen['b'] == {palette['b']} and seen['c'] == {palette['c']}


def test_what_there_was_nothing_of_is_a_gap_and_a_figure_of_zero_is_none(figure_of):
    data = {'a': evaluation(0.3), 'b': evaluation(0.2)}
    data['a']['scores']['segm']['classes']['Tote'] |= {'mAP_s': -1.0, 'mAP_m': math.nan, 'mAP_l': 0.0}
    before = json.dumps(data)
    pixels, _ = figure_of(*figures('sizes', data, 'segm', 'Tote')).axes
    assert heights(pixels) == {'a': [0, 0, 0], 'b': [0.4 / (k + 1.7) for k in range(3)]}
    assert [text.get_text() for text in pixels.texts[:3]] == [bars.GAP, bars.GAP, '0.000']
    assert [bar.get_x() < other.get_x() for bar, other in zip(*pixels.containers, strict=True)] == [True] * 3
    assert json.dumps(data) == before, 'what was handed over is changed'


def test_lines_reach_from_one_end_of_an_interval_to_the_other(figure_of):
    scores = {'a': {'mAP': 0.4, 'mAP_50': 0.6, 'mAP low': 0.35, 'mAP high': 0.44}, 'b': {'mAP': 0.3, 'mAP_50': 0.5}}
    (axes,) = figure_of(charts.draw_overview, {'mix': scores, 'same': {'b': scores['b']}}, 'masks', runs='ab').axes
    ends = [segment[:, 1].tolist() for lines in axes.collections for segment in lines.get_segments() if len(segment)]
    assert ends == [pytest.approx([0.35, 0.44])]


def test_panels_stand_beside_or_below_each_other_and_share_the_scale_of_their_unit(figure_of):
    def drawn(*panels):
        return figure_of(
            lambda it, palette, path: bars.draw_bar_chart(path, 'A', it, palette), panels, runs='abcd'
        ).axes

    few = bars.Panel({'x': 'one', 'y': 'two'}, {'a': {'x': 1, 'y': 2}, 'b': {'x': 3}}, 'units')
    left, right = drawn(few, bars.Panel({'x': 'x'}, {'a': {'x': 1000.0}}, 'others'))
    assert left.get_ylim()[1] < 5 and right.get_ylim()[1] > 1000 and right.get_ylabel() == 'others'
    many = {n: f'group {n}' for n in range(12)}
    for runs, rows in (('ab', [0, 0]), ('abcd', [0, 1])):  # 28 bars, and 52
        figures = {name: dict(zip(many, many, strict=True)) for name in runs}
        first, second = drawn(few, bars.Panel({'y': 'y'}, {}, 'units'), bars.Panel(many, figures, 'units', sums=11))
        assert [axes.get_subplotspec().rowspan.start for axes in (first, second)] == rows
        assert [axes.get_xlim() for axes in (first, second)] == [(-0.5, 1.5), (-0.5, 11.5)]
        assert first.get_ylim() == second.get_ylim() and 11 < first.get_ylim()[1] < 20
        assert first.get_ylabel() == 'units' and bool(second.get_ylabel()) == (rows == [0, 1])
        assert second.lines[0].get_xdata() == [10.5, 10.5] and labels(first) == ['one', 'two']
