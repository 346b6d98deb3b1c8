"""The object that is a table, a dictionary and the flat names of a training log."""

import json
import math
import re
from dataclasses import replace

import pytest
from faster_coco_eval import COCO

from damamba.evaluation.analysis.details import Details
from damamba.evaluation.coco_ap import score
from damamba.evaluation.results import Evaluation, EvaluationError, Scores
from tests.evaluation.helpers import guesses, made_up

NAMES = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@1', 'AR@10', 'AR@100']
NAMES += ['AR_s@100', 'AR_m@100', 'AR_l@100']
# What each number is of, as pycocotools prints it: overlap, area, number of detections.
MEANINGS = {
    'mAP': ('0.50:0.95', 'all', '100'),
    'mAP_50': ('0.50', 'all', '100'),
    'mAP_75': ('0.75', 'all', '100'),
    'mAP_s': ('0.50:0.95', 'small', '100'),
    'mAP_m': ('0.50:0.95', 'medium', '100'),
    'mAP_l': ('0.50:0.95', 'large', '100'),
    'AR@1': ('0.50:0.95', 'all', '1'),
    'AR@10': ('0.50:0.95', 'all', '10'),
    'AR@100': ('0.50:0.95', 'all', '100'),
    'AR_s@100': ('0.50:0.95', 'small', '100'),
    'AR_m@100': ('0.50:0.95', 'medium', '100'),
    'AR_l@100': ('0.50:0.95', 'large', '100'),
}


@pytest.fixture(scope='module')
def evaluation() -> Evaluation:
    truth = made_up()
    truth['annotations'] = [a for a in truth['annotations'] if a['area'] > 32**2]  # no small ones
    return score(COCO(truth), dict.fromkeys(('bbox', 'segm'), guesses(truth)))


def rows(table: str) -> list[list[str]]:
    """The words of each line below the headings' rule."""
    body = table[table.rindex('──') :].splitlines()[1:]
    return [line.split() for line in body if line.strip()]


def test_the_table_has_coco_s_twelve_numbers_and_what_each_is_of(evaluation):
    lines = evaluation.table().splitlines()
    assert lines[0] == f'COCO, 14 images, {evaluation.objects} objects'
    assert next(line for line in lines if 'metric' in line).split() == [
        'metric', 'IoU', 'area', 'detections', 'box', 'mask',
    ]  # fmt: skip
    found = rows(evaluation.table())
    assert [row[0] for row in found] == NAMES
    for name, *meaning, box, mask in found:
        assert tuple(meaning) == MEANINGS[name]
        for kind, shown in (('bbox', box), ('segm', mask)):
            value = evaluation.scores[kind].values[name]
            assert shown == ('-' if value == -1 else f'{value:.3f}')
    assert {row[0] for row in found if row[-2:] == ['-', '-']} == {'mAP_s', 'AR_s@100'}


def test_tables_have_no_colours_and_no_trailing_blanks(evaluation):
    for line in (evaluation.table() + evaluation.class_table()).splitlines():
        assert line == line.rstrip() and '\x1b' not in line


def test_other_numbers_of_detections_show_in_the_table():
    truth = made_up()
    found = score(COCO(truth), {'bbox': guesses(truth)}, iou_thrs=[0.5], max_dets=(5, 300))
    meanings = {row[0]: row[1:4] for row in rows(found.table())}
    assert meanings['mAP'][2] == '300' and meanings['AR@5'][2] == '5' and meanings['AR_l@300'][1:] == ['large', '300']
    assert 'mAP_75' not in meanings and 'mask' not in found.table()


def test_the_table_does_not_claim_overlaps_that_were_not_measured():
    truth = made_up()
    assert '0.50:0.95' not in score(COCO(truth), {'bbox': guesses(truth)}, iou_thrs=[0.3, 0.4]).table()


def test_the_class_tables_have_a_line_for_each_class(evaluation):
    boxes, masks = re.fullmatch(
        r'Box AP and AR by class\n(.*)\nMask AP and AR by class\n(.*)', evaluation.class_table(), re.S
    ).groups()
    for kind, text in (('bbox', boxes), ('segm', masks)):
        assert text.split()[:13] == ['class', *NAMES]
        table = {row[0]: row[-12:] for row in rows(text)}
        assert list(table) == ['cup', 'key', 'red']
        for name, shown in zip(('cup', 'key', 'red box'), table.values(), strict=True):
            values = evaluation.scores[kind].classes[name].values()
            assert shown == ['-' if value == -1 else f'{value:.3f}' for value in values]


