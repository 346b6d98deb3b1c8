"""Labels that are wrong, hostile or odd: each is named, and nothing else is lost."""

import base64
import json
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from damamba.datasets.conversion import ConversionError, Options, convert
from damamba.datasets.conversion.reading import UNSURE, Reading
from tests.datasets.conversion.sources import (
    ONE,
    RING,
    SIZE,
    SOURCES,
    TWO,
    bitmap_text,
    mask_of,
    shape,
    supervisely_object,
    write_pictures,
    write_text,
    yolo_box,
    yolo_line,
)


def test_labels_beyond_the_edge_are_cut_and_counted(tmp_path):
    SOURCES['yolo'](tmp_path / 'yolo')
    text = yolo_line(0, [(40, 10), (80, 10), (80, 20), (40, 20)]) + yolo_box(1, (-9, 0, 20, 10)) + '1 .5 .5 .2 .2 0.9\n'
    write_text(tmp_path / 'yolo' / 'labels' / 'train' / 'a.txt', text)
    done = convert(tmp_path / 'yolo', tmp_path / 'coco')
    found = json.loads((tmp_path / 'coco' / 'annotations' / 'instances_train.json').read_text())['annotations']
    assert [it['bbox'] for it in found[:2]] == [[40, 10, 24, 10], [0, 0, 11, 10]] and len(found) == 4
    assert done.notes == ['2 objects reach beyond the edge of the picture, and are cut there']


def test_a_class_without_an_object_is_named_with_the_line_that_leaves_it_out(tmp_path):
    """Of LabelMe only what encloses something makes a class; COCO of Roboflow begins with one for all others."""
    SOURCES['labelme'](tmp_path / 'labelme')
    shapes = [shape('path', [[1, 1], [5, 5]], 'line'), shape('cat', ONE)]
    write_text(tmp_path / 'labelme' / 'a.json', dict(imagePath='a.png', shapes=shapes))
    done = convert(tmp_path / 'labelme', tmp_path / 'out')
    assert done.categories == ['cat', 'dog'] and not done.notes
    SOURCES['coco'](tmp_path / 'coco')
    path = tmp_path / 'coco' / 'annotations' / 'instances_train2017.json'
    document = json.loads(path.read_text())
    document['categories'] = [dict(id=0, name='all pets'), *document['categories'], dict(id=10, name='bird')]
    write_text(path, document)
    (note,) = convert(tmp_path / 'coco', tmp_path / 'clean').notes
    assert ': all pets, bird; ' in note and note.endswith(': --classes cat dog')
    assert not convert(tmp_path / 'coco', tmp_path / 'less', options=Options(classes=('cat', 'dog'))).notes


def test_what_keeps_no_object_is_refused_and_a_picture_whose_labels_lost_it_is_no_background(tmp_path):
    write_pictures(tmp_path / 'labelme')
    write_text(tmp_path / 'labelme' / 'a.json', dict(imagePath='a1.png', shapes=[shape('cat', ONE)]))
    (tmp_path / 'labelme' / 'a.png').rename(tmp_path / 'labelme' / 'other.png')
    write_text(tmp_path / 'labelme' / 'b.json', dict(imagePath='b.jpg', shapes=[shape('cat', ONE[:2], 'line')]))
    with pytest.raises(
        ConversionError, match=r'has no object that can be used, of 2: [^\n]+ not there \(a.json\)[^\n]+$'
    ):
        convert(tmp_path / 'labelme', tmp_path / 'coco')
    assert [it.name for it in tmp_path.iterdir()] == ['labelme']
    write_text(tmp_path / 'labelme' / 'b.json', dict(imagePath='b.jpg', shapes=[shape('cat', ONE)]))
    done = convert(tmp_path / 'labelme', tmp_path / 'coco')
    assert [path.name for path in (tmp_path / 'coco' / 'all').iterdir()] == ['b.jpg']
    assert done.left_out.counts['pictures', UNSURE] == 2


