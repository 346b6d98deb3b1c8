import pytest
import torch

from benchmarks import ops, runner
from benchmarks.ops import Map
from benchmarks.runner import Clock, Shape
from tests.benchmarks.helpers import read_csv


def test_stages_are_those_of_the_backbone():
    sizes = [(m.height, m.width, m.channels) for m in ops.stage_maps(Shape(2, 800, 1344))]
    assert sizes == [(200, 336, 80), (100, 168, 160), (50, 84, 320), (25, 42, 512)]
    assert [(m.height, m.width) for m in ops.stage_maps(Shape(2, 33, 65))] == [(9, 17), (5, 9), (3, 5), (2, 3)]


@pytest.mark.parametrize(
    ('name', 'kind', 'streams'),
    [  # x and the output, and 2 offsets for 16 channels; u, dt and the output, and 2 of B and C for 80 channels
        ('adaptive_sample', 'forward', 2 + 1 / 8),
        ('adaptive_sample', 'backward', 3 + 2 / 8),
        ('selective_scan', 'forward', 3 + 2 / 80),
        ('selective_scan', 'backward', 5 + 4 / 80),
    ],
)
def test_least_traffic_is_every_tensor_once(name, kind, streams):
    size = Map(1, 2, 20, 30, 80)
    inputs = ops.OPERATORS[name].inputs(size, torch.float32, 'cpu')
    parameters = sum(t.nbytes for t in inputs if t.ndim == 1) * (2 if kind == 'backward' else 1)
    moved = ops.least_bytes(inputs, torch.empty(2, 600, 80), kind)
    assert moved - parameters == pytest.approx(streams * 4 * 2 * 600 * 80)


@pytest.mark.parametrize('name', ops.OPERATORS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_inputs_are_what_the_operator_takes(name, dtype):
    operator = ops.OPERATORS[name]
    inputs = operator.inputs(Map(1, 2, 3, 4, 32), dtype, 'cpu')
    y = operator.public(*inputs)
    assert y.shape == inputs[0].shape and y.dtype == dtype
    gradients = ops.backward_case(operator.public, inputs, torch.ones_like(y))()
    assert [g.shape for g in gradients] == [t.shape for t in inputs]


def test_every_operator_backend_pass_and_type_has_a_row(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(runner.SCRATCH, 'cpu', 2**20)
    monkeypatch.setitem(runner.COPIED, 'cpu', 2**20)
    out = tmp_path / 'ops.csv'
    common = ['--device', 'cpu', '--threads', '1', '--repeat', '2', '--out', str(out)]
    ops.main([*common, '--shapes', '1x64x96', '--skip', 'compiled', '--steps', '24'])
    rows = read_csv(out)
    backends = sum(len(operator.backends) + 1 for operator in ops.OPERATORS.values())
    assert len(rows) == 4 * 2 * 2 * backends  # stages, types, passes
    plain = [row for row in rows if row['implementation'] == 'vectorized']
    for row in plain:
        assert float(row['low_ms']) <= float(row['median_ms']) <= float(row['high_ms'])
        rate = float(row['bytes']) / float(row['median_ms']) * 1000
        assert float(row['share']) == pytest.approx(rate / float(row['copy_bytes_per_s']), rel=1e-4)
    truths = {(row['operator'], row['stage']): row for row in rows if row['implementation'] == 'reference'}
    assert truths['selective_scan', '3']['median_ms'] and truths['selective_scan', '3']['steps'] == '24'
    assert truths['selective_scan', '1']['note'].startswith('not run where it loops over more than 24 steps')
    assert not truths['selective_scan', '1']['median_ms']
    shown = capsys.readouterr().out
    assert '1x16x24x80' in shown and 'compiled: not run: --skip compiled' in shown


def test_compiled_is_the_plain_formulation(monkeypatch):
    monkeypatch.setattr(torch, 'compile', lambda function, dynamic: function)
    size = Map(1, 1, 3, 4, 32)
    for operator in ops.OPERATORS.values():
        inputs = operator.inputs(size, torch.float32, 'cpu')
        y = operator.public(*inputs)
        grad = torch.randn_like(y)
        torch.testing.assert_close(ops.build_case(operator, 'compiled', 'forward', inputs, grad)(), y)
        ours = ops.build_case(operator, 'vectorized', 'backward', inputs, grad)()
        torch.testing.assert_close(ops.build_case(operator, 'compiled', 'backward', inputs, grad)(), ours)


def test_long_loops_are_not_unrolled():
    args = ops.parse(['--device', 'cpu', '--threads', '1', '--unroll', '32'])
    scan, small, large = ops.OPERATORS['selective_scan'], Map(3, 1, 14, 14, 320), Map(2, 1, 28, 28, 160)
    assert ops.why_not(scan, 'compiled', small, args) is None
    assert 'unrolls more than 32 steps' in ops.why_not(scan, 'compiled', large, args)
    assert ops.why_not(ops.OPERATORS['adaptive_sample'], 'compiled', large, args) is None


def test_the_operators_time_in_a_step_is_that_of_every_block(monkeypatch):
    def time(self, case):
        case()
        return 1.0

    monkeypatch.setattr(Clock, 'time', time)
    timing = ops.step_time(Shape(1, 32, 32), 'fp32', 1, Clock('cpu'))
    assert timing.median == 2 * 2 * (3 + 4 + 12 + 5)  # operators, passes, blocks
