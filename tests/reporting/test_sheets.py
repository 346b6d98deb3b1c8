"""Tables: what is marked, what is shown, and that CSV loses no digit."""

import csv
from io import StringIO

from damamba.reporting.sheets import Column, Sheet, csv_of, gigabytes, millions

COLUMNS = (
    Column('data set', hidden=True),
    Column('run'),
    Column('mAP', group='masks', better='high'),
    Column('AP50', group='masks', better='high'),
    Column('seconds', better='low'),
    Column('memory', form=gigabytes),
)


def sheet(*rows: dict) -> Sheet:
    return Sheet('comparison', 'A title', COLUMNS, list(rows))


ROWS = (
    {'data set': 'mix', 'run': 'a', 'mAP': 0.1 + 0.2, 'AP50': -1.0, 'seconds': 0.2, 'memory': 1_234_567_890},
    {'data set': 'mix', 'run': 'b', 'mAP': 0.2999999999999999, 'AP50': 0.5, 'seconds': 0.1, 'memory': None},
    {'data set': 'mix', 'run': 'c', 'mAP': 0.1 + 0.2, 'AP50': 0.25, 'seconds': None},
)


def test_the_best_of_a_column_is_marked_by_the_full_value_and_equals_share_it():
    best = {(cells[0].text, cell.key) for cells in sheet(*ROWS).cells() for cell in cells if cell.best}
    assert best == {('a', 'mAP'), ('c', 'mAP'), ('b', 'AP50'), ('b', 'seconds')}


def test_where_one_row_has_a_value_nothing_is_best():
    assert not any(cell.best for cells in sheet(ROWS[0]).cells() for cell in cells)
    undefined = {**ROWS[1], 'AP50': -1.0, 'seconds': None, 'mAP': None}
    assert not any(cell.best for cells in sheet(ROWS[0], undefined).cells() for cell in cells)


def test_cells_show_three_digits_and_keep_all_and_what_is_not_there_is_a_dash():
    cells = {cell.key: cell for cell in sheet(*ROWS).cells()[0]}
    assert list(cells) == ['run', 'mAP', 'AP50', 'seconds', 'memory']
    assert (cells['mAP'].text, cells['mAP'].exact) == ('0.300', '0.30000000000000004')
    assert (cells['AP50'].text, cells['AP50'].exact) == ('-', '-1.0')
    assert (cells['memory'].text, cells['memory'].exact) == ('1.23 GB', '1234567890')
    assert [cell.text for cell in sheet(*ROWS).cells()[2]][-2:] == ['-', '-']


def test_csv_has_every_digit_the_hidden_columns_and_the_columns_of_all_sheets():
    other = Sheet('comparison', '', [Column('run'), Column('box')], [{'run': 'x, "y"\nz', 'box': 1 / 3}])
    rows = list(csv.DictReader(StringIO(csv_of([sheet(*ROWS), other]))))
    assert list(rows[0]) == ['data set', 'run', 'mAP', 'AP50', 'seconds', 'memory', 'box']
    assert [float(row['mAP']) for row in rows[:3]] == [row['mAP'] for row in ROWS]
    assert rows[0]['data set'] == 'mix' and rows[0]['AP50'] == '-1.0' and rows[2]['seconds'] == ''
    assert rows[3]['run'] == 'x, "y"\nz' and float(rows[3]['box']) == 1 / 3 and rows[3]['mAP'] == ''


def test_of_equal_values_none_is_the_best():
    assert not any(cell.best for cells in sheet(ROWS[0], {**ROWS[0], 'run': 'b'}).cells() for cell in cells)


def test_groups_stand_above_neighbours():
    assert sheet().groups == [('', 1), ('masks', 2), ('', 1), ('', 1)]
    assert Sheet('', '', [Column('run')]).groups == []


def test_markdown_escapes_what_it_would_read_as_signs():
    row = {**ROWS[0], 'run': 'a|b_c <script>\n*x*', 'seconds': 0.05}
    lines = sheet(row, ROWS[1]).markdown().splitlines()
    assert lines[0] == '| run | masks: mAP | masks: AP50 | seconds | memory |'
    assert lines[1] == '| --- | ---: | ---: | ---: | ---: |'
    assert lines[2] == r'| a\|b\_c \<script\> \*x\* | **0.300** | - | **0.050** | 1.23 GB |'
    assert len(lines) == 4


def test_published_digits_stand_to_the_right_as_numbers_do():
    columns = [Column('run'), Column('AP50'), Column('remark')]
    rows = [{'run': '1', 'AP50': '0.72', 'remark': '0.5'}, {'run': '2', 'AP50': None, 'remark': 'x'}]
    assert Sheet('', '', columns, rows).numeric == {'AP50'}


def test_a_terminal_shows_names_as_they_are_and_marks_the_best():
    shown = sheet({**ROWS[0], 'run': '[red]a[/red]'}, ROWS[1]).text()
    assert '[red]a[/red]' in shown and '0.300 *' in shown and 'A title' in shown


def test_large_numbers_are_short():
    assert (millions(44_400_000), millions(None)) == ('44.4 M', '-')
    assert (gigabytes(1_055_498_240), gigabytes(None)) == ('1.06 GB', '-')