BOMB = base64.b64encode(zlib.compress(bytes(2**24))).decode()
OBJECTS = {  # by the reason, an object of Supervisely
    'meta.json has no such class': supervisely_object('bird', 'polygon', ONE),
    'the object has no classTitle': dict(geometryType='polygon'),
    'an alpha_mask is no mask and no box': supervisely_object('cat', 'alpha_mask', ONE),
    'a line is no mask and no box': supervisely_object('cat', 'line', ONE),
    'the exterior is no list of x and y': supervisely_object('cat', 'polygon'),
    'the bitmap is longer than a mask of the picture': supervisely_object(
        'cat', 'bitmap', bitmap=dict(data=BOMB, origin=[0, 0])
    ),
    'the origin of the bitmap is no place in the picture': supervisely_object('cat', 'bitmap', bitmap=dict(data='')),
    'the mask is empty': supervisely_object(
        'cat', 'bitmap', bitmap=dict(data=bitmap_text(mask_of(ONE)), origin=[60, 47])
    ),
}


PIXELS = {  # by what is labelled, the box around what is read: all of the picture, a pixel, fractions
    ('rectangle', ((0, 0), (63, 47))): (0, 0, 64, 48),
    ('rectangle', ((63, 7), (5, 3))): (5, 3, 59, 5),
    ('rectangle', ((5, 3), (5, 3))): (5, 3, 1, 1),
    ('rectangle', ((0, 0.5), (63.25, 47))): (0, 0.5, 63.25, 46.5),
    ('polygon', ((0, 0), (63, 0), (63, 47), (0, 47))): (0.5, 0.5, 63, 47),
    ('polygon', ((0, 0), (63.5, 0), (63, 47), (0, 47))): (0, 0, 63.5, 47),
}


@pytest.mark.parametrize(('kind', 'points'), PIXELS)
def test_whole_numbers_of_supervisely_count_pixels(kind, points, tmp_path):
    SOURCES['supervisely'](tmp_path / 'sly')
    write_text(
        tmp_path / 'sly' / 'train' / 'ann' / 'a.png.json', dict(objects=[supervisely_object('cat', kind, points)])
    )
    convert(tmp_path / 'sly', tmp_path / 'coco')
    found = json.loads((tmp_path / 'coco' / 'annotations' / 'instances_train.json').read_text())['annotations']
    assert found[0]['bbox'] == [*PIXELS[kind, points]]


@pytest.mark.parametrize('why', OBJECTS)
def test_an_object_of_supervisely_that_is_none_is_left_out_with_its_reason(why, tmp_path):
    SOURCES['supervisely'](tmp_path / 'sly')
    objects = [supervisely_object('dog', 'polygon', ONE), OBJECTS[why]]
    size = dict(width=SIZE[0], height=SIZE[1])
    write_text(tmp_path / 'sly' / 'train' / 'ann' / 'a.png.json', dict(size=size, objects=objects))
    done = convert(tmp_path / 'sly', tmp_path / 'coco')
    assert done.left_out.counts['objects', why] == 1 and done.written.objects == 2


def test_holes_that_are_none_are_left_out_and_their_object_is_not(tmp_path):
    SOURCES['supervisely'](tmp_path / 'sly')
    objects = [supervisely_object('dog', 'polygon', RING, [[(20, 25), (30, 25)], [(20, 25), (30, 25), (30, 35)]])]
    write_text(tmp_path / 'sly' / 'train' / 'ann' / 'a.png.json', dict(objects=objects))
    done = convert(tmp_path / 'sly', tmp_path / 'coco')
    assert done.left_out.counts == {('holes', 'fewer than 3 points'): 1}
    assert (done.read.holes, done.written.holes) == (2, 1)


ENTRIES = {  # by the reason, an annotation of COCO
    'no category has the category_id': dict(category_id=1),
    'no picture has the image_id': dict(image_id=99),
    'neither a segmentation nor a box': dict(segmentation=[], bbox=None),
    'no polygon is of use': dict(segmentation=[[1, 2, 3]]),
    'the runs do not add up to 48 x 64 pixels': dict(segmentation=dict(size=[48, 64], counts=[5])),
    'counts is no compressed RLE': dict(segmentation=dict(size=[48, 64], counts='é')),
}


