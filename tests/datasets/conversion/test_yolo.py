"""Lines, settings and layouts of YOLO that are wrong or odd: each is named, and nothing else is lost."""

import json

import cv2
import numpy as np
import pytest
import yaml

from damamba.datasets.conversion import ConversionError, Options, convert
from damamba.datasets.conversion.counting import reasons_of
from damamba.datasets.conversion.reading import UNSURE
from damamba.datasets.inspection import inspect_dataset
from tests.datasets.conversion.sources import (
    BOX,
    ONE,
    SIZE,
    SOURCES,
    write_pictures,
    write_text,
    yolo_box,
    yolo_line,
)

GOOD = yolo_line(0, ONE)
LINES = {  # by a line of a.txt, why it is left out
    '2 .5 .5 .1 .1': 'objects: the class number is none of 0 to 1',
    '-1 .5 .5 .1 .1': 'objects: the class number is none of 0 to 1',
    '0.5 .5 .5 .1 .1': 'objects: the class number is none of 0 to 1',
    'nan .5 .5 .1 .1': 'objects: the class number is none of 0 to 1',
    '0 .5 .5 .1': 'objects: the line has fewer than 5 numbers',
    'cat .5 .5 .1 .1': 'objects: the line has something else than numbers',
    '0 .5 .5 0 .1': 'objects: the box encloses nothing',
    '0 .5 .5 inf .1': 'objects: the box encloses nothing',
    '0 5 5 .1 .1': 'objects: the box is outside of the picture',
    '0 .1 .1 .2 .2 .3 .3': 'objects: nothing is left (no area)',
    '0 .1 .1 nan .2 .3 .3': 'objects: nothing is left (a coordinate is not finite)',
    '0 2 2 3 2 3 3': 'objects: nothing is left (outside of the picture)',
    '0 0 0 1e9 0 1e9 1e9': 'objects: nothing is left (far beyond any picture, or longer)',
    '0 .5 .5 .5001 .5 .5001 .5001': 'objects: no pixel is covered',
}


@pytest.mark.parametrize('line', LINES)
def test_a_line_of_yolo_that_is_no_object_is_left_out_with_its_reason(line, tmp_path):
    SOURCES['yolo'](tmp_path / 'yolo')
    write_text(tmp_path / 'yolo' / 'labels' / 'train' / 'a.txt', f'{GOOD}{line}\n{GOOD}')
    done = convert(tmp_path / 'yolo', tmp_path / 'coco')
    assert (done.read.objects, done.written.objects) == (4, 3)
    what, why = LINES[line].split(': ', 1)
    assert done.left_out.counts[what, why] == 1
    assert done.left_out.examples[what, why] == ['labels/train/a.txt:2']


def test_keypoints_and_confidences_are_left_out_and_counted(tmp_path):
    SOURCES['yolo'](tmp_path / 'yolo')
    with (tmp_path / 'yolo' / 'data.yaml').open('a') as file:
        file.write('kpt_shape: [2, 3]\n')
    text = yolo_box(1, BOX).strip() + ' .1 .1 2 .2 .2 1\n' + yolo_box(1, BOX).strip() + ' .9\n' + GOOD.strip() + ' .8\n'
    write_text(tmp_path / 'yolo' / 'labels' / 'train' / 'a.txt', text)
    done = convert(tmp_path / 'yolo', tmp_path / 'coco')
    assert done.left_out.counts == {('keypoints', 'not read'): 2, ('confidences', 'not read'): 2}
    assert (done.written.objects, done.written.boxes) == (4, 3)


@pytest.mark.parametrize('target', ['coco', 'yolo-seg'])
def test_what_crosses_itself_is_what_it_draws_and_a_name_twice_is_one_class(target, tmp_path):
    """Two triangles that meet in a point: what the shoelace formula adds for one, it takes away for the other."""
    SOURCES['yolo'](tmp_path / 'yolo')
    bowtie = [(10, 10), (30, 30), (30, 10), (10, 30)]
    text = yolo_line(0, bowtie) + yolo_line(2, ONE) + yolo_line(0, [(1, 1), (9, 9), (5, 5), (9, 9)])
    write_text(tmp_path / 'yolo' / 'labels' / 'train' / 'a.txt', text)
    write_text(tmp_path / 'yolo' / 'data.yaml', 'names: [cat, dog, cat]\ntrain: images/train\n')
    done = convert(tmp_path / 'yolo', tmp_path / 'out', target_format=target)
    assert (
        done.written.classes == dict(cat=2, dog=1) and done.left_out.counts['objects', 'nothing is left (no area)'] == 1
    )
    assert done.notes[0] == 'several class numbers have one name, and become one class: cat'
    if target == 'coco':
        found = json.loads((tmp_path / 'out' / 'annotations' / 'instances_train.json').read_text())['annotations']
        assert abs(found[0]['area'] - 200) <= 20 and not inspect_dataset(tmp_path / 'out').kinds.get('broken_polygon')


SETTINGS = {  # by a data.yaml, what is said
    'names: {a: cat}': 'whole numbers',
    'names: 3': 'nothing says what the classes are called',
    'names: [[cat]]': 'must be names',
    'names: [cat': 'can not be read as YAML',
    'names: !!python/object/apply:os.system [exit]': 'can not be read as YAML',
    'names: [a, b]\nx: ' + '[' * 500: 'can not be read as YAML',
}


