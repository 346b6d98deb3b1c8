"""ARMBench's loader, and the traps of its labels."""

import json
import logging
import pickle

import pytest
from mmdet.registry import DATASETS

import damamba.register  # noqa: F401
from damamba.datasets.armbench import CLASSES
from damamba.datasets.categories import DatasetError
from tests import armbench

SAME = 'same-object-transfer-set'
IDS = [armbench.TWO, armbench.TWO[::-1], (('tote', 7), ('OBJECT', 3)), (('Tote', 0), ('Object', 1))]


@pytest.fixture(autouse=True)
def heard(monkeypatch):
    """Records of the package reach caplog, which listens at the root."""
    monkeypatch.setattr(logging.getLogger('damamba'), 'propagate', True)


def built(root, subset='mix-object-tote', split='train', classes=CLASSES, **options):
    files = dict(data_root=str(root), ann_file=f'{subset}/{split}.json', data_prefix=dict(img=f'{subset}/images/'))
    settings = dict(type='ARMBenchDataset', metainfo=dict(classes=classes), pipeline=[])
    return pickle.loads(pickle.dumps(DATASETS.build(settings | files | options)))  # as it goes into workers


def names(dataset):
    """What each object of the first picture is called: the tote is the one that comes first in the file."""
    return [dataset.metainfo['classes'][found['bbox_label']] for found in dataset.get_data_info(0)['instances']]


@pytest.mark.parametrize('ids', IDS)
@pytest.mark.parametrize('classes', [CLASSES, CLASSES[::-1], ('object', 'tote')])
def test_labels_follow_the_classes_whatever_ids_order_and_case_the_file_has(tmp_path, ids, classes):
    armbench.write(tmp_path, categories=ids, pictures=False)
    found = names(built(tmp_path, classes=classes))
    assert [name.casefold() for name in found] == ['tote', 'object', 'object', 'object']


def test_a_file_may_have_more_categories_than_there_are_classes_and_a_tests_fewer(tmp_path, caplog):
    armbench.write_all(tmp_path, pictures=False)
    assert names(built(tmp_path, classes=('Object',))) == ['Object'] * 3
    assert names(built(tmp_path, SAME, 'test', test_mode=True)) == ['Object'] * 3
    for sentence in ('Object is category 2, Tote is no class and left out', 'Object is category 1, Tote is not there'):
        assert sentence in caplog.text
    with pytest.raises(DatasetError, match='train.json has nothing to learn Tote from: its categories are Object'):
        built(tmp_path, SAME)
    with pytest.raises(DatasetError, match='none of the classes'):
        built(tmp_path, classes=('Box', 'Bin'), split='test', test_mode=True)


def ids_of(root, **options):
    dataset = built(root, **options)
    return [dataset.get_data_info(number)['img_id'] for number in range(len(dataset))]


def test_a_fraction_is_a_sample_of_the_usable_pictures_that_its_seed_decides(tmp_path, caplog):
    path = armbench.write(tmp_path, images=40, pictures=False) / 'train.json'
    tenth, again, half = (ids_of(tmp_path, fraction=fraction) for fraction in (0.1, 0.1, 0.5))
    assert tenth == again == sorted(tenth) and (len(tenth), len(half)) == (4, 20)
    assert set(tenth) < set(half)  # more labels are more labels, not others
    assert ids_of(tmp_path, fraction=0.1, seed=1) != tenth
    assert len(ids_of(tmp_path, fraction=1e-6)) == 1
    assert ids_of(tmp_path) == list(range(1, 41))
    assert '4 of 40 pictures (fraction 0.1, seed 0)' in caplog.text
    content = json.loads(path.read_text())
    content['annotations'] = [it for it in content['annotations'] if it['image_id'] <= 5]
    path.write_text(json.dumps(content))
    found = ids_of(tmp_path, fraction=0.4, filter_cfg=dict(filter_empty_gt=True))
    assert len(found) == 2 and max(found) <= 5


def test_fractions_that_are_none_are_refused(tmp_path):
    armbench.write(tmp_path, pictures=False)
    refused = {repr(value): dict(fraction=value) for value in (0, 1.5, 'half', True)}
    refused |= {repr(value): dict(seed=value) for value in (-1, 0.5)}
    for shown, options in refused.items():
        with pytest.raises(DatasetError, match=f'{next(iter(options))} must be .*, got {shown}'):
            built(tmp_path, **options)
    with pytest.raises(DatasetError, match='fraction is for training'):
        built(tmp_path, fraction=0.5, test_mode=True)
