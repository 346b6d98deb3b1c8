"""What CVAT and Label Studio export as COCO, written here as they write it."""

import json

import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from damamba.datasets.conversion import Options, convert
from tests.datasets.conversion.sources import (
    BOX,
    CLASSES,
    COUNTS,
    HOLE,
    ONE,
    RING,
    TWO,
    mask_of,
    runs_of,
    write_pictures,
    write_text,
)
from tests.datasets.conversion.test_there_and_back import assert_scene, counts_of

FLAT = {name: [np.ravel(it).tolist() for it in own] for name, own in (('one', [ONE]), ('two', TWO))}
NAMES = ('a.png', 'b.jpg', 'empty.png')


def cvat(folder, **box) -> None:
    """Ids from 1 on, pictures in images/default, all that was painted marked as a crowd, attributes of every object."""
    write_pictures(folder / 'images' / 'default' / 'sub')
    more = dict(license=0, flickr_url='', coco_url='', date_captured=0)
    images = [dict(id=i, width=64, height=48, file_name=f'sub/{it}', **more) for i, it in enumerate(NAMES, 1)]
    painted = runs_of(mask_of(RING, HOLE))
    entries = [
        dict(image_id=1, category_id=1, segmentation=FLAT['one'], bbox=[2.0, 3.0, 10.0, 10.0]),
        dict(image_id=1, category_id=2, segmentation=FLAT['two'], bbox=[20.0, 5.0, 20.0, 12.0]),
        dict(image_id=1, category_id=1, segmentation=painted, bbox=[10.0, 20.0, 40.0, 24.0], iscrowd=1),
        dict(image_id=2, category_id=2, segmentation=[], bbox=[*map(float, BOX)]) | box,
    ]
    attributes = dict(occluded=False, rotation=0.0, track_id=3, keyframe=True)
    annotations = [
        dict(dict(id=i, iscrowd=0, area=1.0, attributes=attributes), **it) for i, it in enumerate(entries, 1)
    ]
    categories = [dict(id=i, name=it, supercategory='') for i, it in enumerate(('cat', 'dog'), 1)]
    document = dict(licenses=[dict(name='', id=0, url='')], info={}, categories=categories)
    write_text(
        folder / 'annotations' / 'instances_default.json', document | dict(images=images, annotations=annotations)
    )


def label_studio(folder, names, numbers=(0, 1, 2)) -> None:
    """Ids and categories from 0 on, what the server calls a picture, segmentations or boxes alone."""
    images = [dict(width=64, height=48, id=i, file_name=it) for i, it in zip(numbers, names, strict=True)]
    ring = runs_of(mask_of(RING, HOLE))
    entries = [
        dict(image_id=0, category_id=0, segmentation=FLAT['one'], bbox=[2.0, 3.0, 10.0, 10.0], area=100),
        dict(image_id=0, category_id=1, segmentation=FLAT['two'], bbox=[20.0, 5.0, 20.0, 12.0], area=164),
        dict(image_id=0, category_id=0, segmentation=ring, bbox=[10.0, 20.0, 40.0, 24.0], area=760),
        dict(image_id=1, category_id=1, segmentation=[], bbox=[*map(float, BOX)], area=600),
    ]
    annotations = [dict(id=i, ignore=0, iscrowd=0, **it) for i, it in enumerate(entries)]
    categories = [dict(id=0, name='cat'), dict(id=1, name='dog')]
    info = dict(year=2025, version='1.0', description='', contributor='Label Studio', url='')
    document = dict(images=images, categories=categories, annotations=annotations, info=info)
    write_text(folder / 'result.json', json.dumps(document, indent=2).replace('/', r'\/'))  # as it escapes them


def read_scene(folder, split='all'):
    """The scene, its pictures named without a folder."""
    path = folder / 'annotations' / f'instances_{split}.json'
    document = json.loads(path.read_text())
    for image in document['images']:
        image['file_name'] = image['file_name'].split('/')[-1].split('-')[-1]
    path.write_text(json.dumps(document))
    assert_scene(folder, split)
    return document['annotations']


def test_entries_of_cvat_that_are_no_objects_are_left_out(tmp_path):
    cvat(tmp_path / 'source')
    path = tmp_path / 'source' / 'annotations' / 'instances_default.json'
    document = json.loads(path.read_text())
    document['annotations'] += [None, 5, 'x', [], dict(attributes=dict(occluded=0), bbox='x', segmentation=[None])]
    write_text(path, document)
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    assert done.written.objects == 4 and done.left_out.total('objects') == 5


def test_what_cvat_paints_is_an_object_and_its_attributes_stay(tmp_path):
    cvat(tmp_path / 'source')
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    assert counts_of(done.read) == counts_of(done.written) == (COUNTS, CLASSES) and not done.left_out.counts
    assert [note.split()[-1] for note in done.notes] == ['1', '1'] and '--keep-crowds' in done.notes[0]
    assert 'rectangles of their boxes' in done.notes[1]  # the cat of one part
    for it in read_scene(tmp_path / 'coco'):
        assert it['attributes'] == dict(occluded=False, rotation=0.0, track_id=3, keyframe=True)
    kept = convert(tmp_path / 'source', tmp_path / 'kept', options=Options(keep_crowds=True))
    assert kept.written.crowds == 1 and len(kept.notes) == 1
    assert convert(tmp_path / 'kept', tmp_path / 'again').written.crowds == 1


