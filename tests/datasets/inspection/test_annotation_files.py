"""Which files are found, of which split, with which pictures, what is counted in them, how their categories differ."""

import os

import pytest

from damamba.datasets.inspection import inspect_dataset
from damamba.datasets.inspection.annotation_files import BY_NAME, braced_paths, find_picture_folder, split_of
from tests.datasets.inspection.helpers import EMPTY, HEIGHT, WIDTH, document, kinds, write_json


def test_a_clean_set_has_no_defects_and_is_counted(folder):
    found = inspect_dataset(folder, workers=1)
    counts = dict(pictures=3, without_objects=1, objects=3, crowds=0, categories={'Object': 3, 'Tote': 0})
    counts['sizes'] = [dict(width=WIDTH, height=HEIGHT, pictures=3)]
    assert found.defects == [] and found.notes == [EMPTY] and found.left_out == {}
    assert found.total | counts == found.total
    assert found.files[0].folder == folder / 'images' and found.files[0].categories == {1: 'Object', 2: 'Tote'}


def test_areas_are_sorted_by_cocos_limits_and_by_their_share_of_the_picture_and_files_add_up(folder):
    content = document()
    content['images'][0] |= dict(width=640, height=480)  # 1/300 are 1024 pixels, 3 % 9216; of 80 x 60 they are 16, 144
    content['annotations'] += [content['annotations'][0] | dict(id=number) for number in (4, 5, 6)]
    for annotation, area in zip(content['annotations'], (1023.9, 1024, 400, 9215.9, 9216, 10_000), strict=True):
        annotation['area'] = area
    content['annotations'][-1]['iscrowd'] = 1
    content['images'].append(content['images'][0] | dict(file_name='4.jpg'))  # of the same id
    write_json(folder / 'train.json', content)
    write_json(folder / 'val.json', document())
    found = inspect_dataset(folder, workers=1)
    train, val = found.tallies
    assert train['areas'] == dict(small=2, medium=2, large=1) and (train['objects'], train['crowds']) == (5, 1)
    assert train['shares'] == dict(below_1_300=1, below_3_percent=2, above=2)
    assert train['per_picture'] == dict(mean=5 / 4, median=0.5, max=4)
    for key in ('areas', 'shares', 'categories'):
        assert found.total[key] == {name: train[key][name] + val[key][name] for name in val[key]}
    assert found.total['per_picture'] == dict(mean=8 / 7, median=1, max=4) and found.total['objects'] == 8
    assert found.total['sizes'][0] == dict(width=WIDTH, height=HEIGHT, pictures=5)


def test_what_the_recipes_leave_out_is_said_of_files_to_train_on(folder):
    content = document()
    content['images'][1]['height'] = 31
    content['annotations'][0]['iscrowd'] = 1
    objects = '2 of 3 objects are not learned: 1 are crowds, 1 lie in pictures that have less than 32 pixels a side'
    pictures = '2 of 3 pictures are not trained on: 1 have less than 32 pixels a side, 1 have no objects'
    said = [objects, pictures]
    for name, notes in (('train', said), ('all', said), ('val', ['1 of 3 objects are not learned: 1 are crowds'])):
        write_json(folder / f'{name}.json', content)
        found = inspect_dataset(folder / f'{name}.json', workers=1)
        assert found.notes == [f'{name}.json: {note}' for note in notes]
    for image in content['images']:
        image['height'] = 31
    write_json(folder / 'train.json', content)
    write_json(folder / 'val.json', content)
    assert 'nothing_to_learn' in kinds(folder / 'train.json') and 'nothing_to_learn' not in kinds(folder / 'val.json')


def test_real_annotations_are_clean(shared):
    if not (shared / 'data' / 'coco_tiny').is_dir():
        pytest.skip('there are no pictures of COCO')
    found = inspect_dataset(shared / 'data' / 'coco_tiny')
    assert found.defects == [] and found.total['pictures'] == 41 and found.total['crowds'] == 6


def test_what_is_not_cocos_is_left_out_with_a_reason(folder):
    write_json(folder / 'list.json', [1, 2])
    write_json(folder / 'captions_val.json', dict(images=[], annotations=[]))
    write_json(folder / 'panoptic.json', document() | dict(annotations=[dict(segments_info=[])]))
    (folder / 'notes.txt').write_text('{}')
    found = inspect_dataset(folder, workers=1)
    assert [file.name for file in found.files] == ['train.json'] and found.left_out == {
        'captions_val.json': 'no categories',
        'list.json': 'no object with images, annotations and categories',
        'panoptic.json': 'panoptic segments',
    }


