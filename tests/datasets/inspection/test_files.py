"""Several files: leaks between them, how they differ, which are found, and with which pictures."""

import cv2
import pytest

from damamba.datasets.inspection import InspectionError, inspect
from damamba.datasets.inspection.files import group, guess_folder, split_of
from tests.datasets.inspection.helpers import document, kinds, picture, write


def part(content: dict, *numbers: int) -> dict:
    images = [it for it in content['images'] if it['id'] in numbers]
    annotations = [it for it in content['annotations'] if it['image_id'] in numbers]
    return {**content, 'images': images, 'annotations': annotations}


def test_a_picture_in_two_splits_is_a_leak(folder):
    write(folder / 'train.json', part(document(), 1, 3))
    write(folder / 'val.json', part(document(), 2))
    write(folder / 'test.json', part(document(), 2))
    found = inspect(folder, workers=1)
    assert [(it.kind, it.file, it.text) for it in found.defects] == [
        ('leak', 'test.json', "it is in val.json too, as '2.jpg'")
    ]
    assert found.total.pictures == 4


def test_the_same_bytes_under_another_name_are_a_leak(tmp_path):
    for split, number in (('train', 1), ('val', 2)):
        (tmp_path / f'{split}2017').mkdir()
        cv2.imwrite(str(tmp_path / f'{split}2017' / f'{number}.jpg'), picture(5))
        write(tmp_path / 'annotations' / f'instances_{split}2017.json', part(document(), number))
    (defect,) = inspect(tmp_path, workers=1).defects
    assert (defect.kind, defect.file_name) == ('leak', '1.jpg') and "as '2.jpg'" in defect.text


def test_equal_names_in_unlike_folders_are_no_leak(tmp_path):
    for number, split in enumerate(('train', 'val')):
        (tmp_path / f'{split}2017').mkdir()
        cv2.imwrite(str(tmp_path / f'{split}2017' / '1.jpg'), picture(number))
        write(tmp_path / 'annotations' / f'instances_{split}2017.json', part(document(), 1))
    assert kinds(tmp_path) == {}


def test_files_of_which_nobody_knows_the_split_share_pictures_as_a_note(folder):
    write(folder / 'all.json', document())
    found = inspect(folder, workers=1)
    assert found.defects == [] and found.notes == ['all.json and train.json share 3 pictures: 1.jpg, 2.jpg, 3.jpg']


def test_categories_that_differ_between_files_are_notes(folder):
    other = part(document(), 2)
    other['categories'] = [dict(id=2, name='object')]
    other['annotations'][0]['category_id'] = 2
    write(folder / 'train.json', part(document(), 1, 3))
    write(folder / 'val.json', other)
    found = inspect(folder, workers=1)
    assert found.defects == [] and found.notes == [
        'not in val.json: Tote',
        'unlike ids in train.json; in val.json: Object',
        'where categories differ between files, NamedCocoDataset and ARMBenchDataset go by their names',
    ]


def test_every_subset_of_armbench_is_found_with_its_pictures(folder):
    subset = folder / 'same-object-transfer-set'
    (subset / 'images').mkdir(parents=True)
    cv2.imwrite(str(subset / 'images' / '2.jpg'), picture(9))
    write(subset / 'test.json', part(document(), 2))
    found = inspect(folder, workers=1)
    assert found.defects == [] and [file.name for file in found.files] == [
        'same-object-transfer-set/test.json',
        'train.json',
    ]
    assert [file.folder.parent for file in found.files] == [subset, folder]


@pytest.mark.parametrize(
    ('names', 'text'),
    [
        (['test.json'], 'test.json'),
        (['test.json', 'a/test.json', 'a/val.json'], 'test.json, a/{test, val}.json'),
        ([f'{folder}/{split}.json' for folder in 'ab' for split in ('test', 'val')], '{a, b}/{test, val}.json'),
        (['test.json', 'a/test.json'], '{., a}/test.json'),
        ([f'{split}.json' for split in 'abcdefg'], '{a, b, c, d, e and 2 more}.json'),
        (
            [f'{place}/{place}.json' for place in 'abcdefg'],
            'a/a.json, b/b.json, c/c.json, d/d.json, e/e.json and 2 more',
        ),
    ],
)
def test_what_files_share_is_said_once(names, text):
    assert group(names) == text


