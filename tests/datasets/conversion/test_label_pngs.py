"""Pictures of labels: values of 8 and 16 bits and colours, class maps, values that are classes; and wrong ones."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from damamba.datasets.conversion import ConversionError, Options, convert
from damamba.datasets.demo import write_shapes
from damamba.datasets.inspection import inspect_dataset
from tests.datasets.conversion.sources import (
    BOX,
    MASKS,
    SIZE,
    labels_of_a,
    mask_of,
    write_labels,
    write_pictures,
    write_text,
)
from tests.datasets.conversion.test_there_and_back import counts_of, digest, masks_of

X, Y, WIDTH, HEIGHT = BOX
FILLED = mask_of([(X, Y), (X + WIDTH, Y + HEIGHT)])
SCENE = {**MASKS, 'b.jpg': [('dog', FILLED)], 'empty.png': []}
COUNTS = dict(pictures=3, empty=1, objects=4, boxes=0, crowds=0, parts=5, holes=1)
CLASSES = dict(cat=2, dog=2)


def colours(values: np.ndarray) -> np.ndarray:
    """Unlike channels for every value but 0."""
    return np.stack([values * 50 % 256, values * 3 % 256, values // 2], -1).astype(np.uint8)


def write_source(folder, values, images='images', masks='masks', name='{}.png', as_colours=False):
    """The scene, its objects in a.png with these values, that in b.jpg with the last."""
    write_pictures(folder / images)
    for stem, labels in (('a', labels_of_a(*values)), ('b', FILLED * values[-1]), ('empty', FILLED * 0)):
        path = folder / masks / name.format(stem)
        write_labels(path, labels)
        if as_colours:
            Image.fromarray(colours(labels)).save(path)
    return folder


def classes_csv(values, head='') -> str:
    rows = [f'a.png,{value},{name}' for value, name in zip(values, ('cat', 'dog', 'cat'), strict=True)]
    return '\n'.join([*head.splitlines(), *rows, f'b.jpg,{values[-1]},dog', ''])


def assert_scene(folder, split='all'):
    found = masks_of(COCO(folder / 'annotations' / f'instances_{split}.json'))
    assert {*found} == {*SCENE}
    for picture, truth in SCENE.items():
        assert sorted(name for name, _ in found[picture]) == sorted(name for name, _ in truth)
        for name, mask in truth:
            assert any(name == other and (mask == own).all() for other, own in found[picture]), (picture, name)


@pytest.mark.parametrize(
    ('values', 'options', 'head'),
    [
        ((1, 2, 3), {}, ''),
        ((255, 128, 7), dict(name='{}_mask.png'), 'image,value,class'),
        ((1000, 2000, 65535), dict(images='img', masks='labels'), ''),
        ((5, 6, 7), dict(images='.', masks='.', name='{}-instance_ids.png'), 'file,id,name'),
    ],
)
def test_a_value_is_an_object_of_the_class_that_a_map_says(tmp_path, values, options, head):
    source = write_source(tmp_path / 'source', values, **options)
    write_text(source / 'class_map.csv', classes_csv(values, head))
    before = digest(source)
    done = convert(source, tmp_path / 'coco')
    assert (done.source, done.categories) == ('label-png', ['cat', 'dog'])
    assert counts_of(done.read) == counts_of(done.written) == (COUNTS, CLASSES)
    assert not done.left_out.counts and not done.notes and digest(source) == before
    assert_scene(tmp_path / 'coco') or inspect_dataset(tmp_path / 'coco').defects == []
    convert(tmp_path / 'coco', tmp_path / 'yolo', target_format='yolo-seg')
    back = convert(tmp_path / 'yolo', tmp_path / 'back')
    assert counts_of(back.written) == (COUNTS, CLASSES)
    assert_scene(tmp_path / 'back', back.written.splits.most_common()[0][0])


def test_splits_and_colours_and_a_map_in_json(tmp_path):
    source = write_source(tmp_path / 's', (1, 2, 3), 'val/images', 'val/masks', as_colours=True)
    red, green, blue = np.moveaxis(colours(np.arange(4)), -1, 0).astype(int)
    one, two, three = (red + 256 * green + 65536 * blue)[1:].tolist()
    own = {'a.png': {f'{one}': 'cat', f'{two}': 'dog', f'{three}': 'cat'}, 'val/images/b.jpg': {f'{three}': 'dog'}}
    write_text(tmp_path / 'own.json', json.dumps(own))
    done = convert(source, tmp_path / 'coco', options=Options(class_map=tmp_path / 'own.json'))
    assert counts_of(done.written) == (COUNTS, CLASSES)
    assert_scene(tmp_path / 'coco', 'val')


@pytest.mark.parametrize('first', ['dog', 'black at the end'])
def test_black_is_the_background_of_a_palette_whatever_its_number(tmp_path, first):
    """As Pillow's quantize() deals numbers out: 0 is an object, and the same colour has another number elsewhere."""
    source = write_source(tmp_path / 'source', (1, 2, 3))
    numbers = np.array([2, 1, 0, 3] if first == 'dog' else [3, 0, 1, 2])  # of the background and the three objects
    palette = np.zeros((4, 3), int)
    palette[numbers] = colours(np.arange(4))
    write_labels(source / 'masks' / 'a.png', numbers[labels_of_a(1, 2, 3)], palette.ravel().tolist())
    Image.fromarray(colours(FILLED * 3)).quantize().save(source / 'masks' / 'b.png')
    by_colour = [f'{it[0] + 256 * it[1] + 65536 * it[2]}' for it in colours(np.arange(1, 4)).astype(int)]
    write_text(source / 'class_map.csv', classes_csv(by_colour))
    done = convert(source, tmp_path / 'coco')
    assert counts_of(done.read) == counts_of(done.written) == (COUNTS, CLASSES) and not done.left_out.counts
    assert len(done.notes) == 1 and 'black is not number 0: 2; ' in done.notes[0]
    assert_scene(tmp_path / 'coco')


