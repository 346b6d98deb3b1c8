"""What is marked and what stands beside a figure: its interval, and how far runs lie above each other."""

import pytest

from damamba.reporting.ground_truth import sections_of
from damamba.reporting.ranking import Ranking
from damamba.reporting.report import make_report
from damamba.reporting.run_tables import comparison_table, tables_of
from damamba.reporting.runs import read_runs
from damamba.reporting.words import read_csv
from tests.reporting.runs import COCO, FOCUS, MIX, csv_rows, edit, three, write_draws
from tests.reporting.runs import tables_of as tables_of_page

SCORES = f'{COCO}.scores.segm'
FOCUSED = 'Object segm_mAP'


def section_of(folders, values, swings=()):
    """Runs of these mAPs whose draws are spread evenly by so much to each side."""
    for folder, value, swing in zip(folders, values, swings or [0] * len(values), strict=True):
        edit(folder, {FOCUS: value})
        write_draws(folder, swing)
    (section,) = sections_of(read_runs(folders))
    return section


def marked(section, key: str) -> list[str]:
    rows = comparison_table(section).cells()
    return [row[0].text for row in rows for cell in row if cell.key == key and cell.best]


@pytest.mark.parametrize(
    ('values', 'swings', 'expected'),
    [
        ((0.5, 0.4, 0.1), (0, 0, 0), ['first']),
        ((0.4, 0.5, 0.1), (0.2, 0, 0), ['first', 'second']),
        ((0.5, 0.4, 0.1), (2, 0, 0), ['first', 'second', 'third']),
        ((0.5, 0.5, 0.1), (0, 0, 0), ['first', 'second']),
        ((0.009, 0.001, 0.0), (0, 0, 0), []),
        ((0.5, -1.0, 0.1), (0, 0, 0), ['first']),
        ((0.5, -1.0, -1.0), (0, 0, 0), []),
    ],
)
def test_all_that_can_not_be_told_from_the_best_are_marked(tmp_path, values, swings, expected):
    assert marked(section_of(three(tmp_path), values, swings), FOCUSED) == expected


def test_where_one_left_no_draws_or_no_interval_no_ap_is_marked_and_the_rest_is(tmp_path):
    folders = three(tmp_path)
    section = section_of(folders, (0.5, 0.4, 0.1))
    assert marked(section, 'segm_mAP_50') == [] and len(marked(section, 'Object segm_AR@100')) == 1
    for folder, value, ends in zip(folders, (0.6, 0.5, 0.3), ([0.55, 0.65], [0.45, 0.55], [0.2, 0.4]), strict=True):
        edit(folder, {f'{SCORES}.values.mAP_50': value, f'{SCORES}.intervals': {'mAP_50': ends}})
    (section,) = sections_of(read_runs(folders))
    assert marked(section, 'segm_mAP_50') == ['first', 'second']
    (folders[2] / 'draws.npz').unlink()
    (section,) = sections_of(read_runs(folders))
    assert marked(section, FOCUSED) == [] and section.ranking('segm', 'Object').near == ['third']


def test_intervals_stand_behind_map_and_in_csv_with_every_digit(tmp_path, drawn):
    folders = three(tmp_path)
    section_of(folders, (0.5, 0.4, 0.1))
    edit(folders[0], {f'{SCORES}.class_intervals': {'Object': {'mAP': [0.4567890123, 0.5432109876]}}})
    edit(folders[0], {f'{SCORES}.intervals': {'mAP_s': [0.1, 0.2], 'mAP_50': [0.3, 0.4]}})
    make_report(folders, tmp_path / 'out', focus='Object')
    first, second, _ = csv_rows(tmp_path / 'out/comparison.csv')
    ends = [f'{FOCUSED} low', f'{FOCUSED} high', 'segm_mAP_50 low', 'segm_mAP_50 high']
    assert [first[end] for end in ends] == ['0.4567890123', '0.5432109876', '0.3', '0.4']
    assert [second[end] for end in ends] == [''] * 4
    texts = [row[2][0] for row in tables_of_page(tmp_path / 'out')[MIX][2:]]
    assert texts == ['0.500 [0.457, 0.543] (best)', '0.400', '0.100']
    assert '**0.500** \\[0.457, 0.543\\]' in (tmp_path / 'out/report.md').read_text()
    assert '0.500 [0.457, 0.543] *' in comparison_table(sections_of(read_runs(folders))[0]).text()
    classes = {(row['run'], row['kind'], row['class']): row for row in csv_rows(tmp_path / 'out/classes.csv')}
    assert classes['first', 'segm', 'Object']['mAP low'] == '0.4567890123'
    assert classes['first', 'segm', 'Tote']['mAP low'] == ''


def test_pairs_of_few_runs_and_the_best_beside_each_of_many(tmp_path):
    section = section_of(three(tmp_path), (0.5, 0.4, 0.005), (0.2, 0, 0))
    topic = next(it for it in read_csv('topics.csv') if it['anchor'] == 'differences')
    table, _ = tables_of(section, topic)
    rows = [[row[key] for key in ('run', 'other', 'verdict')] for row in table.rows]
    assert rows == [
        ['first', 'second', 'within chance'],
        ['first', 'third', 'first is ahead'],
        ['second', 'third', 'second is ahead'],
    ]
    first, *others = table.rows
    assert [first[f'difference{end}'] for end in ('', ' low', ' high')] == pytest.approx([0.1, -0.09, 0.29], abs=1e-3)
    assert 3700 < first['more pictures'] < 4000 and [row['more pictures'] for row in others] == [None, None]
    many = Ranking({str(n): n / 10 for n in range(1, 6)})
    assert [pair[:2] for pair in many.pairs()] == [('5', str(n)) for n in (4, 3, 2, 1)]
    assert many.verdict('5', '4') == 'not known' and many.leader is None
