"""Published figures: the digits of README and of the document on ARMBench, and where they are shown."""

import random
import re

import pytest

from damamba.reporting.published import PUBLISHED, TAG, published_sheet
from damamba.reporting.runs import read_runs
from damamba.reporting.sections import sections_of
from tests.detection import ROOT
from tests.reporting.runs import evaluation, metrics, write_run

COCO_CLASSES = tuple(f'class {index}' for index in range(80))


def section_of(tmp_path, **given):
    (section,) = sections_of(read_runs([write_run(tmp_path / 'ours', **given)]))
    return section


def coco(images: int = 5000) -> dict:
    content = metrics(0, 'instances_val2017', COCO_CLASSES)
    content['evaluations']['coco'] = evaluation(random.Random(0), COCO_CLASSES, images=images)
    return content


def rows_of(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table of Markdown below a heading."""
    lines = text.split(f'## {heading}\n')[1].split('\n\n')
    table = next(block.strip() for block in lines if block.strip().startswith('|'))
    return [[cell.strip() for cell in line.strip()[1:-1].split('|')] for line in table.splitlines()[2:]]


def test_figures_on_coco_are_those_of_the_model_zoo():
    zoo = {
        (re.search('tiny|small|base', row[0])[0], row[1]): row[2:4]
        for row in rows_of((ROOT / 'README.md').read_text(), 'Model zoo')
    }
    ours = [it for it in PUBLISHED if it.system.startswith('DAMamba')]
    assert len(ours) == len(zoo) == 6
    for it in ours:
        box, mask = zoo[it.system.split()[1].rstrip(','), it.remark.split(',')[0]]
        assert (f'{float(it.box) * 100:.1f}', f'{float(it.mask["mAP"]) * 100:.1f}') == (box, mask)


def test_figures_on_armbench_are_those_of_its_document():
    rows = rows_of((ROOT / 'docs' / 'armbench.md').read_text(), 'What others report')
    subsets = ('mix-object-tote', 'zoomed-out-tote-transfer-set', 'same-object-transfer-set')
    told = {it for row in rows for it in zip(subsets, row[1:], strict=True) if it[1]}
    found = {
        (it.dataset, f'{it.mask["AP50"]} / {it.mask["AP75"] or "-"}')
        for it in PUBLISHED
        if 'AP50' in it.mask and 'mAP' not in it.mask
    }
    assert found == told and len(found) == 7


def test_the_figures_of_the_study_say_why_they_are_none():
    study = {it.system: it for it in PUBLISHED if 'student' in it.source}
    assert study['ResNet-50, Mask R-CNN'].mask == {'mAP': '0.5422', 'AP50': '0.6971', 'AP75': '0.5389'}
    assert 'boxes were scored as if they were masks' in study['ResNet-50, Mask R-CNN'].remark
    assert study['Swin-B, Mask2Former'].mask == {'mAP': '0.0001', 'AP50': '0.0007', 'AP75': '0.0000'}
    assert 'off by one' in study['Swin-B, Mask2Former'].remark


def test_published_rows_stand_below_ours_marked_with_their_digits(tmp_path):
    section = section_of(tmp_path)
    sheet = published_sheet(section)
    ours, others = sheet.rows[:2], sheet.rows[2:]
    scores = section.results[0].evaluation['scores']['segm']
    assert [row['mAP'] for row in ours] == [scores['classes']['Object']['mAP'], scores['values']['mAP']]
    assert [row['remark'] for row in ours] == ['Object', 'mean of all classes']
    assert {row['whose'] for row in ours} == {'here'} and {row['whose'] for row in others} == {TAG}
    assert all(row['source'] for row in others) and len(others) == 5
    texts = [cell.text for cell in sheet.cells()[2]]
    assert '0.72' in texts and '0.61' in texts and not any(cell.best for cells in sheet.cells() for cell in cells)


def test_on_drawn_pictures_no_run_stands_beside_them(tmp_path):
    told = dict(name='mix-object-tote', classes=[], description='Drawn totes in the layout of ARMBench', sha256=None)
    sheet = published_sheet(section_of(tmp_path, dataset=told))
    assert {row['whose'] for row in sheet.rows} == {TAG}
    assert 'of the real pictures' in sheet.note and 'do not compare' in sheet.note


@pytest.mark.parametrize(
    ('name', 'images', 'whole'),
    [
        ('mix-object-tote', 1000, True),
        ('mix-object-tote', 999, False),
        ('zoomed-out-tote-transfer-set', 60, False),
        ('same-object-transfer-set', 507, True),
        ('same-object-transfer-set', 496, True),
        ('same-object-transfer-set', 1500, False),
    ],
)
def test_no_run_stands_beside_them_that_was_tested_on_some_of_the_pictures(tmp_path, name, images, whole):
    content = metrics(0, name)
    content['evaluations']['coco']['images'] = images
    sheet = published_sheet(section_of(tmp_path, **content))
    assert ('here' in {row['whose'] for row in sheet.rows}) == whole
    assert whole or f'{images} pictures, which are not all of it' in sheet.note
    assert TAG in {row['whose'] for row in sheet.rows}


@pytest.mark.parametrize(('images', 'shown'), [(5000, True), (120, False)])
def test_cocos_figures_stand_beside_coco_alone_whatever_a_file_is_called(tmp_path, images, shown):
    sheet = published_sheet(section_of(tmp_path, **coco(images)))
    assert (sheet is not None) == shown
    assert not shown or len([row for row in sheet.rows if row['whose'] == TAG]) == 9


def test_nothing_is_shown_where_nothing_was_published(tmp_path):
    assert published_sheet(section_of(tmp_path, **metrics(0, 'my own'))) is None