def test_drawn_scenes_come_back_pixel_by_pixel(tmp_path):
    write_shapes(tmp_path / 'shapes', images=4, val_images=1, size=96, seed=8)
    truth = COCO(tmp_path / 'shapes' / 'annotations' / 'instances_train2017.json')
    rows, right = [], {}
    for image in truth.imgs.values():
        labels, name = np.zeros((96, 96), int), image['file_name']
        for value, it in enumerate(truth.imgToAnns[image['id']], 1):
            labels[truth.annToMask(it) > 0] = value
            rows.append(f'{name},{value},{truth.cats[it["category_id"]]["name"]}')
        write_labels(tmp_path / 'shapes' / 'masks' / f'{name[:-4]}.png', labels)
        right[name] = labels
    write_text(tmp_path / 'rows.csv', '\n'.join(rows))
    source = tmp_path / 'shapes'
    (source / 'train2017').rename(source / 'images')
    done = convert(source, tmp_path / 'coco', 'label-png', options=Options(class_map=tmp_path / 'rows.csv'))
    found = COCO(tmp_path / 'coco' / 'annotations' / 'instances_all.json')
    assert done.written.objects == sum(len(np.unique(labels)) - 1 for labels in right.values()) > 10
    for image in found.imgs.values():
        masks = [found.annToMask(it) > 0 for it in found.imgToAnns[image['id']]]
        labels = right.get(image['file_name'], np.zeros((96, 96), int))
        for value, mask in zip(np.unique(labels)[1:], masks, strict=True):
            np.testing.assert_array_equal(mask, labels == value)


def test_without_a_map_all_are_of_one_class(tmp_path):
    source = write_source(tmp_path / 'source', (1, 2, 3))
    done = convert(source, tmp_path / 'coco')
    assert done.written.classes == {'object': 4} and '--class-map says which' in done.notes[0]
    done = convert(source, tmp_path / 'cups', options=Options(classes=('cup',)))
    assert done.written.classes == {'cup': 4} and not done.notes


