"""ARMBench's loader, and the traps of its labels."""

import pickle

import pytest
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

import damamba.register  # noqa: F401
from damamba.datasets.armbench import CLASSES, SUBSETS
from damamba.datasets.categories import DatasetError
from tests import armbench

ORDERS = [
    armbench.TWO,
    armbench.TWO[::-1],
    (('Object', 1), ('Tote', 2)),
    (('tote', 7), ('OBJECT', 3)),
    (('Tote', 0), ('Object', 1)),
]


def built(root, subset='mix-object-tote', split='train', kind='ARMBenchDataset', **options):
    classes = options.pop('classes', None)
    return DATASETS.build(
        dict(
            type=kind,
            data_root=str(root),
            ann_file=f'{subset}/{split}.json',
            data_prefix=dict(img=f'{subset}/images/'),
            pipeline=[],
            **({'metainfo': dict(classes=classes)} if classes else {}),
            **options,
        )
    )


def names(dataset):
    """What each object of the first picture is called: the tote is the one that comes first in the file."""
    return [dataset.metainfo['classes'][found['bbox_label']] for found in dataset.get_data_info(0)['instances']]


@pytest.mark.parametrize('categories', ORDERS)
@pytest.mark.parametrize('classes', [CLASSES, CLASSES[::-1], ('object', 'tote')])
def test_labels_follow_the_classes_whatever_ids_order_and_case_the_file_has(tmp_path, categories, classes):
    armbench.write(tmp_path, categories=categories, pictures=False)
    found = names(built(tmp_path, classes=classes))
    assert [name.casefold() for name in found] == ['tote', 'object', 'object', 'object']


def test_the_trap_that_this_is_for_mmdetections_labels_follow_the_file(tmp_path):
    armbench.write(tmp_path, pictures=False)
    found = names(built(tmp_path, kind='CocoDataset', classes=('Object', 'Tote')))
    assert found == ['Object', 'Tote', 'Tote', 'Tote']  # each has the other's name


def test_one_class_leaves_the_totes_out(tmp_path, caplog):
    armbench.write(tmp_path, pictures=False)
    dataset = built(tmp_path, classes=('Object',))
    assert names(dataset) == ['Object'] * 3
    assert 'Object is category 2, Tote is no class and left out' in said(caplog)


def said(caplog):
    return caplog.text


@pytest.fixture(autouse=True)
def heard(caplog):
    """Records of the package reach caplog, which listens at the root."""
    import logging

    logger = logging.getLogger('damamba')
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)


def test_two_classes_on_the_subset_of_one_give_objects_the_label_of_objects(tmp_path, caplog):
    armbench.write_all(tmp_path, pictures=False)
    dataset = built(tmp_path, 'same-object-transfer-set', 'test', test_mode=True)
    assert names(dataset) == ['Object'] * 3
    assert 'Object is category 1, Tote is not there' in said(caplog)
    plain = CocoDataset(
        ann_file=str(tmp_path / 'same-object-transfer-set' / 'test.json'),
        data_prefix=dict(img=''),
        metainfo=dict(classes=('Tote', 'Object')),
        test_mode=True,
        pipeline=[],
    )
    assert names(plain) == ['Tote'] * 3  # what going by position does


def test_training_needs_every_class(tmp_path):
    armbench.write_all(tmp_path, pictures=False)
    with pytest.raises(DatasetError, match='train.json has nothing to learn Tote from: its categories are Object'):
        built(tmp_path, 'same-object-transfer-set')
    with pytest.raises(DatasetError, match='none of the classes'):
        built(tmp_path, classes=('Box', 'Bin'), split='test', test_mode=True)


def test_the_three_subsets_are_those_of_the_paper(tmp_path):
    armbench.write_all(tmp_path, pictures=False)
    for subset in SUBSETS:
        assert len(built(tmp_path, subset, 'val', test_mode=True)) == 4


def ids(root, **options):
    dataset = built(root, **options)
    return [dataset.get_data_info(number)['img_id'] for number in range(len(dataset))]


def test_a_fraction_is_a_sample_that_its_seed_decides(tmp_path, caplog):
    armbench.write(tmp_path, images=40, pictures=False)
    tenth, again, half = (ids(tmp_path, fraction=fraction) for fraction in (0.1, 0.1, 0.5))
    assert tenth == again == sorted(tenth)
    assert (len(tenth), len(half)) == (4, 20)
    assert set(tenth) < set(half)  # more labels are more labels, not others
    assert ids(tmp_path, fraction=0.1, seed=1) != tenth
    assert ids(tmp_path, fraction=1e-6) != []
    assert ids(tmp_path) == list(range(1, 41))
    assert '4 of 40 pictures (fraction 0.1, seed 0)' in said(caplog)


def test_a_fraction_is_of_the_pictures_that_can_be_used(tmp_path):
    import json

    folder = armbench.write(tmp_path, images=10, pictures=False)
    content = json.loads((folder / 'train.json').read_text())
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] <= 5]
    (folder / 'train.json').write_text(json.dumps(content))
    found = ids(tmp_path, fraction=0.4, filter_cfg=dict(filter_empty_gt=True))
    assert len(found) == 2
    assert max(found) <= 5


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(fraction=0), 'fraction must be above 0 and up to 1, got 0'),
        (dict(fraction=1.5), 'fraction must be above 0'),
        (dict(fraction='half'), "got 'half'"),
        (dict(fraction=True), 'got True'),
        (dict(seed=-1), 'seed must be a whole number from 0 on, got -1'),
        (dict(seed=0.5), 'got 0.5'),
        (dict(fraction=0.5, test_mode=True), 'fraction is for training'),
    ],
)
def test_fractions_that_are_none_are_refused(tmp_path, options, message):
    armbench.write(tmp_path, pictures=False)
    with pytest.raises(DatasetError, match=message):
        built(tmp_path, **options)


def test_it_goes_into_workers(tmp_path):
    armbench.write(tmp_path, pictures=False)
    assert len(pickle.loads(pickle.dumps(built(tmp_path)))) == 4
