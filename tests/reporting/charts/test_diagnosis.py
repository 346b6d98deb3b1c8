"""Pictures of a diagnosis: which, what is painted in them, and what is said above them."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from damamba.evaluation.diagnosis import diagnose
from damamba.reporting import charts
from tests.reporting.charts.test_examples import captions, tiles

SHAPE = (120, 160)


def square(x: int, y: int, side: int = 24) -> dict:
    mask = np.zeros(SHAPE, np.uint8, order='F')
    mask[y : y + side, x : x + side] = 1
    encoded = rle.encode(mask)
    return {'size': list(SHAPE), 'counts': encoded['counts'].decode()}


@pytest.fixture
def scene(tmp_path):
    """Seven pictures, the first without objects, of two objects of two classes each, and a crowd in the third."""
    images, annotations = [], []
    for n in range(7):
        images.append({'id': n, 'file_name': f'{n}.png', 'height': SHAPE[0], 'width': SHAPE[1]})
        cv2.imwrite(str(tmp_path / f'{n}.png'), np.full((*SHAPE, 3), 127, np.uint8))
        for k, place in enumerate([(10, 10), (70 + n, 40)] if n else []):
            part = {'image_id': n, 'category_id': 1 + k, 'bbox': [*place, 24, 24], 'area': 576, 'iscrowd': 0}
            annotations.append({**part, 'id': len(annotations) + 1, 'segmentation': square(*place)})
    crowd = {'id': 99, 'image_id': 2, 'category_id': 1, 'bbox': [120, 90, 24, 24], 'area': 576, 'iscrowd': 1}
    annotations.append({**crowd, 'segmentation': square(120, 90)})
    categories = [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def entry(a: dict, category: int, score: float, mask: dict | None = None) -> dict:
    shape = mask or a['segmentation']
    return {'image_id': a['image_id'], 'category_id': category, 'score': score, 'segmentation': shape}


def seen(tile: np.ndarray, x: int, y: int) -> bool:
    """Whether there is more than the picture at a place of it."""
    scale = tile.shape[0] // SHAPE[0]
    return bool((tile[y * scale, x * scale] != 127).any())


def test_the_surest_stand_beside_the_truth_as_given_and_as_mended(scene, tmp_path, figure_of):
    objects = [a for a in scene['annotations'] if not a['iscrowd']]
    found = [entry(a, a['category_id'] + 5, 0.9) for a in objects]
    beside = [(130, 10, 0.8), (130, 40, 0.7), (10, 90, 0.6)]  # of five, four are drawn
    found += [entry(a, 6, score, square(x, y)) for a in objects[::2] for x, y, score in beside]
    nothing = {'size': list(SHAPE), 'counts': rle.encode(np.zeros(SHAPE, np.uint8, order='F'))['counts'].decode()}
    found.append(entry(objects[0], 6, 0.1, nothing))
    diagnosis = diagnose(scene, found)
    assert diagnosis.faults == ('ids-shifted',)

    def draw(data, _, path):
        return charts.draw_diagnosis(tmp_path, scene, data, path)

    figure = figure_of(draw, diagnosis, runs=['a'])
    assert figure.get_suptitle() == 'Before and after: ids-shifted'
    assert captions(figure)[::3] == [f'ground truth, {n}.png' for n in (1, 2, 3, 4)]
    assert (
        captions(figure)[1::3] == ['as given: nothing that counts'] * 4 and captions(figure)[2::3] == ['as mended'] * 4
    )
    truth, given, mended = tiles(figure)[3:6]
    places = [(20, 20), (84, 52), (140, 20), (140, 52), (20, 105), (130, 105)]
    assert [[seen(tile, *place) for place in places] for tile in (truth, given, mended)] == [
        [True, True, False, False, False, False],
        [False] * 6,  # of no category that the annotations have
        [True, True, True, True, False, False],
    ]


def test_honest_results_have_two_columns_and_a_picture_that_is_gone_is_named(scene, tmp_path, figure_of):
    found = [entry(a, a['category_id'], 0.9) for a in scene['annotations']]
    diagnosis = diagnose(scene, found)

    def draw(data, _, path):
        return charts.draw_diagnosis(tmp_path, scene, data, path, count=2)

    figure = figure_of(draw, diagnosis, runs=['a'])
    assert captions(figure) == ['ground truth, 1.png', 'as given', 'ground truth, 2.png', 'as given']
    assert figure.get_suptitle() == 'As given'
    (tmp_path / '2.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'2\.png is not there'):
        figure_of(draw, diagnosis, runs=['a'])
