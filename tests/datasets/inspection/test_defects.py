"""What is counted, and that each kind of defect in the file is made, found and named."""

import math

import pytest

from damamba.datasets.demo import write_shapes
from damamba.datasets.inspection import inspect
from tests.datasets.inspection.helpers import HEIGHT, SQUARE, WIDTH, document, kinds, of_image, rle_of, write


def test_a_clean_set_has_no_defects_and_is_counted(folder):
    found = inspect(folder, workers=1)
    assert found.defects == [] and found.notes == [] and found.left_out == {}
    tally = found.total
    assert (tally.pictures, tally.without_objects, tally.objects, tally.crowds) == (3, 1, 3, 0)
    assert (tally.mean, tally.median, tally.most) == (1, 1, 2)
    assert tally.sizes == {(WIDTH, HEIGHT): 3} and tally.by_category == {'Object': 3, 'Tote': 0}
    # 1/300 of 80 x 60 pixels is 16, 3 % is 144: both sizes of object are above; by COCO's limits all are small
    assert tally.by_area == (3, 0, 0) and tally.by_share == (0, 0, 3)
    assert found.files[0].folder == folder / 'images' and found.files[0].categories == {1: 'Object', 2: 'Tote'}


def test_areas_are_sorted_by_cocos_limits_and_by_their_share_of_the_picture(folder):
    content = document()
    content['images'][0] |= dict(width=640, height=480)
    for annotation, area in zip(content['annotations'][:2], (1023.9, 9216), strict=True):
        annotation['area'] = area
    write(folder / 'train.json', content)
    tally = inspect(folder, workers=1).total
    assert tally.by_area == (2, 0, 1) and tally.by_share == (1, 0, 2)  # 400 of 80 x 60 is 8 %


def test_the_embedded_set_and_its_crowds_are_clean(tmp_path):
    write_shapes(tmp_path, images=6, val_images=2, size=96)
    found = inspect(tmp_path, workers=2)
    assert found.defects == [] and [file.name for file in found.files] == [
        'annotations/instances_train2017.json',
        'annotations/instances_val2017.json',
    ]
    assert [file.folder.name for file in found.files] == ['train2017', 'val2017']


def test_real_annotations_are_clean(shared):
    if not (shared / 'data' / 'coco_tiny').is_dir():
        pytest.skip('there are no pictures of COCO')
    found = inspect(shared / 'data' / 'coco_tiny')
    assert found.defects == [] and found.total.pictures == 41 and found.total.crowds == 6


# Each kind of defect -----------------------------------------------------------------------------------------------


def of_annotation(**fields):
    return lambda content: content['annotations'][0].update(fields)


def polygon(*points):
    return of_annotation(segmentation=[list(points)])


def without(name, key):
    return lambda content: content[name][0].pop(key)


def twice(records, /, **changes):
    return lambda content: content[records].append({**content[records][0], **changes})


def rle(**changes):
    return lambda content: content['annotations'][1].update(segmentation={**rle_of(), **changes})


