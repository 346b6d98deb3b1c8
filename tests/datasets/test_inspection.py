"""Looking through a data set: what is counted, and that each kind of defect is made, found and named."""

import copy
import json
import math
import random

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.datasets.demo import write_shapes
from damamba.datasets.inspection import KINDS, InspectionError, inspect
from damamba.datasets.inspection.files import group, guess_folder, split_of
from damamba.datasets.inspection.outlines import OutlineError, _uncompressed, read_outline
from damamba.datasets.inspection.pictures import look_at

HEIGHT, WIDTH = 60, 80
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def rle_of(left=40, top=20, right=70, bottom=50, height=HEIGHT, width=WIDTH) -> dict:
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    return dict(size=[height, width], counts=rle['counts'].decode())


def document() -> dict:
    """Three pictures, two objects in the first and one in the second, none in the third."""
    images = [dict(id=i, file_name=f'{i}.jpg', width=WIDTH, height=HEIGHT) for i in (1, 2, 3)]
    shared = dict(iscrowd=0, category_id=1)
    square = dict(image_id=1, bbox=[10, 10, 20, 20], area=400, segmentation=SQUARE, **shared)
    other = dict(image_id=1, bbox=[40, 20, 30, 30], area=900.0, segmentation=rle_of(), **shared)
    annotations = [dict(id=1, **square), dict(id=2, **other), dict(id=3, **{**square, 'image_id': 2})]
    categories = [dict(id=1, name='Object'), dict(id=2, name='Tote')]
    return dict(images=images, annotations=annotations, categories=categories)


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """ARMBench's layout: pictures in images/ beside the file."""
    (tmp_path / 'images').mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / 'images' / f'{number}.jpg'), picture(number))
    write(tmp_path / 'train.json', document())
    return tmp_path


