"""Tables: what is marked, what is shown, and that CSV loses no digit."""

import csv
from io import StringIO

from damamba.tables import Column, Table, csv_of, gigabytes, millions

COLUMNS = (
    Column('data set', hidden=True),
    Column('run'),
    Column('mAP', group='masks', better='high'),
    Column('AP50', group='masks', better='high'),
    Column('seconds', better='low'),
    Column('memory', form=gigabytes),
)
ROWS = (
    {'data set': 'mix', 'run': 'a', 'mAP': 0.1 + 0.2, 'AP50': -1.0, 'seconds': 0.2, 'memory': 1_234_567_890},
    {'data set': 'mix', 'run': 'b', 'mAP': 0.2999999999999999, 'AP50': 0.5, 'seconds': 0.1, 'memory': None},
    {'data set': 'mix', 'run': 'c', 'mAP': 0.1 + 0.2, 'AP50': 0.25, 'seconds': None},
)


def table(*rows: dict) -> Table:
    return Table('comparison', 'A title', COLUMNS, list(rows))


def best(*rows: dict) -> set[tuple[str, str]]:
    return {(cells[0].text, cell.key) for cells in table(*rows).cells() for cell in cells if cell.best}


def test_the_best_of_a_column_is_marked_by_the_full_value_where_there_are_several():
    assert best(*ROWS) == {('a', 'mAP'), ('c', 'mAP'), ('b', 'AP50'), ('b', 'seconds')}
    nothing = {**ROWS[1], 'AP50': -1.0, 'seconds': None, 'mAP': float('nan')}
    assert best(ROWS[0]) == best(ROWS[0], nothing) == best(ROWS[0], {**ROWS[0], 'run': 'b'}) == set()


def test_cells_show_three_digits_and_keep_all_and_what_is_not_there_is_a_dash():
    cells = {cell.key: (cell.text, cell.exact) for cell in table(*ROWS).cells()[0]}
    assert cells.pop('run') == ('a', 'a')
    numbers = {'mAP': ('0.300', '0.30000000000000004'), 'AP50': ('-', '-1.0'), 'seconds': ('0.200', '0.2')}
    assert cells == {**numbers, 'memory': ('1.23 GB', '1234567890')}
    assert [cell.text for cell in table(*ROWS).cells()[2]][-2:] == ['-', '-']
    assert (millions(44_400_000), millions(None), gigabytes(None)) == ('44.4 M', '-', '-')


def test_csv_has_every_digit_the_hidden_columns_and_the_columns_of_all_tables():
    other = Table('comparison', '', [Column('run'), Column('box')], [{'run': 'x, "y"\nz', 'box': 1 / 3}])
    rows = list(csv.DictReader(StringIO(csv_of([table(*ROWS), other]))))
    assert list(rows[0]) == ['data set', 'run', 'mAP', 'AP50', 'seconds', 'memory', 'box']
    assert [float(row['mAP']) for row in rows[:3]] == [row['mAP'] for row in ROWS]
    assert rows[0]['data set'] == 'mix' and rows[0]['AP50'] == '-1.0' and rows[2]['seconds'] == ''
    assert rows[3]['run'] == 'x, "y"\nz' and float(rows[3]['box']) == 1 / 3 and rows[3]['mAP'] == ''


def test_groups_stand_above_neighbours_and_published_digits_to_the_right_as_numbers_do():
    assert table().groups == [('', 1), ('masks', 2), ('', 1), ('', 1)]
    columns = [Column('run'), Column('AP50'), Column('remark')]
    rows = [{'run': '1', 'AP50': '0.72', 'remark': '0.5'}, {'run': '2', 'AP50': None, 'remark': 'x'}]
    assert Table('', '', columns, rows).numeric == {'AP50'} and Table('', '', columns).groups == []


def test_markdown_escapes_what_it_would_read_as_signs():
    lines = table({**ROWS[0], 'run': 'a|b_c <script>\n*x*', 'seconds': 0.05}, ROWS[1]).markdown().splitlines()
    assert lines[0] == '| run | masks: mAP | masks: AP50 | seconds | memory |'
    assert lines[1] == '| --- | ---: | ---: | ---: | ---: |'
    assert lines[2] == r'| a\|b\_c \<script\> \*x\* | **0.300** | - | **0.050** | 1.23 GB |' and len(lines) == 4


def test_a_terminal_shows_names_as_they_are_and_marks_the_best():
    shown = table({**ROWS[0], 'run': '[red]a[/red]\x1b[1m'}, ROWS[1]).text()
    assert '[red]a[/red]\\x1b[1m' in shown and '0.300 *' in shown and 'A title' in shown
