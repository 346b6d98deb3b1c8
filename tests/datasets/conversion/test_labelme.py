"""Shapes and pictures of LabelMe that are wrong or odd: each is named, and nothing else is lost."""

import base64
import json

import numpy as np
import pytest

from damamba.datasets.conversion import convert
from damamba.datasets.conversion.counting import reasons_of
from tests.datasets.conversion.sources import (
    ONE,
    SOURCES,
    TWO,
    bitmap_text,
    shape,
    write_pictures,
    write_text,
)

SHAPES = {  # by the reason, a shape of LabelMe
    'a line encloses nothing': shape('cat', [[1, 1], [5, 5]], 'line'),
    'a point encloses nothing': shape('cat', [[1, 1]], 'point'),
    'the shape has no label': dict(points=ONE),
    'the points are no list of x and y': shape('cat', [1, 2, 3]),
    'a rectangle of 3 points, not 2': shape('cat', ONE[:3], 'rectangle'),
    'nothing is left (fewer than 3 points)': shape('cat', ONE[:2]),
    'the bitmap is no base64 of a PNG': shape('cat', ONE[:2], 'mask', mask='!'),
    'the bitmap is no PNG': shape('cat', ONE[:2], 'mask', mask=base64.b64encode(b'\x89PNG none').decode()),
    'the bitmap is no text': shape('cat', ONE[:2], 'mask'),
    'the bitmap is larger than the picture': shape('cat', ONE[:2], 'mask', mask=bitmap_text(np.ones((99, 99), bool))),
}


@pytest.mark.parametrize('why', SHAPES)
def test_a_shape_of_labelme_that_is_no_object_is_left_out_with_its_reason(why, tmp_path):
    SOURCES['labelme'](tmp_path / 'labelme')
    content = dict(imagePath='a.png', shapes=[shape('dog', ONE), SHAPES[why]])
    write_text(tmp_path / 'labelme' / 'a.json', content)
    done = convert(tmp_path / 'labelme', tmp_path / 'coco')
    assert done.left_out.counts['objects', why] == 1 and done.written.objects == 2


@pytest.mark.parametrize('name', [r'..\images\a.png', '../../labelme/images/a.png', 'images/a.png', '/home/me/a.png'])
def test_pictures_of_labelme_lie_in_another_folder_of_the_source(name, tmp_path):
    write_pictures(tmp_path / 'labelme' / 'images')
    content = dict(imagePath=name, shapes=[shape('cat', ONE)])
    write_text(tmp_path / 'labelme' / 'labels' / 'a.json', content)
    done = convert(tmp_path / 'labelme', tmp_path / 'coco')
    document = json.loads((tmp_path / 'coco' / 'annotations' / 'instances_all.json').read_text())
    assert [it['file_name'] for it in document['images'] if it['id'] == document['annotations'][0]['image_id']] == [
        'a.png'
    ]
    assert (done.written.pictures, done.written.objects) == (3, 1) and not done.left_out.counts


@pytest.mark.parametrize('target', ['coco', 'yolo'])
def test_pictures_that_lie_in_files_of_labelme_are_taken_from_there(target, tmp_path):
    pictures = {name: (write_pictures(tmp_path / 'p') / name).read_bytes() for name in ('a.png', 'b.jpg')}
    for name, content in (*pictures.items(), ('c.bmp', b'BM none'), ('d.gif', b'GIF89a')):
        text = base64.b64encode(content).decode()
        label = dict(imagePath=rf'C:\x\{name}', imageData=text, shapes=[shape('cat', ONE)])
        write_text(tmp_path / 'labelme' / 'sub' / f'{name[0]}.json', label)
    done = convert(tmp_path / 'labelme', tmp_path / 'out', target_format=target)
    folder = tmp_path / 'out' / ('all' if target == 'coco' else 'images/all') / 'sub'
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == pictures
    why = 'the picture is not there, and imageData is no base64 of a JPEG or PNG'
    assert done.left_out.counts == {('label files', why): 2, ('objects', why): 2} and done.written.objects == 2
    assert '(imageData): 2' in done.notes[0] and not list((tmp_path / 'out').glob('.*'))


def test_shapes_of_x_anylabeling(tmp_path):
    SOURCES['labelme'](tmp_path / 'labelme')
    shapes = [
        shape('cat', ONE[::-1], 'rectangle'),
        shape('dog', TWO[0], 'rotation'),
        shape('dog', TWO[1], 'quadrilateral'),
    ]
    write_text(tmp_path / 'labelme' / 'a.json', dict(imagePath='a.png', shapes=shapes))
    convert(tmp_path / 'labelme', tmp_path / 'coco')
    found = json.loads((tmp_path / 'coco' / 'annotations' / 'instances_all.json').read_text())['annotations']
    assert [it['bbox'] for it in found[:3]] == [[2, 3, 10, 10], [20, 5, 6, 4], [30, 7, 10, 10]]
    assert [it['area'] for it in found[:3] if it['segmentation']] == [24, 100]


def test_groups_and_circles_of_labelme(tmp_path):
    SOURCES['labelme'](tmp_path / 'labelme')
    boxed = [shape('cat', ONE, group=1), shape('cat', [[1, 1], [9, 9]], 'rectangle', group=1)]
    other = [shape('dog', TWO[0], group=1), shape('cat', [[30, 30], [30, 40]], 'circle')]
    write_text(tmp_path / 'labelme' / 'a.json', dict(imagePath='x/a.png', shapes=boxed + other))
    done = convert(tmp_path / 'labelme', tmp_path / 'coco')
    assert reasons_of(done.left_out) == ['1 box: a box of an object that has a mask (a.json: shape 2)']
    found = json.loads((tmp_path / 'coco' / 'annotations' / 'instances_all.json').read_text())['annotations']
    assert [it['category_id'] for it in found] == [1, 2, 1, 2] and done.categories == ['cat', 'dog']
    assert abs(found[2]['area'] - np.pi * 10**2) < 4
