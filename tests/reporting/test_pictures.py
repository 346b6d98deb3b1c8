"""Pictures: what is painted and where, and the file that comes out."""

import copy

import cv2
import numpy as np
import pytest
from faster_coco_eval import COCO

from damamba.reporting.pictures import (
    LONG_SIDE,
    _arrange,
    _label,
    annotate,
    draw_detections,
    draw_objects,
    draw_sheet,
)

SIZE = (120, 160)  # height, width
FACTOR = LONG_SIDE / max(SIZE)
GREY = np.full((*SIZE, 3), 127, np.uint8)
SQUARE = [20.0, 60.0, 30.0, 40.0]  # x, y, width, height


def polygon(x, y, w, h) -> list[list[float]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def annotation(number: int, image_id: int, box=SQUARE, **more) -> dict:
    whole = dict(id=number, image_id=image_id, category_id=3, bbox=box, area=box[2] * box[3], iscrowd=0)
    return {**whole, 'segmentation': polygon(*box), **more}


def crowd(number: int, image_id: int) -> dict:
    """The lower half of the picture as an uncompressed RLE: 60 pixels outside, 60 inside, in each column."""
    counts = [60, 60] * SIZE[1]
    rle = dict(size=list(SIZE), counts=counts)
    return annotation(number, image_id, [0.0, 60.0, 160.0, 60.0], iscrowd=1, segmentation=rle)


@pytest.fixture
def truth() -> COCO:
    images = [dict(id=i, file_name=f'{i}.png', height=SIZE[0], width=SIZE[1]) for i in (1, 2, 3)]
    categories = [dict(id=3, name='key'), dict(id=7, name='cup')]
    return COCO(dict(images=images, categories=categories, annotations=[annotation(1, 1), crowd(2, 2)]))


@pytest.fixture
def folder(tmp_path, truth):
    for image in truth.dataset['images']:
        cv2.imwrite(str(tmp_path / image['file_name']), GREY)
    return tmp_path


def found(image_id=1, score=0.9, **more) -> dict:
    return {**annotation(0, image_id), 'score': score, **more}


def changed(entries: list[dict], truth: COCO) -> np.ndarray:
    """Which pixels of the enlarged grey picture are painted, in the picture's own pixels: the share of each."""
    scene = annotate(GREY, entries, truth)
    assert scene.shape == (round(SIZE[0] * FACTOR), LONG_SIDE, 3) and scene.dtype == np.uint8
    painted = (scene != 127).any(-1).astype(np.float32)
    return cv2.resize(painted, SIZE[::-1], interpolation=cv2.INTER_AREA)


def test_the_mask_is_painted_and_what_lies_far_from_it_is_not(truth):
    share = changed([annotation(1, 1)], truth)
    assert (share[60:100, 20:50] == 1).all()
    far = np.ones(SIZE, bool)
    far[40:104, 16:90] = False  # the mask, its outline and its label
    assert (share[far] == 0).all()


def test_the_picture_shows_through_the_mask_and_is_not_changed_itself(truth):
    before = GREY.copy()
    scene = annotate(GREY, [annotation(1, 1)], truth)
    inside = scene[round(80 * FACTOR), round(35 * FACTOR)].astype(int)
    assert 0 < np.abs(inside - 127).max() < 100 and (before == GREY).all()


def test_a_crowd_and_a_detection_are_painted_where_their_masks_are(truth):
    share = changed([crowd(2, 2)], truth)
    assert (share[64:] == 1).all() and (share[:40] == 0).all()
    share = changed([found(segmentation=truth.annToRLE(annotation(1, 1)))], truth)
    assert (share[60:100, 20:50] == 1).all() and (share[:40] == 0).all()


def test_without_entries_the_picture_is_enlarged_alone(truth):
    assert (changed([], truth) == 0).all()


def test_boxes_alone_are_seen_too(truth):
    boxed = {name: value for name, value in found().items() if name != 'segmentation'}
    share = changed([boxed], truth)
    assert (share[60:100, 20] > 0).all() and (share[100, 20:50] > 0).all()  # the left and the lower side


def test_an_object_without_a_mask_does_not_hide_those_of_the_others(truth):
    share = changed([annotation(1, 1), annotation(4, 1, [100.0, 10.0, 20.0, 20.0], segmentation=[])], truth)
    assert (share[60:100, 20:50] == 1).all()


def test_labels_say_class_score_and_crowd(truth):
    assert _label(annotation(1, 1), truth) == 'key'
    assert _label(found(score=0.876, category_id=7), truth) == 'cup 0.88'
    assert _label(crowd(2, 2), truth) == 'crowd of key'


@pytest.mark.parametrize('count', [1, 2, 3, 6])
def test_each_picture_has_its_ground_truth_and_its_detections_beside_it(folder, truth, count):
    path = draw_detections(folder, truth, [found()], folder / 'drawn.png', 'A title', count=count)
    assert path == folder / 'drawn.png' and path.read_bytes().startswith(b'\x89PNG\r\n')
    picture = cv2.imread(str(path))
    height, width = picture.shape[:2]
    assert 200 < height < 2000 and 500 < width < 2000
    assert (picture == 127).all(-1).mean() > 0.25 and (np.ptp(picture.reshape(-1, 3), axis=0) > 100).all()


def test_detections_below_the_least_score_and_of_other_pictures_are_left_out(folder, truth):
    def drawn(predictions):
        return cv2.imread(
            str(draw_detections(folder, truth, predictions, folder / 'drawn.png', '', count=1, least=0.6))
        )

    nothing = drawn([])
    assert (drawn([found(score=0.59), found(image_id=3)]) == nothing).all()
    assert (drawn([found(score=0.6)]) != nothing).any()


def test_tiles_stand_in_two_pairs_a_row_with_headings_above_the_first(truth):
    tiles = [np.full((90, 120, 3), value, np.uint8) for value in (10, 20, 30, 40, 50, 60)]
    figure = _arrange(tiles, ('truth', 'found'), 'A title')
    axes = np.array(figure.axes).reshape(2, 4)
    values = [[int(axis.images[0].get_array().max()) if axis.images else None for axis in row] for row in axes]
    assert values == [[10, 20, 30, 40], [50, 60, None, None]]
    assert [axis.get_title() for axis in axes[0]] == ['truth', 'found'] * 2 and not axes[1, 0].get_title()
    assert figure.get_suptitle() == 'A title'


def test_colours_are_those_of_the_picture(truth):
    """OpenCV's are blue, green, red, and a figure's red, green, blue."""
    blue = np.zeros((90, 120, 3), np.uint8)
    blue[..., 0] = 255
    shown = _arrange([blue, blue], ('a', 'b'), '').axes[0].images[0].get_array()
    assert (shown == (0, 0, 255)).all()


@pytest.mark.parametrize('content', [None, b'garbage'])
def test_a_missing_picture_is_an_error_that_names_it(folder, truth, content):
    (folder / '2.png').unlink()
    if content:
        (folder / '2.png').write_bytes(content)
    with pytest.raises(FileNotFoundError, match=r'2\.png is not there or no picture'):
        draw_detections(folder, truth, [], folder / 'drawn.png', '')
    assert not (folder / 'drawn.png').exists()


def test_nothing_that_goes_in_is_changed(folder, truth):
    predictions = [found()]
    before = copy.deepcopy((predictions, truth.dataset))
    draw_detections(folder, truth, predictions, folder / 'drawn.png', '')
    assert (predictions, truth.dataset) == before


def objects(**more) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[60:100, 20:50] = 1
    options = dict(masks=[mask], labels=['key'], colours=[0], long_side=320, boxed=True)
    return draw_objects(GREY, np.array([[15.0, 55.0, 55.0, 105.0]]), **{**options, **more})


def test_masks_and_boxes_are_drawn_in_the_size_that_is_asked_for():
    scene = objects()
    assert scene.shape == (240, 320, 3)
    painted = (scene != 127).any(-1)
    assert painted[120:200, 40:100].all() and painted[130, 30] and not painted[130, 35]  # mask, box, between them
    assert not (objects(boxed=False) != 127).any(-1)[130, 30]
    assert (objects(masks=None, boxed=False) != 127).any(-1)[130, 30]
    assert objects(long_side=80).shape == (60, 80, 3)


def test_equal_numbers_have_equal_colours():
    two = dict(masks=None, labels=['', ''])
    boxes = np.array([[5.0, 5.0, 50.0, 100.0], [90.0, 5.0, 150.0, 100.0]])

    def sides(colours):
        scene = draw_objects(GREY, boxes, colours=colours, long_side=160, **two)
        return scene[60, 5], scene[60, 90]

    assert (sides([4, 4])[0] == sides([4, 4])[1]).all() and (sides([4, 5])[0] != sides([4, 5])[1]).any()


def test_without_labels_there_are_the_objects_alone():
    bare, named = ((objects(labels=labels) != 127).any(-1) for labels in (None, ['key']))
    assert bare[120:200, 40:100].all() and not bare[:100].any() and named[:110].any()


def test_no_objects_leave_the_picture_as_it_is():
    assert (objects(masks=None, labels=[], colours=[], long_side=160) == GREY).all()


@pytest.mark.parametrize(('count', 'columns'), [(1, 1), (3, 3), (5, 4)])
def test_a_sheet_has_all_pictures_below_their_captions(tmp_path, count, columns):
    tiles = [np.full((60 + 10 * place, 80, 3), 40 * place, np.uint8) for place in range(count)]
    path = draw_sheet(tiles, ['a\nb'] * count, tmp_path / 'sheet.png', 'A title')
    picture = cv2.imread(str(path))
    assert abs(picture.shape[1] - columns * 480) <= 1
    for place in range(count):
        assert (picture == 40 * place).all(-1).mean() > 0.4 / columns / -(-count // columns)