def test_the_intervals_stand_beside_each_map_of_the_classes_and_of_their_mean():
    """By hand, in numbers that are not measured: a class without an object, and one with too few for an interval."""
    undefined = {'mAP': -1.0, 'mAP_50': -1.0, 'AR@1': -1.0}
    scores = Scores(
        {'mAP': 0.5, 'mAP_50': 0.75, 'AR@1': 0.5},
        {'cup': {'mAP': 0.5, 'mAP_50': 0.75, 'AR@1': 0.5}, 'key': undefined},
        {'mAP': [0.4, 0.61239], 'mAP_50': [0.7, 0.8]},
        {'cup': {'mAP': [0.4, 0.6]}, 'key': {}},
    )
    found = Evaluation(9, 9, (100,), (0.5,), {'bbox': scores, 'segm': Scores(scores.values, scores.classes)})
    assert found.interval_line() == '95 % interval of mAP: box 0.400 to 0.612'
    title, headings, _, *lines = filter(None, found.interval_table().splitlines())
    assert (title, headings.split()) == ('Box mAP and its 95 % interval', ['class', 'mAP', 'mAP_50'])
    assert [re.split('  +', line.strip()) for line in lines] == [
        ['cup', '0.500 [0.400, 0.600]', '0.750'],
        ['key', '-', '-'],
        ['mean', '0.500 [0.400, 0.612]', '0.750 [0.700, 0.800]'],
    ]
    without = replace(found, scores={'segm': found.scores['segm']})
    assert without.interval_line() == without.interval_table() == ''


def test_one_class_alone_has_no_interval_of_a_mean(evaluation):
    cup = replace(evaluation.scores['bbox'], classes={'cup': evaluation.scores['bbox'].classes['cup']})
    assert 'mean' not in replace(evaluation, scores={'bbox': cup}).interval_table()
    assert evaluation.interval_table().count('mean') == 2


def test_flat_names_are_mmdetection_s_with_unrounded_values(evaluation):
    flat = evaluation.flat()
    assert list(flat) == [f'{kind}_{name}' for kind in ('bbox', 'segm') for name in NAMES]
    assert flat['segm_AR_m@100'] == evaluation.scores['segm'].values['AR_m@100']
    assert flat['bbox_mAP'] != round(flat['bbox_mAP'], 6)


def test_flat_takes_items_and_classes(evaluation):
    assert list(evaluation.flat(items=['AR@10', 'mAP'])) == ['bbox_AR@10', 'bbox_mAP', 'segm_AR@10', 'segm_mAP']
    classes = evaluation.flat(classwise=True, items=['mAP'])
    expected = ['mAP', 'cup_precision', 'key_precision', 'red box_precision']
    assert list(classes) == [f'{kind}_{name}' for kind in ('bbox', 'segm') for name in expected]
    assert classes['bbox_key_precision'] == evaluation.scores['bbox'].classes['key']['mAP']


def test_an_item_that_is_not_there_is_an_error_that_lists_those_that_are(evaluation):
    with pytest.raises(EvaluationError, match='does not know AR@1000, map; it takes mAP, mAP_50, .*AR_l@100'):
        evaluation.flat(items=['map', 'mAP', 'AR@1000'])


def test_a_json_file_keeps_every_digit(evaluation):
    content = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    scores = {kind: Scores(**values) for kind, values in content['scores'].items()}
    settings = (tuple(content[name]) for name in ('max_dets', 'iou_thrs'))
    assert Evaluation(content['images'], content['objects'], *settings, scores) == evaluation
    assert content['images'] == 14 and content['max_dets'] == [1, 10, 100]
    assert list(content) == ['images', 'objects', 'max_dets', 'iou_thrs', 'scores', 'faults']


def test_details_are_in_the_dictionary_where_there_are_some(evaluation):
    details = Details(0.3, 100, {})
    assert replace(evaluation, details=details).to_dict() == {**evaluation.to_dict(), 'details': details.to_dict()}


def test_the_class_values_average_to_the_whole(evaluation):
    """COCO's mAP is the mean over classes, where each class has objects."""
    for scores in evaluation.scores.values():
        for name in ('mAP', 'mAP_50', 'AR@1', 'AR_m@100'):
            values = [classes[name] for classes in scores.classes.values()]
            assert len(values) == 3 and min(values) >= 0
            assert math.fsum(values) / 3 == pytest.approx(scores.values[name], abs=1e-12)