def test_an_empty_file_has_neither_pictures_nor_objects_nor_categories(tmp_path):
    write(tmp_path / 'train.json', dict(images=[], annotations=[], categories=[]))
    assert kinds(tmp_path) == {'no_pictures': 1, 'no_objects': 1, 'no_categories': 1}


def test_what_is_not_cocos_is_left_out_with_a_reason(folder):
    write(folder / 'list.json', [1, 2])
    write(folder / 'captions_val.json', dict(images=[], annotations=[]))
    write(folder / 'panoptic.json', {**document(), 'annotations': [dict(segments_info=[])]})
    (folder / 'notes.txt').write_text('{}')
    found = inspect(folder, workers=1)
    assert len(found.files) == 1 and found.left_out == {
        'captions_val.json': 'no categories',
        'list.json': 'no object with images, annotations and categories',
        'panoptic.json': 'panoptic segments',
    }


def test_files_are_found_through_links_once(folder, tmp_path_factory):
    linked = tmp_path_factory.mktemp('linked')
    (linked / 'data').symlink_to(folder)
    (folder / 'again').symlink_to(folder)
    assert [file.name for file in inspect(linked, workers=1).files] == ['data/train.json']


@pytest.mark.parametrize('make', [lambda path: None, lambda path: path.mkdir(), lambda path: write(path / 'a.json', 3)])
def test_where_nothing_is_to_be_inspected_an_error_says_so(tmp_path, make):
    make(tmp_path / 'set')
    with pytest.raises(InspectionError):
        inspect(tmp_path / 'set')


@pytest.mark.parametrize('content', [b'', b'{"images": [', b'\xff\xfe', b'[' * 100_000, b'9' * 10_000])
def test_what_is_no_json_is_a_defect(tmp_path, content):
    (tmp_path / 'train.json').write_bytes(content)
    assert kinds(tmp_path) == kinds(tmp_path / 'train.json') == {'not_json': 1}


@pytest.mark.parametrize('content', [None, 3, 'text', [], [[]], {}])
def test_a_file_that_was_named_is_taken_for_cocos(tmp_path, content):
    write(tmp_path / 'a.json', content)
    assert set(kinds(tmp_path / 'a.json')) == ({'missing_field'} if content == {} else {'wrong_type'})


@pytest.mark.parametrize(
    ('file', 'pictures'),
    [
        ('annotations/instances_train2017.json', 'train2017'),
        ('train.json', 'images'),
        ('annotations/train.json', 'images/train'),
        ('annotations/train.json', 'train'),
        ('train/_annotations.coco.json', 'train'),
        ('instances_val.json', '.'),
        ('annotations/val.json', 'images'),
    ],
)
def test_the_folder_of_the_pictures_is_guessed(tmp_path, file, pictures):
    for place in ('images', 'val2017', 'train', 'images/train'):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / pictures).mkdir(parents=True, exist_ok=True)
    (tmp_path / pictures / 'a.jpg').touch()
    (tmp_path / file).parent.mkdir(exist_ok=True)
    assert guess_folder(tmp_path / file, ['a.jpg']).resolve() == (tmp_path / pictures).resolve()


@pytest.mark.parametrize(
    ('path', 'split'),
    [
        ('instances_train2017.json', 'train'),
        ('minival.json', 'val'),
        ('image_info_test-dev2017.json', 'test'),
        ('trainval.json', None),
        ('valid/_annotations.coco.json', 'val'),
        ('all.json', None),
        ('latest.json', None),
    ],
)
def test_the_split_is_told_by_the_name(tmp_path, path, split):
    assert split_of(tmp_path / 'set' / path) == split