IN_THE_FILE = [
    ('missing_field', lambda content: content.pop('categories'), {'unknown_category_id': 3}),
    ('missing_field', without('images', 'width'), {}),
    ('missing_field', without('images', 'file_name'), {}),
    ('missing_field', without('categories', 'name'), {}),
    ('missing_field', without('annotations', 'area'), {}),
    ('missing_field', without('annotations', 'iscrowd'), {}),
    ('missing_field', without('annotations', 'id'), {}),
    ('wrong_type', lambda content: content.update(images=7), {'unknown_image_id': 3}),
    ('wrong_type', lambda content: content['annotations'].append('text'), {}),
    ('wrong_type', of_image(height='60'), {}),
    ('wrong_type', of_image(width=0), {}),
    ('wrong_type', of_image(file_name=' '), {}),
    ('wrong_type', of_annotation(bbox=[1, 2, 3]), {}),
    ('wrong_type', of_annotation(bbox=[10, 10, math.nan, 20]), {}),
    ('wrong_type', of_annotation(area=math.inf), {}),
    ('wrong_type', of_annotation(area=True), {}),
    ('wrong_type', of_annotation(iscrowd=2), {}),
    ('wrong_type', of_annotation(category_id='1'), {}),
    ('wrong_type', of_annotation(segmentation='text'), {}),
    ('no_pictures', lambda content: content['images'].clear(), {'unknown_image_id': 3}),
    ('no_objects', lambda content: content['annotations'].clear(), {}),
    ('no_categories', lambda content: content['categories'].clear(), {'unknown_category_id': 3}),
    ('duplicate_image_id', twice('images', file_name='4.jpg'), {'missing_picture': 1}),
    ('duplicate_file_name', twice('images', id=4), {}),
    ('duplicate_annotation_id', twice('annotations', image_id=3), {}),
    ('duplicate_annotation', twice('annotations', id=9), {}),
    ('duplicate_category_id', twice('categories', name='Lid'), {}),
    ('duplicate_category_name', twice('categories', id=3, name='OBJECT'), {}),
    ('unknown_image_id', of_annotation(image_id=77), {}),
    ('unknown_category_id', of_annotation(category_id=77), {}),
    ('no_segmentation', of_annotation(segmentation=[]), {}),
    ('no_segmentation', without('annotations', 'segmentation'), {}),
    ('no_segmentation', of_annotation(segmentation=None), {}),
    ('broken_polygon', polygon(10, 10, 30, 10, 30, 30, 10), {}),
    ('broken_polygon', polygon(10, 10, 30, 30), {}),
    ('broken_polygon', polygon(10, 10, 30, 10, 30, math.nan), {}),
    ('broken_polygon', polygon(10, 10, 30, 10, 30, math.inf), {}),
    ('broken_polygon', polygon(10, 10, 20, 20, 30, 30), {}),
    ('broken_polygon', polygon(10, 10, 30, 10, 30, '30'), {}),
    ('broken_polygon', polygon(10, 10, 30, 10, 30, [30]), {}),
    ('broken_polygon', polygon(10, 10, 30, 10, 30, 10**400), {}),
    ('broken_polygon', of_annotation(segmentation=SQUARE[0]), {}),
    ('broken_polygon', of_annotation(segmentation=[[]]), {}),
    ('broken_rle', rle(size=[WIDTH, HEIGHT]), {}),
    ('broken_rle', rle(counts='garbage'), {}),
    ('broken_rle', rle(counts='\u00e9'), {}),
    ('broken_rle', rle(counts=''), {}),
    ('broken_rle', rle(counts=[HEIGHT * WIDTH]), {}),
    ('broken_rle', rle(counts=[5, 5]), {}),
    ('broken_rle', rle(counts=[HEIGHT * WIDTH + 5, -5]), {}),
    ('broken_rle', rle(counts=None), {}),
    ('broken_rle', rle(counts=[1.5]), {}),
    ('polygon_outside', polygon(10, 10, 30, 10, 30, 62, 10, 62), {'box_mismatch': 1, 'area_mismatch': 1}),
    ('box_outside', of_annotation(bbox=[10, 10, 80, 20]), {'box_mismatch': 1}),
    ('empty_box', of_annotation(bbox=[10, 10, 0, 20]), {'box_mismatch': 1}),
    ('empty_box', of_annotation(bbox=[10, 10, 20, -5]), {'box_mismatch': 1}),
    ('box_mismatch', of_annotation(bbox=[10, 10, 23, 20]), {}),
    ('area_mismatch', of_annotation(area=4000), {}),
    ('area_mismatch', of_annotation(area=0), {}),
]


@pytest.mark.parametrize(
    ('kind', 'change', 'others'), IN_THE_FILE, ids=[f'{place}-{it[0]}' for place, it in enumerate(IN_THE_FILE)]
)
def test_a_defect_in_the_file_is_named(folder, kind, change, others):
    content = document()
    change(content)
    write(folder / 'train.json', content)
    assert kinds(folder / 'train.json') == {kind: 1, **others}


@pytest.mark.parametrize(
    'change',
    [
        polygon(10, 10, 30, 10, 30.9, 30, 10, 30),
        of_annotation(bbox=[9, 9, 22, 22]),
        of_annotation(area=430),
        of_annotation(segmentation=[*SQUARE, *SQUARE]),  # drawn over itself it has the same area
        of_annotation(iscrowd=1),
        rle(counts=[40 * 60 + 20, *[30, 30] * 29, 30, 10 * 60 + 10]),
        lambda content: content['annotations'].append({**content['annotations'][0], 'id': 9, 'category_id': 2}),
        lambda content: content.update(info=None, licenses='none'),
    ],
)
def test_what_is_within_tolerance_or_no_defect_is_not_named(folder, change):
    content = document()
    change(content)
    write(folder / 'train.json', content)
    assert kinds(folder) == {}


def test_a_box_at_the_edge_may_leave_the_picture_by_a_pixel(folder):
    content = document()
    for right, expected in ((WIDTH + 0.9, {}), (WIDTH + 1.2, {'box_outside': 1, 'polygon_outside': 1})):
        area = 20 * (right - 60)
        corners = [60, 10, right, 10, right, 30, 60, 30]
        of_annotation(bbox=[60, 10, right - 60, 20], area=area, segmentation=[corners])(content)
        write(folder / 'train.json', content)
        assert kinds(folder) == expected


def test_a_defect_says_where_it_is(folder):
    content = document()
    of_annotation(area=4000)(content)
    write(folder / 'train.json', content)
    (defect,) = inspect(folder, workers=1).defects
    assert defect.to_dict() == dict(
        kind='area_mismatch',
        file='train.json',
        text='area is 4000, that of the segmentation 400',
        file_name='1.jpg',
        image_id=1,
        annotation_id=1,
    )
    assert defect.place == "image 1 '1.jpg', annotation 1"
