import argparse

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from benchmarks import runner
from benchmarks.runner import Clock, Shape, Timing
from tests.benchmarks.helpers import read_csv

DEFAULTS = {'cpu': dict(repeat=4, shape=Shape(1, 2, 3)), 'cuda': dict(repeat=5, shape=Shape(4, 5, 6))}


def parse(*argv: str, name: str = 'none') -> argparse.Namespace:
    parser = runner.make_parser('text')
    runner.add_per_device(parser, DEFAULTS, '--shape', 'a batch', type=Shape.parse)
    return runner.parse(parser, ['--device', 'cpu', '--threads', '1', *argv], DEFAULTS, name)


def test_what_is_not_given_is_the_devices_default():
    args = parse('--repeat', '2')
    assert (args.repeat, args.shape, args.threads) == (2, Shape(1, 2, 3), 1)
    assert args.out == runner.RESULTS / 'none_cpu.csv'
    assert parse('--shape', '2x800x1344').shape == Shape(2, 800, 1344)


@pytest.mark.parametrize('wrong', ['800x1344', '0x8x8', 'x', '1x2xthree'])
def test_a_wrong_shape_is_an_error_of_the_command_line(wrong, capsys):
    with pytest.raises(SystemExit):
        parse('--shape', wrong)
    assert '--shape' in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
def test_a_device_that_is_not_there_is_an_error_of_the_command_line(capsys):
    with pytest.raises(SystemExit):
        parse('--device', 'cuda')
    assert 'torch sees no CUDA device' in capsys.readouterr().err


def test_cases_take_turns_after_a_warm_up():
    calls = []
    cases = {name: lambda name=name: calls.append(name) for name in 'abc'}
    timings = runner.interleave(cases, 3, Clock('cpu'))
    assert ''.join(calls) == 'abc' + 3 * 'abc'
    assert all(0 <= t.low <= t.median <= t.high for t in timings.values())


def test_a_case_that_can_not_run_says_why_and_the_others_run():
    def broken():
        raise RuntimeError('there is no compiler\nand a long story')

    timings = runner.interleave(dict(good=lambda: None, bad=broken), 1, Clock('cpu'))
    assert timings['bad'] == Timing(note='not run: there is no compiler')
    assert timings['good'].median is not None


def test_spread_is_given_as_quartiles():
    assert Timing.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Timing(3, 2, 4)
    assert Timing.of([7.0]) == Timing(7, 7, 7)


def test_saved_bytes_counts_each_storage_once_and_no_parameters():
    """Both layers keep their input: of 4 x 8 floats and of 4 x 16; the second is also ReLU's output."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    x = torch.randn(4, 8)
    assert runner.saved_bytes(lambda: model(x + 1)) == 4 * 4 * (8 + 16)


def test_saved_bytes_of_a_checkpointed_model_are_its_inputs():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    x = torch.randn(4, 8)
    assert runner.saved_bytes(lambda: checkpoint(model, x + 1, use_reentrant=False)) == 4 * 4 * 8


def test_copy_bandwidth_counts_reads_and_writes(monkeypatch):
    monkeypatch.setitem(runner.COPIED, 'cpu', 1000)
    monkeypatch.setattr(Clock, 'time', lambda self, case: 2.0)
    assert runner.copy_bandwidth(Clock('cpu')) == pytest.approx(2 * 1000 / 0.002)


def test_rows_are_written_with_their_origin_and_replace_the_last_ones(tmp_path):
    args = parse('--out', str(tmp_path / 'new' / 'out.csv'), '--commit', 'abc1234')
    for value in (0.1234567891, None):
        runner.write_csv(args.out, [dict(name='x', value=value), dict(name='y, z', value=1)], args)
    rows = read_csv(args.out)
    assert [(row['name'], row['value']) for row in rows] == [('x', ''), ('y, z', '1')]
    assert rows[0]['commit'] == 'abc1234' and rows[0]['threads'] == '1'


def test_a_benchmark_that_is_stopped_leaves_the_rows_that_it_had(tmp_path):
    args = parse('--out', str(tmp_path / 'out.csv'), '--commit', 'abc1234')

    def groups():
        yield [dict(name='x'), dict(name='y')]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.collect(groups(), args)
    assert [row['name'] for row in read_csv(args.out)] == ['x', 'y']
    assert runner.collect(([dict(name=name)] for name in 'ab'), args) == [dict(name='a'), dict(name='b')]


def test_numbers_are_flush_right(capsys):
    runner.print_table('title', ('name', 'ms'), [('a', '1.5'), ('long', '12')])
    assert capsys.readouterr().out == '\ntitle\n\nname   ms\na     1.5\nlong   12\n'


@pytest.mark.parametrize(
    ('value', 'text'),
    [(1234.5, '1234'), (123.4, '123'), (9.876, '9.88'), (1.0, '1.00'), (0.1234, '0.123'), (None, '-')],
)
def test_figures_have_three_digits(value, text):
    assert runner.number(value) == text


def test_a_ratio_needs_both_figures():
    assert runner.compare({}, Timing(3.0, 2.0, 4.0), 2.0, 'Swin')['ratio'] == 1.5
    assert runner.compare({}, Timing(note='not run'), 2.0, 'Swin')['ratio'] is None
    assert runner.compare({}, Timing(3.0), None, 'Swin')['against'] == ''