@pytest.mark.parametrize('tool', ['CVAT', 'Label Studio'])
def test_exports_go_to_yolo_and_back(tool, tmp_path):
    """Their pictures lie in folders ``images`` within one another, of which labels go by the last."""
    if tool == 'CVAT':
        cvat(tmp_path / 'source')
    else:
        write_pictures(tmp_path / 'source' / 'more' / 'images')
        label_studio(tmp_path / 'source', [f'more/images/{it}' for it in NAMES])
    done = convert(tmp_path / 'source', tmp_path / 'yolo', target_format='yolo-seg')
    back = convert(tmp_path / 'yolo', tmp_path / 'back')
    assert done.read.objects == back.read.objects and counts_of(back.written) == (COUNTS, CLASSES)
    assert any('split-data' in note for note in done.notes) and not back.left_out.counts
    assert back.notes == ['val has the same pictures as train: they are read as train alone']
    settings = yaml.safe_load((tmp_path / 'yolo' / 'data.yaml').read_text())
    assert (tmp_path / 'yolo' / settings['train']).is_dir() and settings['train'] == settings['val']
    read_scene(tmp_path / 'back', 'train')


@pytest.mark.parametrize('posing', [False, True])
def test_turned_boxes_of_cvat_are_the_boxes_around_them(tmp_path, posing):
    """30 x 20 about (23, 14), by 90 degrees: 20 x 30; older versions write the rectangle unturned as a polygon."""
    x, y, width, height = BOX
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    turned = dict(attributes=dict(occluded=False, rotation=90.0), segmentation=[corners] if posing else [])
    cvat(tmp_path / 'source', **turned)
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    (found,) = [it for it in _annotations(tmp_path / 'coco') if not it['segmentation']]
    np.testing.assert_allclose(found['bbox'], [13, 0, 20, 29], atol=1e-4)  # the picture ends at 0
    assert any(note.startswith('turned boxes are read as the boxes around them') for note in done.notes)
    cvat(tmp_path / 'other', **turned | dict(attributes=dict(occluded=False, rotation=30.0), bbox=[20, 12, 20, 10]))
    if not posing:
        convert(tmp_path / 'other', tmp_path / 'masks', options=Options(boxes_as_masks=True))
        ((flat,),) = [it['segmentation'] for it in _annotations(tmp_path / 'masks') if it['image_id'] == 2]
        middle, turn = np.array([30, 17]), np.deg2rad(30)
        around = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])  # clockwise, y down
        right = middle + np.array([[-10, -5], [10, -5], [10, 5], [-10, 5]]) @ around
        assert {tuple(it) for it in np.reshape(flat, (4, 2)).round(2)} == {tuple(it) for it in right.round(2)}


def _annotations(folder):
    return COCO(folder / 'annotations' / 'instances_all.json').dataset['annotations']


SERVER = {
    'exported with pictures': ('images', ['images/12345678-a.png', 'images/b.jpg', 'images/0a1b2c3d-empty.png']),
    'on Windows': ('images', [r'images\12345678-a.png', r'images\b.jpg', r'images\0a1b2c3d-empty.png']),
    'its own folder': ('images', [rf'..\..\label-studio\media\upload\4\{it}' for it in NAMES]),
    'an absolute path': ('.', [f'/label-studio/data/media/upload/4/12345678-{it}' for it in NAMES]),
    'local files': ('my pictures', [f'/data/local-files/?d=my%20pictures/{it}' for it in NAMES]),
    'a URL': ('pets', [f'https://somewhere.example/pets/{it}?token=1' for it in NAMES]),
    'a bucket': ('pets', [f's3://bucket/all/pets/{it}' for it in NAMES]),
}


@pytest.mark.parametrize('where', SERVER)
def test_pictures_of_label_studio_are_found_by_what_its_server_calls_them(tmp_path, where):
    folder, names = SERVER[where]
    pictures = write_pictures(tmp_path / 'source' / folder)
    if where in ('exported with pictures', 'on Windows'):
        (pictures / 'a.png').rename(pictures / '12345678-a.png')
    label_studio(tmp_path / 'source', names)
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    assert counts_of(done.written) == (COUNTS, CLASSES) and not done.left_out.counts and not done.notes
    assert all(it['ignore'] == 0 for it in read_scene(tmp_path / 'coco'))


def test_a_picture_that_two_annotators_labelled_is_there_once(tmp_path):
    write_pictures(tmp_path / 'source' / 'images')
    label_studio(tmp_path / 'source', [f'images/{it}' for it in ('a.png', 'b.jpg', 'empty.png', 'a.png')], (7, 1, 2, 0))
    document = json.loads((tmp_path / 'source' / 'result.json').read_text())
    document['images'].append(dict(document['images'][1], id=8))
    document['annotations'].append(dict(document['annotations'][3], id=9, image_id=8))
    write_text(tmp_path / 'source' / 'result.json', document)
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    assert counts_of(done.written) == (COUNTS, CLASSES)
    again = 'the picture is listed again'
    assert dict(done.left_out.counts) == {('pictures', again): 2, ('objects', again): 1}
