"""Ground truths that somebody else wrote: refused in a sentence where COCO's evaluation would break down."""

import json

import pytest

from damamba.evaluation.annotations import merge, read
from damamba.evaluation.results import EvaluationError
from tests.evaluation.helpers import made_up


def written(path, document):
    path.write_text(json.dumps(document))
    return path


def without_name(truth):
    del truth['categories'][1]['name']


def with_negative_ids(truth):
    for entries, key in ((truth['images'], 'id'), (truth['annotations'], 'image_id')):
        entries[:] = [{**it, key: -it[key]} for it in entries]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (without_name, r'a.json: categories\[1\] \(id 5\) has no name; tools/check_dataset.py names all'),
        (with_negative_ids, r'a.json: images\[0\] \(id -11\) has id -11, not a whole number of 53 bits from 0 on; '),
    ],
)
def test_what_can_not_be_evaluated_is_one_sentence(tmp_path, change, message):
    truth = made_up()
    change(truth)
    with pytest.raises(EvaluationError, match=message) as caught:
        read(written(tmp_path / 'a.json', truth))
    assert '\n' not in str(caught.value)


def test_what_the_evaluation_takes_no_notice_of_is_read(tmp_path):
    truth = made_up()
    truth['images'] = [{'id': image['id']} for image in truth['images']]
    truth['annotations'] += [{**truth['annotations'][0], 'image_id': number, 'id': 'x'} for number in (999, -1)]
    assert read(written(tmp_path / 'a.json', truth)) == truth


def test_annotations_of_no_picture_are_not_those_of_another_files_pictures():
    truth = made_up()
    halves = [{**truth, 'images': images} for images in (truth['images'][:6], truth['images'][6:])]
    merged, numbers = merge(halves, ['a.json', 'b.json'])
    assert numbers == {} and merged['images'] == truth['images']
    assert sorted(a['id'] for a in merged['annotations']) == [a['id'] for a in truth['annotations']]
