"""Tests share a table on one ground truth alone, scored in one way."""

import random

import pytest

from damamba.reporting.ground_truth import Section, sections_of
from damamba.reporting.missing import missing_of
from damamba.reporting.runs import ReportError, read_run, read_runs
from tests.reporting.runs import COCO, MIX, edit, evaluation, metrics, old, write_run

OLD = 'before data sets were named'
OTHER = {'dataset.sha256': 'b' * 64}


def sections(tmp_path, *changes: dict) -> list[Section]:
    """Of runs whose metrics.json have these changes."""
    folders = []
    for seed, given in enumerate(changes):
        folders.append(write_run(tmp_path / str(seed), seed))
        edit(folders[-1], {key: it for key, it in given.items() if key != OLD})
        if OLD in given:
            edit(folders[-1], {key: ... for key in metrics(0) if key not in old(metrics(0))})
    return sections_of(read_runs(folders))


def names(found: list[Section]) -> list[list[str]]:
    return [[result.run.name for result in section.results] for section in found]


@pytest.mark.parametrize(
    ('other', 'together'),
    [
        ({}, True),
        (OTHER, False),
        ({f'{COCO}.objects': 41}, False),
        ({f'{COCO}.images': 4}, False),
        ({f'{COCO}.max_dets': [1, 10, 300]}, False),
        ({f'{COCO}.iou_thrs': [0.5]}, False),
        ({'dataset.name': 'a copy'}, True),
        ({OLD: True}, True),
        ({OLD: True, 'ann_file': 'data/other/test.json', 'proof': None}, False),
        ({OLD: True, f'{COCO}.objects': 41}, False),
    ],
)
def test_runs_share_a_table_on_one_ground_truth_alone(tmp_path, other, together):
    assert names(sections(tmp_path, {}, other)) == ([['0', '1']] if together else [['0'], ['1']])


def test_a_run_without_a_digest_is_on_its_own_where_two_digests_fit(tmp_path):
    assert names(sections(tmp_path, {}, OTHER, {OLD: True})) == [['0'], ['1'], ['2']]


def test_data_sets_of_one_name_are_told_apart_and_the_one_of_most_runs_comes_first(tmp_path):
    found = sections(tmp_path, OTHER, {}, {}, {f'{COCO}.objects': 41})
    assert names(found) == [['1', '2'], ['0'], ['3']]
    labels = [section.label for section in found]
    assert labels[2] == f'{MIX}, 1,500 pictures, 41 objects' and 'SHA-256 bbbbbbbb' in labels[1]
    assert len({*labels}) == len({section.slug for section in found}) == 3


@pytest.mark.parametrize(
    ('classes', 'wanted', 'focus'),
    [
        (('Object', 'Tote'), None, 'Object'),
        (('tote', 'object'), None, 'object'),
        (('Object', 'Tote'), 'mean', None),
        (('Object', 'Tote'), 'tote', 'Tote'),
        (('Object', 'Tote', 'Hand'), None, None),
        (('Object',), None, None),
        (('Object',), 'object', None),
    ],
)
def test_object_comes_first_beside_tote_alone(tmp_path, classes, wanted, focus):
    run = read_run(write_run(tmp_path / 'a', **metrics(0, classes=classes)), 'a')
    (section,) = sections_of([run], wanted)
    assert section.focus == focus
    with pytest.raises(ReportError, match=f'the class Foot; there are {", ".join(classes)}, and mean'):
        sections_of([run], 'Foot')


def test_boxes_alone_are_a_section_without_masks(tmp_path):
    content = metrics(0, evaluations={'coco': evaluation(random.Random(0), kinds=('bbox',))})
    run = read_run(write_run(tmp_path / 'a', **content), 'a')
    (section,) = sections_of([run])
    assert section.kinds == ['bbox'] and section.of('segm') == section.of('segm', 'errors') == {}
    assert any(f'masks of {MIX}' in it.what for it in missing_of(run))
