import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import plot

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = dict(device='cpu', machine='A CPU', threads='2', torch='2.11', commit='abc', date='2026-01-02T03:04:05+00:00')
SHAPE = dict(batch='1', height='800', width='1344')
COMPARED = dict(dtype='fp32', **SHAPE, low='90', high='120', ratio='0.8', against='Swin-T', note='')
TIMED = dict(low_ms='1', high_ms='4', note='')
STAGES = [('200', '336', '80'), ('100', '168', '160')]
ROWS = {
    'backbone': [
        dict(benchmark='backbone', measure=measure, model=model, unit=unit, median=median, **COMPARED)
        for measure, unit in (('forward', 'ms'), ('train', 'ms'), ('memory', 'MB'), ('operators', 'ms'))
        for model, median in (('DAMamba-T', '100'), ('DAMamba-T, with_cp', '110'), ('Swin-T (MMDetection)', ''))
    ],
    'detector': [
        dict(benchmark='detector', measure=measure, model='DAMamba-T', unit='ms', median='100', **COMPARED)
        for measure in ('train', 'test')
    ],
    'ops': [
        dict(
            benchmark='ops',
            operator=operator,
            **{'pass': kind},
            dtype=dtype,
            batch='2',
            height=height,
            width=width,
            channels=channels,
            implementation=name,
            share=share,
        )
        for operator in ('adaptive_sample', 'selective_scan')
        for kind in ('forward', 'backward')
        for dtype in ('fp32', 'bf16')
        for height, width, channels in STAGES
        for name, share in (('triton', '0.8'), ('vectorized', '0.02'), ('reference', ''))
    ],
    'scaling': [
        dict(benchmark='scaling', axis=axis, measure='forward', model=model, dtype='fp32', **size, **TIMED, **figures)
        for axis in ('pixels', 'batch')
        for model in ('DAMamba-T', 'Swin-T (timm)')
        for size, figures in (
            (SHAPE, dict(median_ms='2', exponent='1.01')),
            (dict(batch='2', height='1600', width='2688'), dict(median_ms='3', exponent='1.01')),
        )
    ],
}


def write(path: Path, rows: list[dict]) -> Path:
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, [*rows[0], *ORIGIN])
        writer.writeheader()
        writer.writerows({**row, **ORIGIN} for row in rows)
    return path


@pytest.mark.parametrize('name', ROWS)
def test_a_csv_becomes_a_picture(name, tmp_path, capsys):
    source = write(tmp_path / f'{name}_cpu.csv', ROWS[name])
    plot.main([str(source), '--out', str(tmp_path / 'images')])
    picture = tmp_path / 'images' / f'benchmark_{name}_cpu.png'
    assert picture.read_bytes().startswith(b'\x89PNG') and picture.stat().st_size > 5000
    assert capsys.readouterr().out == f'{picture}\n'


def test_by_default_it_draws_every_result_of_the_checkout_that_can_be_drawn(tmp_path, capsys):
    plot.main(['--out', str(tmp_path)])
    drawn = {path.name for path in tmp_path.glob('*.png')}
    assert drawn >= {f'benchmark_{name}_cpu.png' for name in plot.DRAWERS}
    assert len(capsys.readouterr().out.splitlines()) == len(drawn)


def test_a_panel_shows_the_models_that_were_measured():
    figure = plot.draw_comparison(ROWS['backbone'])
    assert [axes.get_title(loc='left') for axes in figure.axes] == list(plot.TITLES['backbone'].values())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ['DAMamba-T', 'DAMamba-T, with_cp']
    assert figure.axes[0].texts[0].get_text() == '100   0.80x'


def test_shares_are_drawn_in_percent_for_what_ran():
    axes = plot.draw_ops(ROWS['ops']).axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines['triton'] == [80, 80] and lines['vectorized'] == [2, 2] and 'reference' not in lines


def test_another_csv_is_one_sentence(tmp_path):
    source = write(tmp_path / 'other.csv', [dict(a='1')])
    with pytest.raises(SystemExit, match='is no CSV of a benchmark'):
        plot.main([str(source)])


def test_no_csv_at_all_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(plot, 'ROOT', tmp_path)
    with pytest.raises(SystemExit, match='nothing to draw: run python'):
        plot.main([])


def test_drawing_loads_no_torch():
    program = 'import sys, benchmarks.plot; sys.exit("torch" in sys.modules)'
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    assert subprocess.run([sys.executable, '-B', '-c', program], env=env, cwd=ROOT).returncode == 0