@pytest.mark.parametrize('named', [dict(classes=('cat', 'dog')), dict(class_map='{"1": "cat", "2": "dog"}')])
def test_values_that_are_classes_become_their_connected_pieces(tmp_path, named):
    source = write_source(tmp_path / 'source', (1, 2, 1))
    write_labels(source / 'masks' / 'b.png', FILLED * 2)
    if text := named.pop('class_map', None):
        write_text(source / 'class_map.json', text)
    done = convert(source, tmp_path / 'coco', options=Options(values='classes', **named))
    assert done.written.objects == 5 and done.written.classes == dict(cat=2, dog=3)  # the dog of two parts is two
    assert done.written.holes == 1 and done.written.parts == 5
    assert_scene_of_pieces(tmp_path / 'coco')


def assert_scene_of_pieces(folder):
    found = masks_of(COCO(folder / 'annotations' / 'instances_all.json'))
    for name in ('cat', 'dog'):
        right = np.any([mask for other, mask in SCENE['a.png'] if other == name], 0)
        np.testing.assert_array_equal(np.any([mask for other, mask in found['a.png'] if other == name], 0), right)


WRONG = [
    (dict(), '{"1": "cat", "2": "dog"}', 'gives a value the same class in all pictures, so say what it is: --values'),
    (dict(classes=('cat', 'dog')), None, 'nothing says which of the classes an object is'),
    (dict(values='classes'), None, 'values that are classes need names'),
    (dict(), '[1]', 'not an object such as {"1": "cat"}'),
    (dict(), '{"a": "cat"}', "'a' is no value from 0 on"),
    (dict(), '{"1": 3}', 'has no class'),
    (dict(), '{}', 'names no class'),
    (dict(), '{', 'is no JSON'),
]


@pytest.mark.parametrize(('options', 'text', 'sentence'), WRONG)
def test_maps_that_do_not_say_it_are_one_sentence(tmp_path, options, text, sentence):
    source = write_source(tmp_path / 'source', (1, 2, 3))
    if text:
        write_text(source / 'class_map.json', text)
    with pytest.raises(ConversionError) as raised:
        convert(source, tmp_path / 'coco', options=Options(**options))
    assert sentence in str(raised.value) and '\n' not in str(raised.value) and not (tmp_path / 'coco').exists()


@pytest.mark.parametrize('count', [12, 2])
def test_values_whose_pieces_lie_apart_are_taken_for_classes_and_refused(tmp_path, count):
    write_pictures(tmp_path / 'source' / 'images')
    labels = np.kron(np.arange(48).reshape(6, 8) % 12 + 1, np.ones((8, 8), int))
    write_labels(tmp_path / 'source' / 'masks' / 'a.png', np.where(labels > count, 0, labels))
    match = f'{count} of {count} values have several pieces, so say what it is: --values classes'
    with pytest.raises(ConversionError, match=match):
        convert(tmp_path / 'source', tmp_path / 'coco')
    done = convert(tmp_path / 'source', tmp_path / 'coco', options=Options(values='objects'))
    assert (done.written.objects, done.written.parts) == (count, 4 * count)


@pytest.mark.parametrize('edges', ['blurred', 'enlarged', 'turned'])
def test_soft_edges_are_no_objects(tmp_path, edges):
    """Rings of one piece, and slivers of several: the shades of one mask."""
    source, (width, height) = write_source(tmp_path / 'source', (1, 2, 3)), SIZE
    hard = np.uint8(255) * FILLED
    soft = {
        'blurred': cv2.GaussianBlur(hard, (0, 0), 2),
        'enlarged': cv2.resize(hard[::16, ::16], SIZE, interpolation=cv2.INTER_LINEAR),
        'turned': cv2.warpAffine(hard, cv2.getRotationMatrix2D((width / 2, height / 2), 20, 1), SIZE),
    }[edges]
    Image.fromarray(soft).save(source / 'masks' / 'b.png')
    with pytest.raises(ConversionError, match='masks/b.png: .* as in soft edges: .* --values classes') as raised:
        convert(source, tmp_path / 'coco')
    assert '\n' not in str(raised.value)
    shades = len(np.unique(soft)) - 1
    assert convert(source, tmp_path / 'coco', options=Options(values='objects')).written.objects == 3 + shades


