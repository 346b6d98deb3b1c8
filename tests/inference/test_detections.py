"""Detections as other tools take them, by hand-made masks: tables, COCO, polygons, pick points."""

import json
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from damamba.datasets.outlines import in_one, polygons_of
from damamba.inference.naming import Ids, Names
from damamba.inference.polygons import yolo_lines
from damamba.picking import draw_pick_points
from tests.inference.helpers import detections

SIZE = (40, 60)


def rectangle(left, top, right, bottom):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


FOUND = detections(
    [rectangle(10, 5, 30, 15), rectangle(40, 20, 50, 38)], [0.9, 0.2], [1, 0], milliseconds={'detect': 7.0}
)


def test_they_are_counted_chosen_and_decoded():
    assert len(FOUND) == 2 and FOUND.names == ['gear', 'ball'] and len(FOUND.above(0.5)) == 1
    assert FOUND[1].names == ['ball'] and FOUND[[1, 0]].scores.tolist() == pytest.approx([0.2, 0.9])
    assert [it.names[0] for it in FOUND] == ['gear', 'ball'] and len(FOUND[FOUND.scores > 1]) == 0
    assert (FOUND.masks == [rectangle(10, 5, 30, 15), rectangle(40, 20, 50, 38)]).all()
    assert FOUND[FOUND.scores > 1].masks.shape == (0, *SIZE) and FOUND.areas.tolist() == [200, 180]


def test_they_print_what_matters_first():
    first, *rows = str(FOUND).splitlines()
    assert first == 'a.jpg, 60 x 40: 1 gear and 1 below a score of 0.3, 7 ms'
    assert any(row.split() == ['gear', '0.900', '10', '5', '30', '15', '200'] for row in rows)
    assert (
        str(FOUND[FOUND.scores > 1]) == 'a.jpg, 60 x 40: nothing, 7 ms'
        and 'picture' not in repr(FOUND).split('classes')[0]
    )


def test_coco_results_have_the_ids_that_are_asked_for():
    found = FOUND.to_coco(7, [18, 44])
    assert [it['category_id'] for it in found['segm']] == [44, 18] and {it['image_id'] for it in found['bbox']} == {7}
    assert found['bbox'][0]['bbox'] == [10, 5, 20, 10] and found['bbox'][0]['score'] == float(np.float32(0.9))
    mask = rle.decode(json.loads(json.dumps(found['segm'][1]['segmentation'])))
    assert (mask == rectangle(40, 20, 50, 38)).all()
    boxes_alone = detections([rectangle(0, 0, 5, 5)], [1.0]).__class__(**{**vars(FOUND), 'rles': None})
    assert set(boxes_alone.to_coco()) == {'bbox'} and boxes_alone.masks is None
    with pytest.raises(ValueError, match='pick points need masks'):
        boxes_alone.pick_points()


def test_tables_and_supervision_have_every_value():
    table = pytest.importorskip('pandas') and FOUND.to_pandas()
    assert table.to_dict('list')['class'] == ['gear', 'ball'] and table['area'].tolist() == [200, 180]
    drawn = FOUND.to_supervision()
    assert drawn.data['class_name'].tolist() == ['gear', 'ball'] and (drawn.mask == FOUND.masks).all()


def test_a_drawn_picture_shows_what_scores_enough_and_keeps_the_rest():
    before, drawn = FOUND.picture.copy(), FOUND.draw(0.5)
    assert (FOUND.picture == before).all() and drawn.shape == before.shape
    assert (drawn[8:12, 14:26] != before[8:12, 14:26]).any() and (drawn[22:36, 42:48] == before[22:36, 42:48]).all()
    assert (FOUND.draw(0.95) == before).all()


@pytest.mark.parametrize('name', ['a.png', 'a.json', 'a.txt'])
def test_a_file_is_of_the_kind_that_its_name_says(name, tmp_path):
    path = FOUND.save(tmp_path / 'new' / name, score=0.1)
    content = path.read_bytes()
    assert {'a.png': b'\x89PNG', 'a.json': b'{"bbox', 'a.txt': b'1 0.16'}[name] == content[: {'a.png': 4}.get(name, 6)]
    assert [it.name for it in path.parent.iterdir()] == [name]
    with pytest.raises(ValueError, match=r'a.xyz: wanted a name that ends in .json, .txt'):
        FOUND.save(tmp_path / 'a.xyz')


def filled(outline):
    drawn = np.zeros((4 * SIZE[0], 4 * SIZE[1]), np.uint8)  # four times as fine: corners of pixels are not pixels
    cv2.fillPoly(drawn, [np.round(4 * outline).astype(int)], 1)
    return drawn[2::4, 2::4] > 0


