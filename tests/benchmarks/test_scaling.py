import math

import pytest

from benchmarks import scaling
from tests.benchmarks.helpers import read_csv


def test_the_exponent_is_the_slope_of_the_logarithms():
    assert scaling.fit_exponent([(1, 3.0), (10, 30.0), (100, 300.0)]) == pytest.approx(1)
    assert scaling.fit_exponent([(2, 5.0), (4, 20.0), (8, None)]) == pytest.approx(2)
    assert scaling.fit_exponent([(2, 5.0), (2, 6.0)]) is None


def test_time_is_taken_against_pixels_and_against_the_batch(tmp_path, capsys):
    out = tmp_path / 'scaling.csv'
    common = ['--device', 'cpu', '--threads', '1', '--repeat', '1', '--models', 'damamba', '--out', str(out)]
    scaling.main([*common, '--pixels', '1x64x64', '1x64x96', '--batch', '1x64x64', '2x64x64', '--train'])
    rows = read_csv(out)
    sizes = [(row['axis'], row['batch'], row['width']) for row in rows]
    assert sizes == [('pixels', '1', '64'), ('pixels', '1', '96'), ('batch', '1', '64'), ('batch', '2', '64')]
    assert {row['measure'] for row in rows} == {'train'}
    first, second = (float(row['median_ms']) for row in rows[2:])
    assert float(rows[2]['exponent']) == pytest.approx(math.log2(second / first), abs=1e-3)
    assert float(rows[3]['ns_per_pixel']) == pytest.approx(second * 1e6 / (2 * 64 * 64), rel=1e-4)
    assert 'Time against images in the batch, forward + backward' in capsys.readouterr().out


def test_nothing_to_measure_is_one_sentence():
    with pytest.raises(SystemExit, match='--pixels and --batch are both empty'):
        scaling.main(['--device', 'cpu', '--threads', '1', '--pixels', '--batch'])
