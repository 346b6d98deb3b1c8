"""Pictures that are there twice: leaks between splits, copies within a file, and what files share."""

import pytest

from damamba.datasets.inspection import inspect_dataset
from tests.datasets.inspection.helpers import EMPTY, document, write_json

LEAK = ('leak', 'annotations/train.json', "it is in annotations/val.json too, as '2.jpg'")


@pytest.mark.parametrize(('bytes_of', 'name', 'leaks'), [((1, 1), '2', [LEAK]), ((1, 2), '1', [])])
def test_bytes_make_a_leak_and_names_do_not(folder, bytes_of, name, leaks):
    (folder / 'train.json').unlink()
    for split, number, own in zip(('train', 'val'), bytes_of, ('1', name), strict=True):
        (folder / split).mkdir()
        (folder / split / f'{own}.jpg').write_bytes((folder / 'images' / f'{number}.jpg').read_bytes())
        write_json(folder / 'annotations' / f'{split}.json', document(int(own)))
    found = inspect_dataset(folder, workers=1)
    assert [(it.kind, it.file, it.text) for it in found.defects] == leaks and found.notes == []


def test_files_of_no_split_or_of_the_same_share_pictures_as_a_note(folder):
    write_json(folder / 'all.json', document(1))
    write_json(folder / 'a_train.json', document(1, 2))
    found = inspect_dataset(folder, workers=1)
    assert found.defects == [] and found.notes == [
        EMPTY,
        'a_train.json and all.json share 1 picture: 1.jpg',
        'a_train.json and train.json share 2 pictures: 1.jpg, 2.jpg',
    ]


def test_copies_within_a_file_are_named_and_files_of_equal_length_are_none(folder):
    first, second, third = (folder / 'images' / f'{number}.jpg' for number in (1, 2, 3))
    third.write_bytes(first.read_bytes())
    second.write_bytes(first.read_bytes()[:-1] + b'\0')
    (copy,) = inspect_dataset(folder, workers=1, decode=False).defects
    assert (copy.kind, copy.file_name, copy.text) == ('same_picture', '3.jpg', "it has the same bytes as '1.jpg'")
