"""The embedded data set as COCO has its own, and as MMDetection loads it."""

import json

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from pycocotools.coco import COCO

from damamba.datasets.demo import CLASSES, write_shapes

SIZE = 96


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo') / 'shapes'
    write_shapes(folder, images=60, val_images=8, size=SIZE, seed=3)
    return folder


def load(out, split):
    return json.loads((out / 'annotations' / f'instances_{split}.json').read_text())


def segmentation_kind(annotation):
    segmentation = annotation['segmentation']
    return 'polygons' if isinstance(segmentation, list) else type(segmentation['counts']).__name__


def test_the_documents_are_cocos(out):
    for split, count, first in (('train2017', 60, 1), ('val2017', 8, 1_000_001)):
        document = load(out, split)
        assert set(document) == {'info', 'licenses', 'images', 'categories', 'annotations'}
        categories = [dict(id=i, name=name, supercategory='shape') for i, name in enumerate(CLASSES, 1)]
        assert document['categories'] == categories
        ids = list(range(first, first + count))
        assert [it['id'] for it in document['images']] == ids
        assert [it['file_name'] for it in document['images']] == [f'{number:012d}.jpg' for number in ids]
        assert sorted(path.name for path in (out / split).iterdir()) == [f'{number:012d}.jpg' for number in ids]
        assert all((it['width'], it['height'], it['license']) == (SIZE, SIZE, 1) for it in document['images'])
    kinds = {(it['iscrowd'], segmentation_kind(it)) for it in load(out, 'train2017')['annotations']}
    assert kinds == {(0, 'polygons'), (0, 'str'), (1, 'list')}


def test_a_fifth_of_the_pictures_is_for_validation_and_at_least_one(tmp_path):
    assert write_shapes(tmp_path / 'ten', 10, size=64).pictures == 12
    assert write_shapes(tmp_path / 'two', 2, size=64).pictures == 3


def test_mmdet_loads_the_set_with_boxes_masks_and_crowds(out):
    loading = dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True)
    dataset = CocoDataset(
        data_root=str(out),
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        metainfo=dict(classes=CLASSES),
        pipeline=[dict(type='LoadImageFromFile'), loading],
    )
    truth = COCO(str(out / 'annotations/instances_train2017.json'))
    assert len(dataset) == 60
    for data in dataset:
        annotations = truth.imgToAnns[data['img_id']]
        assert data['img'].shape == (SIZE, SIZE, 3)
        assert data['gt_bboxes_labels'].tolist() == [it['category_id'] - 1 for it in annotations]
        assert data['gt_ignore_flags'].tolist() == [bool(it['iscrowd']) for it in annotations]
        boxes = np.array([it['bbox'] for it in annotations])
        boxes[:, 2:] += boxes[:, :2]
        assert np.allclose(data['gt_bboxes'].tensor.numpy(), boxes)
        assert np.array_equal(data['gt_masks'].masks, np.stack([truth.annToMask(it) for it in annotations]))
