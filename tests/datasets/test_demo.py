"""The embedded data set as it is written: its JSON against pycocotools, its loading by mmdet, whose files it spares."""

import json
import math

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from damamba.datasets.demo import CLASSES, SPLITS, DemoError, write_shapes

SIZE = 96


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """A small data set, and its summary."""
    out = tmp_path_factory.mktemp('demo') / 'shapes'
    return out, write_shapes(out, images=60, val_images=8, size=SIZE, seed=3)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def load(out, split='train2017'):
    return json.loads((out / 'annotations' / f'instances_{split}.json').read_text())


def kind_of(segmentation):
    if isinstance(segmentation, list):
        return 'polygons'
    return {str: 'compressed', list: 'uncompressed'}[type(segmentation['counts'])]


def test_the_document_is_cocos(written):
    out, summary = written
    train, val = load(out), load(out, 'val2017')
    assert (len(train['images']), len(val['images']), summary.pictures) == (60, 8, 68)
    assert [it['name'] for it in train['categories']] == list(CLASSES) and train['categories'][0]['id'] == 1
    assert all(set(it) == {'id', 'name', 'supercategory'} for it in train['categories'])
    keys = {'id', 'image_id', 'category_id', 'bbox', 'area', 'segmentation', 'iscrowd'}
    assert all(set(it) == keys for it in train['annotations'])
    assert not {it['id'] for it in train['images']} & {it['id'] for it in val['images']}
    for image in train['images']:
        assert set(image) == {'id', 'file_name', 'width', 'height', 'license', 'date_captured'}
        assert image['license'] in {it['id'] for it in train['licenses']}
        assert cv2.imread(str(out / 'train2017' / image['file_name'])).shape == (SIZE, SIZE, 3)


def test_boxes_and_areas_are_those_of_the_segmentation(written):
    coco = COCO(str(written[0] / 'annotations/instances_train2017.json'))
    kinds = set()
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation).astype(np.uint8)
        assert annotation['area'] == mask.sum() and tuple(annotation['bbox']) == cv2.boundingRect(mask)
        kinds.add((annotation['iscrowd'], kind_of(annotation['segmentation'])))
    assert kinds == {(0, 'polygons'), (0, 'compressed'), (1, 'uncompressed')}


def test_the_summary_counts_what_the_document_holds(written):
    out, summary = written
    annotations = [it for split in SPLITS for it in load(out, split)['annotations']]
    areas = np.array([it['area'] for it in annotations if not it['iscrowd']])
    assert (summary.objects, summary.crowds) == (len(areas), len(annotations) - len(areas))
    assert (summary.small, summary.large) == ((areas < 32**2).sum(), (areas >= 96**2).sum())
    assert summary.small + summary.medium + summary.large == summary.objects
    assert f'{summary.objects / 68:.1f} per picture' in str(summary)


def test_the_same_arguments_write_the_same_bytes_and_pictures_do_not_depend_on_their_number(tmp_path):
    one, same, more = tmp_path / 'one', tmp_path / 'same', tmp_path / 'more'
    for folder, images in ((one, 3), (same, 3), (more, 5)):
        write_shapes(folder, images=images, val_images=2, size=64, seed=1)
    assert contents(one) == contents(same)
    few, many = contents(one), contents(more)
    assert all(many[name] == data for name, data in few.items() if name.endswith('.jpg'))
    first = [it for it in load(more)['annotations'] if it['image_id'] <= 3]
    assert first == load(one)['annotations']


def test_training_and_validation_pictures_differ(written):
    found = contents(written[0])
    pictures = [data for name, data in found.items() if name.endswith('.jpg')]
    assert len(pictures) == len(set(pictures)) == 68


def test_a_set_that_is_there_is_left_alone(tmp_path):
    first = write_shapes(tmp_path / 'set', 2, 1, 64, 0)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / 'set').rglob('*')}
    again = write_shapes(tmp_path / 'set', 2, 1, 64, 0, on_picture=lambda done, total: pytest.fail('drawn again'))
    assert first.fresh and not again.fresh
    assert (again.objects, again.hidden, again.pictures) == (first.objects, first.hidden, 3)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / 'set').rglob('*')}


def test_a_fifth_of_the_pictures_is_for_validation_and_at_least_one(tmp_path):
    assert write_shapes(tmp_path / 'ten', 10, size=64).pictures == 12
    assert write_shapes(tmp_path / 'two', 2, size=64).pictures == 3