def test_files_are_found_through_links_once(folder, tmp_path_factory, monkeypatch):
    linked = tmp_path_factory.mktemp('linked')
    (linked / 'data').symlink_to(folder)
    (folder / 'again').symlink_to(folder)
    resolved, realpath = [], os.path.realpath
    monkeypatch.setattr(os.path, 'realpath', lambda path, **options: resolved.append(path) or realpath(path, **options))
    assert [file.name for file in inspect_dataset(linked, workers=1).files] == ['data/train.json']
    assert len(resolved) < 20  # a loop is not followed round and round


@pytest.mark.parametrize('content', [b'', b'{"images": [', b'\xff\xfe', b'[' * 100_000, b'9' * 10_000])
def test_what_is_no_json_is_a_defect(tmp_path, content):
    (tmp_path / 'train.json').write_bytes(content)
    assert kinds(tmp_path) == kinds(tmp_path / 'train.json') == {'not_json': 1}


def test_a_file_that_was_named_is_taken_for_cocos(tmp_path):
    for content in (None, 3, 'text', [], [[]], {}):
        write_json(tmp_path / 'a.json', content)
        assert kinds(tmp_path / 'a.json') == ({'missing_field': 3} if content == {} else {'wrong_type': 1})


@pytest.mark.parametrize(('file', 'pictures'), [
    ('annotations/instances_train2017.json', 'train2017'),
    ('train.json', 'images'),
    ('annotations/train.json', 'images/train'),
    ('annotations/train.json', 'train'),
    ('train/_annotations.coco.json', 'train'),
    ('instances_val.json', '.'),
    ('annotations/val.json', 'images'),
    ('annotations/person_keypoints_val.json', 'val'),
])  # fmt: skip
def test_the_folder_of_the_pictures_is_guessed(tmp_path, file, pictures):
    for place in ('images', 'val2017', 'train', 'images/train', pictures, 'annotations'):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / pictures / 'a.jpg').touch()
    assert find_picture_folder(tmp_path / file, ['a.jpg']).resolve() == (tmp_path / pictures).resolve()


@pytest.mark.parametrize(('split', 'names'), [
    ('train', ('instances_train2017.json', 'val2017/train.json')),
    ('val', ('minival.json', 'valid/_annotations.coco.json', 'val2017/all.json')),
    ('test', ('image_info_test-dev2017.json',)),
    (None, ('train_val.json', 'trainval.json', 'latest.json')),
])  # fmt: skip
def test_the_split_is_told_by_the_name(tmp_path, split, names):
    assert {split_of(tmp_path / 'set' / name) for name in names} == {split}


def test_categories_that_differ_between_files_are_notes(folder):
    other = document(2)
    other['categories'] = [dict(id=2, name='object')]
    other['annotations'][0]['category_id'] = 2
    write_json(folder / 'train.json', document(1, 3))
    write_json(folder / 'val.json', other)
    found = inspect_dataset(folder, workers=1)
    notes = ['not in val.json: Tote', 'unlike ids in train.json; in val.json: Object', BY_NAME]
    assert found.defects == [] and [note for note in found.notes if 'trained' not in note] == notes


def test_what_files_share_is_said_once():
    for names, text in (
        (['test.json'], 'test.json'),
        (['test.json', 'a/test.json', 'a/val.json'], 'test.json, a/{test, val}.json'),
        ([f'{folder}/{split}.json' for folder in 'ab' for split in ('test', 'val')], '{a, b}/{test, val}.json'),
        (['test.json', 'a/test.json'], '{., a}/test.json'),
        ([f'{split}.json' for split in 'abcde'], '{a, b, c, d, e}.json'),
        ([f'{split}.json' for split in 'abcdefg'], '{a, b, c, d, e and 2 more}.json'),
        ([f'{it}/{it}.json' for it in 'abcdefg'], 'a/a.json, b/b.json, c/c.json, d/d.json, e/e.json and 2 more'),
    ):
        assert braced_paths(names) == text