def write(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')


def kinds(path, **options) -> dict[str, int]:
    return dict(inspect(path, workers=1, **options).kinds)


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


def of_image(**fields):
    return lambda content: content['images'][0].update(fields)


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


# The pictures ------------------------------------------------------------------------------------------------------


def test_a_missing_picture_is_named_and_so_is_a_name_that_none_can_have(folder):
    (folder / 'images' / '2.jpg').unlink()
    assert kinds(folder) == {'missing_picture': 1}
    for name in ('a\0b.jpg', 'n' * 5000, '../images', '\ud800.jpg'):
        content = document()
        of_image(file_name=name)(content)
        write(folder / 'train.json', content)
        assert sum(kinds(folder).values()) == 2


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'webp'])
def test_a_cut_off_picture_is_named_unless_pixels_are_left_out(folder, suffix):
    whole = cv2.imencode(f'.{suffix}', picture(2))[1].tobytes()
    (folder / 'images' / '2.jpg').write_bytes(whole[: len(whole) // 2])
    assert kinds(folder) == {'undecodable_picture': 1}
    assert cv2.imdecode(np.frombuffer(whole[: len(whole) // 2], np.uint8), cv2.IMREAD_COLOR) is None or suffix == 'bmp'
    assert kinds(folder, decode=False) == {} or suffix == 'webp'


@pytest.mark.parametrize('decode', [True, False])
@pytest.mark.parametrize('content', [b'', b'garbage', b'\xff\xd8\xff'])
def test_what_is_no_picture_is_named(folder, content, decode):
    (folder / 'images' / '2.jpg').write_bytes(content)
    assert kinds(folder, decode=decode) == {'undecodable_picture': 1}


def test_a_picture_of_another_size_is_named(folder):
    cv2.imwrite(str(folder / 'images' / '2.jpg'), picture(2)[:-1])
    (defect,) = inspect(folder, workers=1).defects
    assert (defect.kind, defect.text) == ('size_mismatch', 'listed as 80 x 60, MMDetection reads 80 x 59')


def turned(orientation: int, path, pixels) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_sizes_are_those_that_mmdetection_reads_whatever_the_orientation(tmp_path, orientation, suffix):
    from mmcv.transforms import LoadImageFromFile

    path = tmp_path / f'a.{suffix}'
    turned(orientation, path, picture(1))
    read = LoadImageFromFile().transform(dict(img_path=str(path)))['img']
    assert look_at(path, decode=True).fed == read.shape[1::-1]


def test_a_picture_that_its_orientation_turns_is_a_defect_or_a_note(folder):
    path = folder / 'images' / '2.jpg'
    turned(6, path, picture(2))
    (defect,) = inspect(folder, workers=1).defects
    assert defect.kind == 'exif_turned' and 'listed as 80 x 60, MMDetection reads 60 x 80' in defect.text
    turned(6, path, picture(2).transpose(1, 0, 2))
    found = inspect(folder, workers=1)
    assert found.defects == [] and 'train.json: 1 picture with an EXIF orientation' in found.notes[0]


def test_copies_within_a_file_are_named(folder):
    (folder / 'images' / '3.jpg').write_bytes((folder / 'images' / '1.jpg').read_bytes())
    (defect,) = inspect(folder, workers=1, decode=False).defects
    assert (defect.kind, defect.file_name, defect.text) == ('same_picture', '3.jpg', "it has the same bytes as '1.jpg'")


# Several files -----------------------------------------------------------------------------------------------------


def part(content: dict, *numbers: int) -> dict:
    images = [it for it in content['images'] if it['id'] in numbers]
    annotations = [it for it in content['annotations'] if it['image_id'] in numbers]
    return {**content, 'images': images, 'annotations': annotations}


def test_a_picture_in_two_splits_is_a_leak(folder):
    write(folder / 'train.json', part(document(), 1, 3))
    write(folder / 'val.json', part(document(), 2))
    write(folder / 'test.json', part(document(), 2))
    found = inspect(folder, workers=1)
    assert [(it.kind, it.file, it.text) for it in found.defects] == [
        ('leak', 'test.json', "it is in val.json too, as '2.jpg'")
    ]
    assert found.total.pictures == 4


def test_the_same_bytes_under_another_name_are_a_leak(tmp_path):
    for split, number in (('train', 1), ('val', 2)):
        (tmp_path / f'{split}2017').mkdir()
        cv2.imwrite(str(tmp_path / f'{split}2017' / f'{number}.jpg'), picture(5))
        write(tmp_path / 'annotations' / f'instances_{split}2017.json', part(document(), number))
    (defect,) = inspect(tmp_path, workers=1).defects
    assert (defect.kind, defect.file_name) == ('leak', '1.jpg') and "as '2.jpg'" in defect.text


def test_equal_names_in_unlike_folders_are_no_leak(tmp_path):
    for number, split in enumerate(('train', 'val')):
        (tmp_path / f'{split}2017').mkdir()
        cv2.imwrite(str(tmp_path / f'{split}2017' / '1.jpg'), picture(number))
        write(tmp_path / 'annotations' / f'instances_{split}2017.json', part(document(), 1))
    assert kinds(tmp_path) == {}


def test_files_of_which_nobody_knows_the_split_share_pictures_as_a_note(folder):
    write(folder / 'all.json', document())
    found = inspect(folder, workers=1)
    assert found.defects == [] and found.notes == ['all.json and train.json share 3 pictures: 1.jpg, 2.jpg, 3.jpg']


def test_categories_that_differ_between_files_are_notes(folder):
    other = part(document(), 2)
    other['categories'] = [dict(id=2, name='object')]
    other['annotations'][0]['category_id'] = 2
    write(folder / 'train.json', part(document(), 1, 3))
    write(folder / 'val.json', other)
    found = inspect(folder, workers=1)
    assert found.defects == [] and found.notes == [
        'not in val.json: Tote',
        'unlike ids in train.json; in val.json: Object',
        'where categories differ between files, NamedCocoDataset and ARMBenchDataset go by their names',
    ]


def test_every_subset_of_armbench_is_found_with_its_pictures(folder):
    subset = folder / 'same-object-transfer-set'
    (subset / 'images').mkdir(parents=True)
    cv2.imwrite(str(subset / 'images' / '2.jpg'), picture(9))
    write(subset / 'test.json', part(document(), 2))
    found = inspect(folder, workers=1)
    assert found.defects == [] and [file.name for file in found.files] == [
        'same-object-transfer-set/test.json',
        'train.json',
    ]
    assert [file.folder.parent for file in found.files] == [subset, folder]


@pytest.mark.parametrize(
    ('names', 'text'),
    [
        (['test.json'], 'test.json'),
        (['test.json', 'a/test.json', 'a/val.json'], 'test.json, a/{test, val}.json'),
        ([f'{folder}/{split}.json' for folder in 'ab' for split in ('test', 'val')], '{a, b}/{test, val}.json'),
        (['test.json', 'a/test.json'], '{., a}/test.json'),
        ([f'{split}.json' for split in 'abcdefg'], '{a, b, c, d, e and 2 more}.json'),
        (
            [f'{place}/{place}.json' for place in 'abcdefg'],
            'a/a.json, b/b.json, c/c.json, d/d.json, e/e.json and 2 more',
        ),
    ],
)
def test_what_files_share_is_said_once(names, text):
    assert group(names) == text


def test_an_empty_file_has_neither_pictures_nor_objects_nor_categories(tmp_path):
    write(tmp_path / 'train.json', dict(images=[], annotations=[], categories=[]))
    assert kinds(tmp_path) == {'no_pictures': 1, 'no_objects': 1, 'no_categories': 1}


def test_what_is_not_cocos_is_left_out_with_a_reason(folder):
    write(folder / 'list.json', [1, 2])
    write(folder / 'captions_val.json', dict(images=[], annotations=[]))
    write(folder / 'panoptic.json', {**document(), 'annotations': [dict(segments_info=[])]})
    (folder / 'notes.txt').write_text('{}')
    found = inspect(folder, workers=1)
    assert len(found.files) == 1 and found.left_out == {
        'captions_val.json': 'no categories',
        'list.json': 'no object with images, annotations and categories',
        'panoptic.json': 'panoptic segments',
    }


def test_files_are_found_through_links_once(folder, tmp_path_factory):
    linked = tmp_path_factory.mktemp('linked')
    (linked / 'data').symlink_to(folder)
    (folder / 'again').symlink_to(folder)
    assert [file.name for file in inspect(linked, workers=1).files] == ['data/train.json']


@pytest.mark.parametrize('make', [lambda path: None, lambda path: path.mkdir(), lambda path: write(path / 'a.json', 3)])
def test_where_nothing_is_to_be_inspected_an_error_says_so(tmp_path, make):
    make(tmp_path / 'set')
    with pytest.raises(InspectionError):
        inspect(tmp_path / 'set')


@pytest.mark.parametrize('content', [b'', b'{"images": [', b'\xff\xfe', b'[' * 100_000, b'9' * 10_000])
def test_what_is_no_json_is_a_defect(tmp_path, content):
    (tmp_path / 'train.json').write_bytes(content)
    assert kinds(tmp_path) == kinds(tmp_path / 'train.json') == {'not_json': 1}


@pytest.mark.parametrize('content', [None, 3, 'text', [], [[]], {}])
def test_a_file_that_was_named_is_taken_for_cocos(tmp_path, content):
    write(tmp_path / 'a.json', content)
    assert set(kinds(tmp_path / 'a.json')) == ({'missing_field'} if content == {} else {'wrong_type'})


@pytest.mark.parametrize(
    ('file', 'pictures'),
    [
        ('annotations/instances_train2017.json', 'train2017'),
        ('train.json', 'images'),
        ('annotations/train.json', 'images/train'),
        ('annotations/train.json', 'train'),
        ('train/_annotations.coco.json', 'train'),
        ('instances_val.json', '.'),
        ('annotations/val.json', 'images'),
    ],
)
def test_the_folder_of_the_pictures_is_guessed(tmp_path, file, pictures):
    for place in ('images', 'val2017', 'train', 'images/train'):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / pictures).mkdir(parents=True, exist_ok=True)
    (tmp_path / pictures / 'a.jpg').touch()
    (tmp_path / file).parent.mkdir(exist_ok=True)
    assert guess_folder(tmp_path / file, ['a.jpg']).resolve() == (tmp_path / pictures).resolve()


@pytest.mark.parametrize(
    ('path', 'split'),
    [
        ('instances_train2017.json', 'train'),
        ('minival.json', 'val'),
        ('image_info_test-dev2017.json', 'test'),
        ('trainval.json', None),
        ('valid/_annotations.coco.json', 'val'),
        ('all.json', None),
        ('latest.json', None),
    ],
)
def test_the_split_is_told_by_the_name(tmp_path, path, split):
    assert split_of(tmp_path / 'set' / path) == split


# Anything at all ---------------------------------------------------------------------------------------------------

STRANGE = (
    None,
    True,
    -1,
    0,
    1,
    2.5,
    1e308,
    10**30,
    math.nan,
    -math.inf,
    '',
    'x',
    '\ud800\x1b[31m',
    [],
    [[]],
    {},
    [1],
    {'a': 1},
)


def spoil(node, rng: random.Random):
    """Put something strange, or nothing, in a random place."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = rng.choice(keys)
        if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.8:
            node = node[key]
        elif rng.random() < 0.2:
            del node[key]
            return
        else:
            node[key] = copy.deepcopy(rng.choice(STRANGE))
            return


@pytest.mark.parametrize('seed', range(5))
def test_anything_at_all_is_looked_through_and_shown(folder, seed):
    from damamba.datasets.inspection.tables import render

    rng = random.Random(seed)
    for _ in range(40):
        content = copy.deepcopy(document())
        for _ in range(rng.randint(1, 6)):
            if content:
                spoil(content, rng)
        write(folder / 'train.json', content)
        found = inspect(folder / 'train.json', workers=1, decode=False)
        assert set(found.kinds) <= set(KINDS)
        text = render(found)
        assert text.encode() and '\x1b' not in text
        json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_compressed_runs_are_read_as_pycocotools_reads_them():
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(1, 60, 2)
        mask = np.asfortranarray(rng.random((height, width)) < rng.random(), np.uint8)
        if not mask.any():
            continue
        rle = coco_mask.encode(mask)
        runs = _uncompressed(rle['counts'].decode())
        assert runs.sum() == mask.size
        values = np.arange(len(runs)) % 2
        assert (np.repeat(values, runs).reshape(height, width, order='F') == mask).all()
        outline = read_outline(dict(size=[int(height), int(width)], counts=rle['counts'].decode()), height, width)
        left, top, across, down = coco_mask.toBbox(rle)
        assert outline.area == mask.sum() and outline.box == (left, top, left + across, top + down)


def test_any_text_is_a_compressed_mask_or_a_defect():
    rng = random.Random(0)
    for _ in range(2000):
        text = ''.join(chr(rng.randint(1, 200)) for _ in range(rng.randint(0, 30)))
        with pytest.raises(OutlineError):
            read_outline(dict(size=[50, 50], counts=text), 50, 50)
