"""Latency: times by bins, memory, and whether they compare."""

from damamba.reporting import charts
from tests.reporting.charts.made_up import heights, labels, legend, speed


def note(figure) -> str:
    return figure.legends[0].get_title().get_text().replace('\n', ' ')


def test_times_are_sorted_by_the_number_of_objects_and_memory_stands_beside_them(figure_of):
    figure = figure_of(charts.draw_latency, {'a': speed(0.01), 'b': speed(0.02)})
    times, memory = figure.axes
    assert [label.split('\n')[0] for label in labels(times)] == ['0-5', '5-10', '10-15', '50-100', '100+', 'all']
    assert labels(times)[0] == '0-5\n5 pictures' and labels(times)[-1] == 'all\n25 pictures'
    assert heights(times)['a'] == [0.01 * k for k in (3, 2, 5, 4, 1, 3)]
    assert heights(times)['b, above'] == [*(0.02 * k * 1.5 for k in (3, 2, 5, 4, 1)), 0.02 * 5]
    assert heights(memory) == {'a': [2.5], 'b': [2.5]} and labels(memory) == ['memory\nof the GPU']
    assert times.lines[0].get_xdata() == [4.5, 4.5] and 'On H100, 1 process, batch 1.' in note(figure)


def test_times_of_other_machines_are_said_not_to_compare_and_missing_bins_are_gaps(figure_of):
    slow = speed(0.5, 'cpu', processes=2)
    del slow['bins']['5-10']
    slow['bins']['0-5']['pictures'] = 1
    slow['peak_memory'] = None
    figure = figure_of(charts.draw_latency, {'a': speed(0.01), 'b': slow})
    times, memory = figure.axes
    assert heights(times)['b'][:2] == [1.5, 0] and heights(memory)['b'] == [0]
    assert labels(times)[:2] == ['0-5\n1–5 pictures', '5-10\n5 pictures'] and labels(memory) == ['memory']
    assert 'do not compare' in note(figure)
    assert legend(figure) == ['a: H100, 1 process, batch 1', 'b: H100, 2 processes of 1 thread each, batch 1']
