"""What each strategy gives: a row for each, beside the formula."""

from benchmarks import strategies
from tests.benchmarks.helpers import read_csv

TINY = ['--device', 'cpu', '--threads', '1', '--repeat', '1', '--forward', '1x64x64', '--train', '2x64x64']


def test_every_way_is_a_row_beside_the_formula(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('damamba.execution.memory.WORTH', 0)
    out = tmp_path / 'strategies.csv'
    strategies.main([*TINY, '--out', str(out)])
    rows = {(row['measure'], row['model']): row for row in read_csv(out)}
    assert set(rows) == {(measure, way) for measure, ways in strategies.WAYS.items() for way in ways}
    assert {row['against'] for row in rows.values()} == {'formula'}
    kept = [float(rows['memory', way]['median']) for way in ('with_cp', 'memory', 'formula')]
    assert kept == sorted(kept) and kept[0] < 0.5 * kept[1] < 0.5 * kept[2]
    assert 'Kept for the backward' in capsys.readouterr().out
