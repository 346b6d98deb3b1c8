"""The stand-in of ARMBench: its folders, names, ids and categories."""

import json
import re

import pytest

from damamba.datasets.armbench_demo import write_armbench

SIDE = 160
SUBSETS = {  # of 10 pictures to train on: how many in each split, their height and width, the categories
    'mix-object-tote': ((10, 2, 2), (134, 160), {1: 'Tote', 2: 'Object'}),
    'zoomed-out-tote-transfer-set': ((1, 2, 2), (134, 134), {1: 'Tote', 2: 'Object'}),
    'same-object-transfer-set': ((1, 2, 2), (98, 134), {1: 'Object'}),
}
SPLITS = ('train', 'val', 'test')


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo') / 'armbench'
    write_armbench(folder, images=10, long_side=SIDE, seed=3)
    return folder


def load(out, subset, split):
    return json.loads((out / subset / f'{split}.json').read_text())


@pytest.mark.parametrize('subset', SUBSETS)
def test_a_subset_is_as_armbench_has_it(out, subset):
    assert {path.name for path in out.iterdir()} == set(SUBSETS)
    assert {path.name for path in (out / subset).iterdir()} == {'images', *(f'{split}.json' for split in SPLITS)}
    counts, size, categories = SUBSETS[subset]
    documents = [load(out, subset, split) for split in SPLITS]
    assert tuple(len(it['images']) for it in documents) == counts
    images = [image for it in documents for image in it['images']]
    assert {(it['height'], it['width']) for it in images} == {size}
    assert len({it['id'] for it in images}) == len(images) == sum(counts)
    assert sorted(it['file_name'] for it in images) == sorted(path.name for path in (out / subset / 'images').iterdir())
    assert all(re.fullmatch('[0-9a-f]{16}.jpg', it['file_name']) for it in images)
    for document in documents:
        assert {it['id']: it['name'] for it in document['categories']} == categories
        assert document['info']['description'].startswith('Drawn totes in the layout of ARMBench')
        for image in document['images']:
            found = [it['category_id'] for it in document['annotations'] if it['image_id'] == image['id']]
            totes = [1] if len(categories) == 2 else []
            assert found == totes + [len(categories)] * (len(found) - len(totes)) and len(found) > len(totes)
        assert not any(it['iscrowd'] for it in document['annotations'])


def test_there_can_be_no_test_split(tmp_path):
    summaries = write_armbench(tmp_path / 'set', images=1, long_side=SIDE, test=False)
    for subset, summary in summaries.items():
        assert {path.name for path in (tmp_path / 'set' / subset).iterdir()} == {'images', 'train.json', 'val.json'}
        assert len(list((tmp_path / 'set' / subset / 'images').iterdir())) == summary.pictures == 2
