"""Published figures: the digits of README and of the document on ARMBench, and where they are shown."""

import random
import re

import pytest

from damamba.reporting.ground_truth import sections_of
from damamba.reporting.run_tables import TAG, published_table
from damamba.reporting.runs import read_runs
from damamba.reporting.words import read_csv
from tests.detection import ROOT
from tests.reporting.runs import MIX, SAME, ZOOMED, evaluation, metrics, write_run


def published(tmp_path, name=MIX, classes=('Object', 'Tote'), images=1500, **given):
    content = metrics(0, name, classes, **given)
    content['evaluations']['coco'] = evaluation(random.Random(0), classes, images=images)
    (section,) = sections_of(read_runs([write_run(tmp_path / 'ours', **content)]))
    return published_table(section)


def markdown_rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table of Markdown below a heading."""
    lines = text.split(f'## {heading}\n')[1].split('\n\n')
    table = next(block.strip() for block in lines if block.strip().startswith('|'))
    return [[cell.strip() for cell in line.strip()[1:-1].split('|')] for line in table.splitlines()[2:]]


def test_figures_are_those_of_the_model_zoo_and_of_the_document_on_armbench():
    zoo = markdown_rows((ROOT / 'README.md').read_text(), 'Model zoo')
    zoo = {(re.search('tiny|small|base', row[0])[0], row[1]): row[2:4] for row in zoo}
    ours = [it for it in read_csv('published.csv') if it['run'].startswith('DAMamba')]
    assert len(ours) == len(zoo) == 6
    for it in ours:
        told = zoo[it['run'].split()[1].rstrip(','), it['remark'].split(',')[0]]
        assert [f'{float(it[key]) * 100:.1f}' for key in ('box mAP', 'mAP')] == told
    rows = markdown_rows((ROOT / 'docs/armbench.md').read_text(), 'What others report')
    told = {it for row in rows for it in zip((MIX, ZOOMED, SAME), row[1:], strict=True) if it[1]}
    of_armbench = [it for it in read_csv('published.csv') if it['AP50']]
    found = {(it['data set'], f'{it["AP50"]} / {it["AP75"] or "-"}') for it in of_armbench}
    assert found == told and len(found) == len(of_armbench) == 7


def test_published_rows_stand_below_ours_marked_with_their_digits(tmp_path):
    table = published(tmp_path)
    ours, others = table.rows[:2], table.rows[2:]
    scores = evaluation(random.Random(0))['scores']
    for kind, key in (('segm', 'mAP'), ('bbox', 'box mAP')):
        told = [scores[kind]['classes']['Object']['mAP'], scores[kind]['values']['mAP']]
        assert [row[key] for row in ours] == told
    assert [(row['remark'], row['whose']) for row in ours] == [('Object', 'here'), ('mean of all classes', 'here')]
    assert {row['whose'] for row in others} == {TAG} and all(row['source'] for row in others) and len(others) == 3
    assert [cell.text for cell in table.cells()[2]][1:4] == ['-', '0.72', '0.61']
    assert not any(cell.best for cells in table.cells() for cell in cells)


@pytest.mark.parametrize(
    ('name', 'images', 'whole'),
    [(MIX, 1000, True), (MIX, 999, False), (ZOOMED, 9, False), (SAME, 507, True), (SAME, 496, True), (SAME, 700, 0)],
)
def test_no_run_stands_beside_them_that_was_tested_on_some_of_the_pictures(tmp_path, name, images, whole):
    table = published(tmp_path, name, images=images)
    assert {row['whose'] for row in table.rows} == ({'here', TAG} if whole else {TAG})
    assert whole or f'{images} pictures, which are not all of it' in table.note


def test_no_run_on_drawn_pictures_stands_beside_them(tmp_path):
    told = dict(name=MIX, classes=[], description='Drawn totes in the layout of ARMBench', sha256=None)
    table = published(tmp_path, dataset=told)
    assert {row['whose'] for row in table.rows} == {TAG} and 'of the real pictures' in table.note


def test_cocos_figures_stand_beside_coco_alone_whatever_a_file_is_called(tmp_path):
    classes = tuple(f'class {index}' for index in range(80))
    assert len(published(tmp_path / 'whole', 'instances_val2017', classes, 5000).rows) == 1 + 9
    assert published(tmp_path / 'some', 'instances_val2017', classes, 120) is None
    assert published(tmp_path / 'none', 'my own') is None
