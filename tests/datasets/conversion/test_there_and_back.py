"""Each format there, and to YOLO and back: every object, part and hole counted, and its mask pixel by pixel."""

import hashlib
import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from damamba.datasets.conversion import Options, convert
from damamba.datasets.demo import write_shapes
from damamba.datasets.inspection import inspect_dataset
from tests.datasets.conversion.sources import BOX, CLASSES, COUNTS, MASKS, SOURCES, SPLITS


@pytest.fixture(params=SOURCES)
def name(request):
    return request.param


@pytest.fixture
def source(name, tmp_path):
    SOURCES[name](tmp_path / 'source')
    return tmp_path / 'source'


def digest(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob('*') if path.is_file()}


def counts_of(tally):
    return {key: getattr(tally, key) for key in COUNTS}, dict(tally.classes)


def masks_of(annotations: COCO) -> dict:
    """By the name of the picture, what has a mask: the names of categories and the masks."""
    found = {}
    for image in annotations.imgs.values():
        own = [it for it in annotations.imgToAnns[image['id']] if it['segmentation']]
        names = [annotations.cats[it['category_id']]['name'] for it in own]
        found[image['file_name']] = [(n, annotations.annToMask(it) > 0) for n, it in zip(names, own, strict=True)]
    return found


def assert_scene(folder, split):
    """What pycocotools reads is the scene."""
    annotations = COCO(folder / 'annotations' / f'instances_{split}.json')
    assert [it['name'] for it in annotations.dataset['categories']] == ['cat', 'dog']
    found = masks_of(annotations)
    for picture, truth in MASKS.items():
        assert [name for name, _ in found[picture]] == [name for name, _ in truth]
        for (_, mask), (_, right) in zip(found[picture], truth, strict=True):
            np.testing.assert_array_equal(mask, right)
    (box,) = [it for it in annotations.dataset['annotations'] if not it['segmentation']]
    np.testing.assert_allclose(box['bbox'], BOX, atol=1e-3)
    for it in annotations.dataset['annotations']:
        if it['segmentation']:
            assert it['area'] == annotations.annToMask(it).sum()


def test_a_source_becomes_coco_with_every_object_part_and_hole(name, source, tmp_path):
    before = digest(source)
    done = convert(source, tmp_path / 'coco', copy=True)
    assert done.source == name and not done.left_out.counts and not done.notes
    assert counts_of(done.read) == counts_of(done.written) == (COUNTS, CLASSES)
    assert_scene(tmp_path / 'coco', SPLITS.get(name, 'train'))
    assert set(inspect_dataset(tmp_path / 'coco').kinds) == {'no_segmentation'}  # of the box alone
    assert digest(source) == before


def test_and_goes_to_yolo_and_back(name, source, tmp_path):
    done = convert(source, tmp_path / 'yolo', target_format='yolo-seg')
    back = convert(tmp_path / 'yolo', tmp_path / 'back')
    assert done.written == back.read == back.written and counts_of(back.written) == (COUNTS, CLASSES)
    assert_scene(tmp_path / 'back', 'train')
    assert os_links(tmp_path / 'back') >= 2  # the same files under other names


def os_links(folder):
    return min(path.stat().st_nlink for path in folder.rglob('*') if path.suffix in ('.png', '.jpg'))


def test_boxes_alone_may_become_rectangles(source, tmp_path):
    done = convert(source, tmp_path / 'coco', options=Options(boxes_as_masks=True))
    assert done.written.boxes == 0 and done.written.parts == COUNTS['parts'] + 1
    assert not inspect_dataset(tmp_path / 'coco').kinds


def test_classes_are_chosen_and_ordered_by_their_names(source, tmp_path):
    done = convert(source, tmp_path / 'coco', options=Options(classes=('dog',)))
    assert done.categories == ['dog'] and done.written.objects == 2
    assert done.left_out.total('objects') == 2 and done.left_out.total('holes') == 1


@pytest.fixture(params=['drawn', 'real'])
def scenes(request, tmp_path):
    """A set in COCO's layout with crowds, and with objects of several parts."""
    if request.param == 'real':
        return request.getfixturevalue('shared') / 'data' / 'coco_tiny'
    write_shapes(tmp_path / 'shapes', images=4, val_images=1, size=64, seed=7)
    return tmp_path / 'shapes'


def test_scenes_keep_their_masks_and_lose_their_crowds(scenes, tmp_path):
    truth = COCO(scenes / 'annotations' / 'instances_train2017.json')
    crowds = [it for it in truth.dataset['annotations'] if it['iscrowd']]
    done = convert(scenes, tmp_path / 'yolo', target_format='yolo-seg')
    convert(tmp_path / 'yolo', tmp_path / 'back')
    assert done.left_out.total('objects') == done.read.crowds >= len(crowds) > 0
    assert done.read.holes > 0 and done.read.parts > done.read.objects
    truth.dataset['annotations'] = [it for it in truth.dataset['annotations'] if not it['iscrowd']]
    truth.createIndex()
    right, found = masks_of(truth), masks_of(COCO(tmp_path / 'back' / 'annotations' / 'instances_train.json'))
    for picture, masks in right.items():
        for (name, mask), (own, other) in zip(masks, found[picture], strict=True):
            assert name == own and (mask & other).sum() >= 0.98 * (mask | other).sum()


def test_from_coco_to_coco_polygons_and_run_lengths_are_the_same_masks(tmp_path):
    write_shapes(tmp_path / 'shapes', images=4, val_images=1, size=64, seed=7)
    convert(tmp_path / 'shapes', tmp_path / 'coco')
    before = json.loads((tmp_path / 'shapes' / 'annotations' / 'instances_train2017.json').read_text())
    after = json.loads((tmp_path / 'coco' / 'annotations' / 'instances_train.json').read_text())
    assert [it['file_name'] for it in before['images']] == [it['file_name'] for it in after['images']]
    assert [it['iscrowd'] for it in before['annotations']] == [it['iscrowd'] for it in after['annotations']]
    one, other = (COCO(), COCO())
    one.dataset, other.dataset = before, after
    for annotations in (one, other):
        annotations.createIndex()
    for it, own in zip(before['annotations'], after['annotations'], strict=True):
        np.testing.assert_array_equal(one.annToMask(it), other.annToMask(own))
        assert it['area'] == own['area']
