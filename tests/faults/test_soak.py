"""The soak in short: three kills in place of twenty."""

import csv

import pytest

from benchmarks import soak

pytestmark = pytest.mark.faults


def test_three_kills_cost_nothing(tmp_path):
    out = tmp_path / 'soak.csv'
    soak.main(['--device', 'cpu', '--threads', '1', '--kills', '3', '--steps', '30', '--out', str(out)])
    rows = list(csv.DictReader(out.open()))
    ends = {row['processes']: row for row in rows if row['kind'] == 'end'}
    assert ends['1']['outcome'] == 'as undisturbed, bit for bit' and {row['newest'] for row in ends.values()} == {'30'}
    assert [row['processes'] for row in rows if row['kind'] != 'end'] == ['1', '1', '2']


def test_too_many_kills_are_refused(capsys):
    with pytest.raises(SystemExit):
        soak.main(['--kills', '30', '--steps', '50'])
    assert 'at least twice --kills' in capsys.readouterr().err
