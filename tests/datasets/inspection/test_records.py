"""What is wrong in an annotation file: each kind of defect is made, found and named, and what is none is not."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from damamba.datasets.inspection import inspect_dataset
from damamba.datasets.inspection.records import AnnotationFile
from tests.datasets.inspection.helpers import HEIGHT, SQUARE, WIDTH, document, rle_of, write_json


def edited(name, /, **fields):
    """Give the first entry of a list these fields."""
    return lambda content: content[name][0].update(fields)


image, annotation = partial(edited, 'images'), partial(edited, 'annotations')


def polygon(*points):
    return annotation(segmentation=[list(points)])


def rle(**changes):
    return lambda content: content['annotations'][1].update(segmentation=rle_of() | changes)


def without(name, key):
    return lambda content: content[name][0].pop(key)


def twice(name, /, **changes):
    return lambda content: content[name].append(content[name][0] | changes)


def without_ids(content):
    for it in content['images']:
        del it['id']


OBJECTS = ['unknown_image_id'] * 3, ['unknown_category_id'] * 3  # those of all objects
DEFECTS = [  # how the sentence begins, if one is said, what is done, and the defects that follow
    ('missing_field: the file has no categories', lambda content: content.pop('categories'), *OBJECTS[1]),
    ('missing_field: images[0]: no width', without('images', 'width')),
    ('missing_field: images[1]: no id', without_ids, *['missing_field'] * 2, *OBJECTS[0]),
    ('missing_field: annotations[0]: no id', without('annotations', 'id')),
    ('missing_field: no iscrowd', without('annotations', 'iscrowd')),
    ('wrong_type: images is 7, not a list', lambda content: content.update(images=7), *OBJECTS[0]),
    ("wrong_type: annotations[3] is 'x', not an object", lambda content: content['annotations'].append('x')),
    ("wrong_type: images[0]: height is '60', not a number of pixels that a picture can have", image(height='60')),
    ('wrong_type: images[0]: width is 0, not a number of pixels', image(width=0)),
    ('wrong_type: images[0]: width is 1048577, not a number of pixels', image(width=2**20 + 1)),
    ('wrong_type: images[0]: id is -1, not a whole number of 53 bits from 0 on', image(id=-1), *OBJECTS[0][:2]),
    ("wrong_type: images[0]: file_name is ' ', not a name", image(file_name=' ')),
    ('wrong_type: id is 9007199254740993, not a whole number of 53 bits', annotation(id=2**53 + 1)),
    ("wrong_type: annotations[0]: id is 'x', not a whole number of 53 bits", annotation(id='x')),
    ('wrong_type: bbox is 7, not four finite numbers', annotation(bbox=7)),
    ('wrong_type: bbox is [1, 2, 3], not four finite numbers', annotation(bbox=[1, 2, 3])),
    ('wrong_type: bbox is [1, 2, 3, nan], not four finite numbers', annotation(bbox=[1, 2, 3, math.nan])),
    ('wrong_type: area is inf, not a finite number', annotation(area=math.inf)),
    ('wrong_type: area is True, not a finite number', annotation(area=True)),
    ('wrong_type: iscrowd is 2, not 0 or 1', annotation(iscrowd=2)),
    ("wrong_type: category_id is '1', not a whole number of 53 bits", annotation(category_id='1')),
    ("wrong_type: segmentation is 'x', not polygons or an RLE", annotation(segmentation='x')),
    ('no_pictures: images is empty', lambda content: content['images'].clear(), *OBJECTS[0]),
    ('no_objects: annotations is empty', lambda content: content['annotations'].clear()),
    ('no_categories: categories is empty', lambda content: content['categories'].clear(), *OBJECTS[1]),
    ('duplicate_image_id: images[3]: another picture', twice('images', file_name='4.jpg', width=8), 'missing_picture'),
    ('duplicate_file_name: images[3]: another picture has this file name', twice('images', id=4)),
    ('duplicate_annotation_id: another annotation has this id', twice('annotations', image_id=3)),
    ('duplicate_annotation: it is the same as annotation 1', twice('annotations', id=9)),
    ("duplicate_category_id: categories[2]: 'Object' has the id 1 too", twice('categories', name='Lid')),
    ("duplicate_category_name: categories[2]: 'Object' and 'OBJECT'", twice('categories', id=3, name='OBJECT')),
    ('unknown_image_id: no picture has the id 77', annotation(image_id=77)),
    ('unknown_category_id: no category has the id 77', annotation(category_id=77)),
    ('no_segmentation: segmentation is empty', annotation(segmentation=[])),
    ('no_segmentation: no segmentation', without('annotations', 'segmentation')),
    ('broken_polygon: a polygon has 7 numbers, not x and y of 3', polygon(10, 10, 30, 10, 30, 30, 10)),
    ('broken_polygon: a polygon has 4 numbers, not x and y of 3', polygon(10, 10, 30, 30)),
    ('broken_polygon: a polygon has NaN or Infinity in it', polygon(10, 10, 30, 10, 30, math.inf)),
    ('broken_polygon: a polygon of 3 points has no area', polygon(10, 10, 20, 20, 30, 30)),
    ("broken_polygon: a polygon has [1, 1, 3, 1, 3, '3'] in it, not numbers", polygon(1, 1, 3, 1, 3, '3')),
    ('broken_polygon: a polygon has [1, 1, 3, 1, 3, [3]] in it, not numbers', polygon(1, 1, 3, 1, 3, [3])),
    ('broken_polygon: a polygon has [1000', polygon(10**400, 10, 30, 10, 30, 30)),
    ('broken_polygon: a polygon is 10, not a list of numbers', annotation(segmentation=SQUARE[0])),
    ('broken_rle: size is [80, 60], and the picture 60 high and 80 wide', rle(size=[WIDTH, HEIGHT])),
    ('broken_rle: counts is no compressed RLE', rle(counts='garbage')),
    ('broken_rle: counts is no compressed RLE', rle(counts='P' * 12 + '0')),
    ('broken_rle: the runs do not add up to 60 x 80 pixels', rle(counts='')),
    ('broken_rle: the runs do not add up to 60 x 80 pixels', rle(counts=[5, 5])),
    ('broken_rle: the runs do not add up to 60 x 80 pixels', rle(counts='Uf4K')),  # 4805 and -5
    ('broken_rle: the mask is empty', rle(counts=[HEIGHT * WIDTH])),
    ('broken_rle: counts is [4805, -5], neither text nor a list', rle(counts=[HEIGHT * WIDTH + 5, -5])),
    ('polygon_outside: it reaches 9 10 29 62', polygon(9, 10, 29, 10, 29, 62, 9, 62), 'box_mismatch', 'area_mismatch'),
    ('box_outside: the box is 10 10 80 20, the picture 80 x 60', annotation(bbox=[10, 10, 80, 20]), 'box_mismatch'),
    ('empty_box: the box is 20 x -5 pixels', annotation(bbox=[10, 10, 20, -5]), 'box_mismatch'),
    ('box_mismatch: the box is 10 10 23 20, the one around the seg', annotation(bbox=[10, 10, 23, 20])),
    ('area_mismatch: area is 0, that of the segmentation 400', annotation(area=0)),
    ('', polygon(10, 10, 30, 10, 30.9, 30, 10, 30)),
    ('', annotation(segmentation=[*SQUARE, *SQUARE])),  # drawn over itself it has the same area
    ('', annotation(iscrowd=True)),
    ('', twice('annotations', id=9, category_id=2)),
    ('', lambda content: content.update(info=None, licenses='none')),
]


@pytest.mark.parametrize('row', DEFECTS, ids=[f'{place}-{row[0].split(":")[0]}' for place, row in enumerate(DEFECTS)])
def test_a_defect_in_the_file_is_named_and_what_is_none_is_not(folder, row):
    said, change, *others = row
    content = document()
    change(content)
    write_json(folder / 'train.json', content)
    found = inspect_dataset(folder / 'train.json', workers=1).defects
    assert sorted(it.kind for it in found) == sorted(filter(None, [said.split(':')[0], *others]))
    assert not said or any(f'{it.kind}: {it.text}'.startswith(said) for it in found), found


def test_annotations_without_a_segmentation_are_the_same_where_their_boxes_are(folder):
    content = document()
    first = content['annotations'][0]
    content['annotations'] += [first | dict(id=9), first | dict(id=10, bbox=[11, 10, 20, 20])]
    for it in content['annotations']:
        del it['segmentation']
    write_json(folder / 'train.json', content)
    (twin,) = [it for it in inspect_dataset(folder, workers=1).defects if it.kind != 'no_segmentation']
    assert str(twin) == "train.json, image 1 '1.jpg', annotation 9: it is the same as annotation 1"


def defects_of(size=(WIDTH, HEIGHT), **fields) -> list[str]:
    """The kinds of what is wrong with one annotation of a picture of this width and height."""
    content, file = document(1), AnnotationFile('a.json', None, Path())
    content['images'][0] |= dict(zip(('width', 'height'), size, strict=True))
    content['annotations'] = [content['annotations'][0] | fields]
    file.read(content)
    return [it.kind for it in file.defects]


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize(('shifts', 'is_off'), [
    ((0, 0, 0, 0), False), ((6, 6, 2, 2), False), ((-6, 0, 0, 2), False),
    ((0, 7, 0, 0), True), ((7, 0, 0, 0), True), ((0, 0, 3, 0), True), ((0, 0, 0, 3), True),
])  # fmt: skip
def test_a_box_may_be_off_by_two_pixels_or_by_2_percent_of_its_own_side(axis, shifts, is_off):
    """An outline that is 300 pixels along an axis and 20 across; shifts of the box's edges: two along, two across."""
    order = (0, 2, 1, 3) if axis == 0 else (2, 0, 3, 1)  # to left, top, right, bottom
    left, top, right, bottom = (np.array([100, 400, 50, 70])[[*order]]).tolist()
    outline = [left, top, right, top, right, bottom, left, bottom]
    left, top, right, bottom = (np.array([100, 400, 50, 70]) + shifts)[[*order]].tolist()
    found = defects_of((640, 480), bbox=[left, top, right - left, bottom - top], area=6000, segmentation=[outline])
    assert found == (['box_mismatch'] if is_off else [])


def test_an_area_may_be_off_by_a_tenth_and_half_of_what_is_around_it():
    """30 x 30 pixels: 90 are a tenth, and half of 60 is 30."""
    for area, kinds in ((779, ['area_mismatch']), (780, []), (1020, []), (1021, ['area_mismatch'])):
        assert defects_of(bbox=[40, 20, 30, 30], segmentation=rle_of(), area=area) == kinds


def test_a_box_may_leave_the_picture_by_a_pixel_and_has_to_be_one_wide_and_high():
    assert defects_of(bbox=[-1, -1, 82, 62]) == defects_of(bbox=[3, 3, 1, 1]) == ['box_mismatch']
    for box in ([-1, -1, 82.1, 62], [-1, -1, 82, 62.1], [-1.1, 0, 9, 9], [0, -1.1, 9, 9]):
        assert 'box_outside' in defects_of(bbox=box)
    assert 'empty_box' in defects_of(bbox=[3, 3, 0.9, 1]) and 'empty_box' in defects_of(bbox=[3, 3, 1, 0.9])
