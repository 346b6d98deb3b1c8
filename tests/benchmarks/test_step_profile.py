"""Where a step goes: the whole, what the host takes of it, and the operators by their time."""

from benchmarks import step_profile
from tests.benchmarks.helpers import read_csv

TINY = ['--device', 'cpu', '--threads', '1', '--repeat', '2', '--train', '1x64x64', '--most', '8']


def test_a_step_and_its_operators_are_rows_beside_the_step(tmp_path, capsys):
    out = tmp_path / 'profile.csv'
    step_profile.main([*TINY, '--dtypes', 'fp32', '--out', str(out)])  # half precision takes minutes on some CPUs
    step, queued, *operators = read_csv(out)
    assert (step['measure'], queued['measure'], len(operators)) == ('step', 'queued', 8)
    assert float(step['ratio']) == 1 and 0.9 < float(queued['ratio']) <= 1  # on the CPU nothing is queued
    assert any(row['measure'].startswith('aten::convolution_backward, ') for row in operators)
    assert [float(row['median']) for row in operators] == sorted((float(r['median']) for r in operators), reverse=True)
    assert 'A training step of DAMamba-T, nothing dropped, milliseconds: fp32, 1x64x64, cpu' in capsys.readouterr().out