@pytest.mark.parametrize('change', [dict(images=3), dict(val_images=2), dict(size=65), dict(seed=1)])
def test_another_set_is_not_written_over(tmp_path, change):
    arguments = dict(images=2, val_images=1, size=64, seed=0)
    write_shapes(tmp_path / 'set', **arguments)
    before = contents(tmp_path / 'set')
    with pytest.raises(
        DemoError,
        match='holds another data set, or a part of one .kind shapes, images 2, val_images 1, size 64, seed 0',
    ):
        write_shapes(tmp_path / 'set', **arguments | change)
    assert contents(tmp_path / 'set') == before


def test_somebody_elses_files_are_not_written_over(tmp_path):
    (tmp_path / 'annotations').mkdir()
    for text in ('{"info": "mine"}', '{"info": {"arguments": "mine"}}', 'not JSON'):
        (tmp_path / 'annotations' / 'instances_train2017.json').write_text(text)
        with pytest.raises(DemoError, match='is not empty and holds something else'):
            write_shapes(tmp_path, 2, size=64)
    with pytest.raises(DemoError, match='is not a folder'):
        write_shapes(tmp_path / 'annotations' / 'instances_train2017.json', 2, size=64)
    assert list(contents(tmp_path).values()) == [b'not JSON']


def test_a_set_that_lacks_a_picture_is_not_taken_for_a_whole_one(tmp_path):
    write_shapes(tmp_path, 2, size=64)
    next((tmp_path / 'train2017').iterdir()).unlink()
    with pytest.raises(DemoError, match='holds another data set, or a part of one'):
        write_shapes(tmp_path, 2, size=64)


def test_an_interrupted_run_is_not_taken_for_a_finished_one_and_can_be_repeated(tmp_path):
    def interrupt(done, total):
        assert total == 5
        if done == 2:
            raise KeyboardInterrupt

    arguments = dict(images=4, val_images=1, size=64, seed=2)
    with pytest.raises(KeyboardInterrupt):
        write_shapes(tmp_path / 'set', **arguments, on_picture=interrupt)
    assert not list((tmp_path / 'set' / 'annotations').iterdir())
    with pytest.raises(DemoError, match='holds another data set, or a part of one'):
        write_shapes(tmp_path / 'set', **arguments | dict(seed=3))
    assert write_shapes(tmp_path / 'set', **arguments).fresh
    write_shapes(tmp_path / 'straight', **arguments)
    assert contents(tmp_path / 'set') == contents(tmp_path / 'straight')


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (dict(images=0), 'pictures to train on is an integer from 1 to 1000000, not 0'),
        (dict(val_images=0), 'pictures to validate on is an integer from 1'),
        (dict(size=63), 'the size of a picture, pixels a side, is an integer from 64 to 2048, not 63'),
        (dict(size=10**6), 'from 64 to 2048'),
        (dict(size=100.5), 'not 100.5'),
        (dict(size=math.nan), 'not nan'),
        (dict(seed=-1), 'the seed is an integer from 0'),
    ],
)
def test_arguments_that_make_no_sense_are_named_before_anything_is_written(tmp_path, change, named):
    with pytest.raises(DemoError, match=named):
        write_shapes(tmp_path / 'set', **dict(images=2) | change)
    assert not (tmp_path / 'set').exists()


def test_mmdet_loads_the_set_with_boxes_masks_and_crowds(written):
    from mmdet.datasets import CocoDataset

    out, _ = written
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
    crowds = 0
    for data in dataset:
        annotations = truth.imgToAnns[data['img_id']]
        assert data['img'].shape == (SIZE, SIZE, 3)
        assert data['gt_bboxes_labels'].tolist() == [it['category_id'] - 1 for it in annotations]
        assert data['gt_ignore_flags'].tolist() == [bool(it['iscrowd']) for it in annotations]
        boxes = np.array([it['bbox'] for it in annotations])
        boxes[:, 2:] += boxes[:, :2]
        assert np.allclose(data['gt_bboxes'].tensor.numpy(), boxes)
        masks = np.stack([truth.annToMask(it) for it in annotations])
        assert np.array_equal(data['gt_masks'].masks, masks)
        crowds += data['gt_ignore_flags'].sum()
    assert crowds > 0