@pytest.mark.parametrize('why', ENTRIES)
def test_an_annotation_of_coco_that_is_no_object_is_left_out_with_its_reason(why, tmp_path):
    SOURCES['coco'](tmp_path / 'coco')
    path = tmp_path / 'coco' / 'annotations' / 'instances_train2017.json'
    document = json.loads(path.read_text())
    document['annotations'][0] |= ENTRIES[why]
    write_text(path, document)
    done = convert(tmp_path / 'coco', tmp_path / 'clean')
    assert done.left_out.counts['objects', why] == 1 and done.written.objects == 3


def test_the_layout_of_coco_itself_has_further_files_of_the_same_pictures(tmp_path):
    source = tmp_path / 'coco'
    SOURCES['coco'](source)
    document = json.loads((source / 'annotations' / 'instances_train2017.json').read_text())
    for split in ('train2017', 'val2017'):
        write_pictures(source / split)
        people = dict(document, annotations=[dict(document['annotations'][0], keypoints=[1, 1, 2], num_keypoints=1)])
        captions = dict(images=document['images'], annotations=[dict(id=1, image_id=5, caption='a cat')])
        for kind, content in (('captions', captions), ('instances', document), ('person_keypoints', people)):
            write_text(source / 'annotations' / f'{kind}_{split}.json', content)
    done = convert(source, tmp_path / 'clean')
    assert done.written.splits == dict(train=3, val=3) and done.written.objects == 8
    assert (tmp_path / 'clean' / 'annotations' / 'instances_val.json').is_file()
    assert done.left_out.total('label files') == 4 and done.left_out.total('objects') == 2
    yolo = convert(source, tmp_path / 'yolo', target_format='yolo-seg')
    settings = (tmp_path / 'yolo' / 'data.yaml').read_text()
    assert settings.startswith('train: images/train\nval: images/val\n') and yolo.written.splits == dict(train=3, val=3)


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_labels_of_a_picture_as_it_is_stored_are_turned_with_it(orientation, tmp_path):
    """Of one that lies on its side; sizes tell nothing of one that stands on its head: tools show it turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((*SIZE[::-1], 3), np.uint8)
    pixels[mask_of(ONE)] = 255
    source = tmp_path / 'labelme'
    source.mkdir()
    Image.fromarray(pixels).save(source / 'a.png', exif=exif)
    content = dict(imagePath='a.png', imageWidth=SIZE[0], imageHeight=SIZE[1], shapes=[shape('cat', ONE)])
    write_text(source / 'a.json', content)
    convert(source, tmp_path / 'coco')
    document = json.loads((tmp_path / 'coco' / 'annotations' / 'instances_all.json').read_text())
    shown = cv2.imread(str(tmp_path / 'coco' / 'all' / 'a.png'))  # as MMDetection reads it
    assert (document['images'][0]['height'], document['images'][0]['width']) == shown.shape[:2]
    x, y, width, height = map(int, document['annotations'][0]['bbox'])
    assert (shown[y : y + height, x : x + width] == 255).all() == (orientation != 3)


def test_pictures_that_can_not_be_used_are_left_out_with_their_labels(tmp_path):
    SOURCES['labelme'](tmp_path / 'labelme')
    (tmp_path / 'labelme' / 'b.jpg').write_bytes(b'none')
    path = tmp_path / 'labelme' / 'a.json'
    write_text(path, json.loads(path.read_text()) | dict(imageWidth=640))
    (tmp_path / 'secret').mkdir()
    cv2.imwrite(str(tmp_path / 'secret' / 'c.png'), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / 'labelme' / 'link.png').symlink_to(tmp_path / 'secret' / 'c.png')
    write_text(tmp_path / 'labelme' / 'c.json', dict(imagePath='../secret/c.png', shapes=[shape('cat', ONE)]))
    write_text(tmp_path / 'labelme' / 'other.json', {})
    write_text(tmp_path / 'secret' / 'd.json', dict(imagePath='../labelme/b.jpg', shapes=[shape('cat', ONE)]))
    (tmp_path / 'labelme' / 'd.json').symlink_to(tmp_path / 'secret' / 'd.json')
    (tmp_path / 'labelme' / 'links').symlink_to(tmp_path / 'secret')
    (tmp_path / 'labelme' / 'again').symlink_to(tmp_path / 'labelme')
    with pytest.raises(ConversionError, match=r'has no picture that can be used: [^\n]+ \(a.png\)[^\n]+$'):
        convert(tmp_path / 'labelme', tmp_path / 'coco')
    write_text(tmp_path / 'labelme' / 'e.json', dict(imagePath='empty.png', shapes=[shape('cat', TWO[0])]))
    done = convert(tmp_path / 'labelme', tmp_path / 'coco')
    assert done.written.pictures == 1 and done.written.objects == 1
    size = 'the labels are of another size than the picture (64 x 48 pixels)'
    assert done.left_out.counts == {
        ('pictures', size): 1,
        ('objects', f'the picture is left out ({size})'): 4,
        ('pictures', 'undecodable picture'): 1,
        ('objects', 'the picture is left out (undecodable picture)'): 1,
        ('label files', 'the picture is not there'): 1,
        ('objects', 'the picture is not there'): 1,
        ('label files', 'no file of LabelMe'): 1,
        ('pictures', UNSURE): 1,
        ('label files', 'it leads out of the folder'): 1,
        ('folders', 'it leads out of the folder'): 1,
    }
    assert convert(tmp_path / 'labelme', tmp_path / 'more', options=Options(follow_links=True)).written.pictures == 3


def test_a_name_leads_to_a_file_below_the_source_or_to_none(tmp_path):
    (tmp_path / 'in' / 'sub').mkdir(parents=True)
    for path in (tmp_path / 'out.png', tmp_path / 'in' / 'a.png', tmp_path / 'in' / 'sub' / 'b.png'):
        path.write_bytes(b'')
    reading = Reading(tmp_path / 'in')
    for name, right in (
        ('a.png', 'a.png'), (r'C:\me\sub\b.png', 'sub/b.png'), ('/srv/sub/b.png', 'sub/b.png'),
        ('../in/a.png', 'a.png'), ('../out.png', None), (str(tmp_path / 'out.png'), None), ('', None), ('sub', None),
    ):  # fmt: skip
        found = reading.below(name)
        assert (found and reading.shown(found)) == right, name


def test_what_can_not_be_begun_is_refused_in_a_sentence(tmp_path):
    SOURCES['yolo'](tmp_path / 'yolo')
    (tmp_path / 'empty').mkdir()
    write_text(tmp_path / 'sbd' / 'dataset' / 'inst' / '2008_000002.mat', 'MATLAB 5.0 MAT-file')
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').write_text('')
    for arguments, said in (
        ((tmp_path / 'gone', tmp_path / 'out'), 'is no folder'),
        ((tmp_path / 'yolo', tmp_path / 'full'), 'is there already, and not empty'),
        ((tmp_path / 'yolo', tmp_path / 'yolo' / 'out'), 'lie in one another'),
        ((tmp_path / 'empty', tmp_path / 'out'), 'looks like none of'),
        ((tmp_path / 'sbd', tmp_path / 'out'), 'has .mat files of SBD in cls and inst, which are not read: save'),
        ((tmp_path / 'empty', tmp_path / 'out', 'supervisely'), 'has no meta.json'),
        ((tmp_path / 'empty', tmp_path / 'out', 'labelme'), 'has no picture that can be used'),
        ((tmp_path / 'yolo', tmp_path / 'out', None, 'coco', Options(classes=('bird',))), "no class is called 'bird'"),
    ):
        with pytest.raises(ConversionError, match=said):
            convert(*arguments)
    assert not (tmp_path / 'out').exists()
    SOURCES['labelme'](tmp_path / 'yolo')
    with pytest.raises(ConversionError, match='looks like labelme .* and yolo .*: say which with --from'):
        convert(tmp_path / 'yolo', tmp_path / 'out')