@pytest.mark.parametrize('text', SETTINGS)
def test_settings_of_yolo_that_are_none_are_refused(text, tmp_path):
    SOURCES['yolo'](tmp_path / 'yolo')
    write_text(tmp_path / 'yolo' / 'data.yaml', text)
    with pytest.raises(ConversionError, match=SETTINGS[text]):
        convert(tmp_path / 'yolo', tmp_path / 'coco', 'yolo')
    assert not (tmp_path / 'coco').exists() and [it.name for it in tmp_path.iterdir()] == ['yolo']


LAYOUTS = {  # by the settings, where the pictures lie
    'train: ../train/images\nval: ../valid/images\nnames: [cat, dog]\n': ('train/images', 'valid/images'),
    'path: /home/me/pets\ntrain: train.txt\nval: [val.txt]\nnames: {0: cat, 1: dog}\n': ('images/train', 'images/val'),
    '': ('images/train', 'images/val'),  # and classes.txt
    None: ('train/images', 'val/images'),  # and --classes
}


@pytest.mark.parametrize('text', LAYOUTS)
def test_layouts_of_yolo_are_found(text, tmp_path):
    source, options = tmp_path / 'yolo', Options(classes=() if text is not None else ('cat', 'dog'))
    for split, folder in zip(('train', 'val'), LAYOUTS[text], strict=True):
        write_pictures(source / folder)
        write_text(source / folder.replace('images', 'labels') / 'a.txt', GOOD)
        write_text(source / f'{split}.txt', f'./{folder}/a.png\n\n/data/{folder}/b.jpg\n{folder}/empty.png\n')
    write_text(source / ('data.yaml' if text else 'classes.txt'), text or ('cat\ndog\n' if text == '' else ''))
    done = convert(source, tmp_path / 'coco', options=options)
    assert done.written.splits == dict(train=3, val=3) and done.written.objects == 2 and not done.left_out.counts
    assert (tmp_path / 'coco' / 'val' / 'a.png').is_file() and done.categories == ['cat', 'dog']


@pytest.mark.parametrize('lists', [True, False])
def test_splits_of_cvat_as_yolo_are_those_of_its_lists_or_its_folders(lists, tmp_path):
    source, options = tmp_path / 'yolo', Options(classes=() if lists else ('cat', 'dog'))
    for split in ('train', 'valid'):
        write_pictures(source / f'obj_{split}_data')
        write_text(source / f'obj_{split}_data' / 'a.txt', GOOD)
        if lists:
            names = ('a.png', 'b.jpg', 'empty.png')
            write_text(source / f'{split}.txt', ''.join(f'data/obj_{split}_data/{it}\n' for it in names))
    if lists:
        write_text(source / 'obj.names', 'cat\ndog\n')
        settings = (
            'classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n'
        )
        write_text(source / 'obj.data', settings)
    done = convert(source, tmp_path / 'coco', options=options)
    assert done.written.splits == dict(train=3, val=3) and done.written.objects == 2 and not done.left_out.counts
    assert (tmp_path / 'coco' / 'val' / 'a.png').is_file() and done.categories == ['cat', 'dog']


def test_labels_without_a_picture_and_pictures_without_a_split_are_named(tmp_path):
    SOURCES['yolo'](tmp_path / 'yolo')
    write_pictures(tmp_path / 'yolo' / 'images' / 'test')
    write_text(tmp_path / 'yolo' / 'labels' / 'train' / 'gone.txt', GOOD * 2)
    cv2.imwrite(str(tmp_path / 'yolo' / 'images' / 'train' / 'a.bmp'), np.zeros((*SIZE[::-1], 3), np.uint8))
    done = convert(tmp_path / 'yolo', tmp_path / 'coco')
    assert reasons_of(done.left_out) == [
        '1 label file, 2 objects: the picture is not there (labels/train/gone.txt)',
        f'1 picture: {UNSURE} (images/train/empty.png)',
    ]
    others = 'images/test/a.png, images/test/b.jpg, images/test/empty.png'
    assert done.notes == [
        '2 pictures share the labels labels/train/a.txt: each has its objects',
        f'3 other pictures lie in the folder, and are not listed: {others}',
    ]
    with pytest.raises(ConversionError, match='two pictures are called train/a, and would share their labels'):
        convert(tmp_path / 'yolo', tmp_path / 'again', target_format='yolo-seg')


def test_splits_that_ultralytics_does_not_know_are_trained_on(tmp_path):
    SOURCES['coco'](tmp_path / 'coco')
    document = json.loads((tmp_path / 'coco' / 'annotations' / 'instances_train2017.json').read_text())
    for name in ('monday', 'images', 'val'):
        write_pictures(tmp_path / 'more' / name)
        write_text(tmp_path / 'more' / 'annotations' / f'instances_{name}.json', document)
    done = convert(tmp_path / 'more', tmp_path / 'yolo', target_format='yolo-seg')
    settings = yaml.safe_load((tmp_path / 'yolo' / 'data.yaml').read_text())
    assert settings['val'] == 'images/val' and len(settings['train']) == 2 and done.written.objects == 12
    assert done.written.splits == dict(train=6, val=3)


def test_boxes_of_yolo_are_written_too(tmp_path):
    SOURCES['coco'](tmp_path / 'coco')
    done = convert(tmp_path / 'coco', tmp_path / 'yolo', target_format='yolo')
    assert done.written.boxes == 4 and done.written.parts == 0
    lines = (tmp_path / 'yolo' / 'labels' / 'train' / 'b.txt').read_text()
    np.testing.assert_allclose(np.fromstring(lines, sep=' '), np.fromstring(yolo_box(1, BOX), sep=' '), atol=1e-6)