@pytest.mark.parametrize('kind', ['rectangle', 'edge', 'disc', 'parts', 'pixel'])
def test_a_filled_outline_is_the_mask_again(kind):
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    mask = {
        'rectangle': rectangle(10, 5, 30, 15),
        'edge': rectangle(0, 0, 60, 3),
        'disc': (rows - 20) ** 2 + (columns - 30) ** 2 < 150,
        'parts': rectangle(2, 2, 12, 12) | rectangle(30, 20, 50, 36) | rectangle(40, 2, 44, 8),
        'pixel': rectangle(7, 9, 8, 10),
    }[kind]
    outline = in_one(polygons_of(mask))
    union = (filled(outline) | mask).sum()
    assert (filled(outline) & mask).sum() >= 0.97 * union


def test_yolo_has_one_line_an_object_in_shares_of_the_picture():
    lines = yolo_lines(detections([rectangle(15, 10, 30, 20), rectangle(0, 0, 5, 5) & False], [1, 1], [1, 0]))
    (line,) = lines  # an empty mask has no outline
    label, *numbers = line.split()
    points = {*zip(map(float, numbers[::2]), map(float, numbers[1::2]), strict=True)}
    assert label == '1' and points == {(0.25, 0.25), (0.5, 0.25), (0.5, 0.5), (0.25, 0.5)}


def test_a_pick_point_lies_deepest_in_its_mask():
    ring = rectangle(5, 5, 35, 35) & ~rectangle(15, 15, 33, 33)  # thick at its left and its top
    (point,) = detections([ring], [0.8]).pick_points()
    row, column = int(point.y), int(point.x)
    assert ring[row, column] and point.clearance == pytest.approx(5, abs=1) and column < 15 and row < 15
    edge = detections([rectangle(0, 0, 9, 9)], [0.8]).pick_points()[0]
    assert (edge.x, edge.y) == (4.5, 4.5) and edge.clearance == 4.5  # the picture's edge is one


def test_what_lies_on_top_is_picked_first():
    lower = rectangle(5, 5, 35, 25) & ~rectangle(15, 5, 35, 15)  # a corner of it is covered
    upper, score = rectangle(15, 5, 35, 15), 0.9
    first, second = detections([lower, upper], [score, 0.8]).pick_points()
    assert (first.place, second.place) == (1, 0) and first.covered == 0
    assert second.covered == pytest.approx(100 / 500, abs=0.04)  # half of what the upper one takes lies in the hull
    assert detections([lower, upper], [score, 0.8]).pick_points(0.85)[0].covered == 0  # the other is not looked at
    drawn = draw_pick_points(FOUND.picture, [first, second])
    assert (drawn != FOUND.picture).any() and (FOUND.picture == 90).all()


def test_names_are_never_taken_twice():
    names = Names()
    given = ('a/x.jpg', 'a/x.png', 'A/X.jpg', '../../etc/x', '/x.jpg', 'b/x', '', '//x', 'a.MP4/0', 'a.b/0')
    assert [names.claim(it) for it in given] == [
        'a/x', 'a/x_2', 'A/X_3', 'etc/x', 'x', 'b/x', 'picture', 'x_2', 'a_MP4/0', 'a.b/0',
    ]  # fmt: skip
    assert Names('classes').claim('classes.jpg') == 'classes_2'


def test_ids_are_those_of_annotations_else_those_in_names():
    images = [{'id': 5, 'file_name': 'a.jpg'}, {'id': 9, 'file_name': 'b/a.jpg'}, {'id': 1, 'file_name': 'c.jpg'}]
    ids = Ids({'images': images, 'categories': [{'id': 4, 'name': 'gear'}, {'id': 2, 'name': 'ball'}]})
    given = ['a.jpg', 'b/a.jpg', 'elsewhere/c.jpg', '000000000012.jpg', 'c.jpg', 'video.mp4/000012']
    found = [ids.of_picture(detections([rectangle(0, 0, 1, 1)], [1], name=name)) for name in given]
    assert found[:4] == [5, 9, 1, 12] and len({*found}) == 6
    assert ids.of_classes(('ball', 'gear')) == [2, 4] and ids.of_classes(('ball', 'star')) == [1, 2]
    coco = ('person', *map(str, range(78)), 'toothbrush')
    assert Ids().of_classes(coco)[-1] == 90 and Ids().of_classes(coco)[10:12] == [11, 13]


def test_numbering_many_pictures_takes_no_longer_for_the_last():
    ids, one = Ids(), detections([rectangle(0, 0, 1, 1)], [1])
    start = time.perf_counter()
    numbers = [ids.of_picture(replace(one, name=f'{number}/7.jpg')) for number in range(20_000)]
    assert numbers[:9] == [7, 1, 2, 3, 4, 5, 6, 8, 9] and len({*numbers}) == 20_000
    assert time.perf_counter() - start < 5