def test_masks_of_classes_as_roboflow_writes_them(tmp_path):
    """With ``_classes.csv`` in the folder of each split, which are the same; 0 is called a class there."""
    for split in ('train', 'valid'):
        folder = write_source(tmp_path / 'source', (1, 2, 1), split, split, '{}_mask.png') / split
        write_text(folder / '_classes.csv', 'Pixel Value, Class\n0, background\n1, cat\n2, dog\n')
    with pytest.raises(
        ConversionError, match='train/_classes.csv gives a value the same class in all pictures, so say'
    ):
        convert(tmp_path / 'source', tmp_path / 'coco')
    done = convert(tmp_path / 'source', tmp_path / 'coco', options=Options(values='classes'))
    assert done.categories == ['cat', 'dog'] and not done.left_out.counts and not done.notes
    assert done.written.splits == dict(train=3, val=3) and done.written.classes == dict(cat=6, dog=4)
    write_text(folder / '_classes.csv', '1, dog\n2, cat\n')
    with pytest.raises(ConversionError, match='name classes differently: convert each folder by itself'):
        convert(tmp_path / 'source', tmp_path / 'other', options=Options(values='classes'))


def test_labels_that_are_of_no_use_are_counted(tmp_path):
    source = write_source(tmp_path / 'source', (1, 2, 3))
    write_text(source / 'class_map.csv', classes_csv((1, 2, 9)))
    write_labels(source / 'masks' / 'b.png', FILLED[:-1] * 3)
    (source / 'masks' / 'empty.png').write_bytes(b'broken')
    write_labels(source / 'masks' / 'lost.png', FILLED * 1)
    Image.fromarray(FILLED).save(source / 'masks' / 'a.jpg')
    done = convert(source, tmp_path / 'coco')
    left = {(what, why.split(' (')[0]): count for (what, why), count in done.left_out.counts.items()}
    assert left == {
        ('objects', 'class_map.csv has no class for it'): 1 + 1,
        ('pictures', 'the labels are of another size than the picture'): 1,
        ('pictures', 'its labels are of no use'): 1,
        ('label files', 'the picture is not there'): 1,
        ('label files', 'another has the same name but for its end'): 1,
    }
    assert done.written.objects == 2 and done.read.objects == 4


def test_labels_that_a_link_leads_out_to_are_not_read(tmp_path):
    source, secret = write_source(tmp_path / 'source', (1, 2, 3)), tmp_path / 'secret.png'
    (source / 'masks' / 'a.png').rename(secret)
    (source / 'masks' / 'a.png').symlink_to(secret)
    done = convert(source, tmp_path / 'coco')
    assert done.left_out.counts['label files', 'it leads out of the folder'] == 1 and done.written.objects == 1
    assert convert(source, tmp_path / 'all', options=Options(follow_links=True)).written.objects == 4


def test_labels_of_a_picture_as_it_is_stored_are_turned_with_it(tmp_path):
    source = write_source(tmp_path / 'source', (1, 2, 3))
    picture, exif = Image.open(source / 'images' / 'b.jpg'), Image.Exif()
    exif[0x0112] = 6  # a quarter turn, clockwise
    picture.save(source / 'images' / 'b.jpg', exif=exif)
    convert(source, tmp_path / 'coco')
    found = COCO(tmp_path / 'coco' / 'annotations' / 'instances_all.json')
    ((_, mask),) = masks_of(found)['b.jpg']
    np.testing.assert_array_equal(mask, np.rot90(FILLED, -1))


def test_a_bomb_of_labels_is_not_decoded(tmp_path):
    source = write_source(tmp_path / 'source', (1, 2, 3))
    Image.new('1', (9000, 9000)).save(source / 'masks' / 'a.png')
    done = convert(source, tmp_path / 'coco')
    assert any('9000 x 9000 pixels are too many' in why for _, why in done.left_out.counts)
    assert SIZE == (64, 48) and done.written.pictures == 2
