import pytest

from benchmarks import guards
from tests.benchmarks.helpers import read_csv

pytestmark = pytest.mark.faults  # a whole training


def test_steps_take_turns_and_a_save_is_timed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(guards, 'SAVES', 1)  # half a gigabyte each
    out = tmp_path / 'guards.csv'
    guards.main(['--device', 'cpu', '--threads', '1', '--shape', '1x64x96', '--repeat', '2', '--out', str(out)])
    rows = {row['measure']: row for row in read_csv(out)}
    assert list(rows) == ['plain step', 'guarded step', 'stop', 'write', 'verify', 'read']
    assert all(float(row['median']) > 0 for row in rows.values())
    ratio = float(rows['guarded step']['median']) / float(rows['plain step']['median'])
    assert float(rows['guarded step']['ratio']) == pytest.approx(ratio, rel=1e-4)
    assert 'Guards of a training, milliseconds: 1x64x96' in capsys.readouterr().out
