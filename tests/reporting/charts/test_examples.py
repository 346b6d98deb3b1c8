"""Examples: which pictures, what is painted in them, and what is said above them."""

import copy

import cv2
import numpy as np
import pytest
import supervision as sv
from faster_coco_eval import COCO
from faster_coco_eval.core import mask as rle
from matplotlib.backends.backend_agg import FigureCanvasAgg

from damamba.reporting import charts
from damamba.reporting.charts import examples

SIZE = (200, 400)  # height, width of the picture as it was annotated; its file is half as large
SQUARES = ([20, 20, 80, 60], [150, 40, 100, 100], [300, 100, 60, 80])


def entry(box: list[float], score: float | None = None, masked: bool = True, category: int = 1) -> dict:
    made = {'bbox': [float(v) for v in box], 'category_id': category}
    made |= {'iscrowd': 0} if score is None else {'score': score}
    mask = np.zeros(SIZE, np.uint8, order='F')
    x, y, w, h = box
    mask[y : y + h, x : x + w] = 1
    whole = rle.encode(mask)
    return {**made, 'segmentation': {**whole, 'counts': whole['counts'].decode()}} if masked else made


def image(number: int, annotations: list[dict], predictions: list[dict]) -> dict:
    place = {'id': number, 'picture': f'examples/{number}.jpg', 'height': SIZE[0], 'width': SIZE[1]}
    return {**place, 'annotations': annotations, 'predictions': predictions}


@pytest.fixture
def draw(figure_of, tmp_path):
    """The figure of the examples of some runs, whose pictures are left in folders."""

    def drawn(runs: dict[str, list[dict]], *least: float, order=None, shape: tuple[int, int] = (100, 200)):
        for name, images in runs.items():
            (tmp_path / name / 'examples').mkdir(parents=True, exist_ok=True)
            for one in images:
                cv2.imwrite(str(tmp_path / name / one['picture']), np.full((*shape, 3), (100, 110, 127), np.uint8))
        data = {name: {'folder': tmp_path / name, 'images': runs[name]} for name in order or runs}
        return figure_of(charts.draw_examples, data, *least, runs=order, full=True)

    return drawn


def captions(figure) -> list[str]:
    return [axes.get_title(loc='left').replace('\n', ' ') for axes in figure.axes if axes.images]


def tiles(figure) -> list[np.ndarray]:
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def painted(tile: np.ndarray, x: float, y: float, least: int = 8) -> bool:
    """Whether there is more than the picture, red first, at a place where it was annotated."""
    height, width = tile.shape[:2]
    seen = tile[int(y * height / SIZE[0]), int(x * width / SIZE[1])].astype(int)
    return bool(np.abs(seen - (127, 110, 100)).max() > least)


def test_the_truth_and_what_each_run_found_stand_beside_each_other(draw, tmp_path):
    crowd = {**entry([300, 10, 60, 60]), 'iscrowd': 1}  # neither drawn nor counted
    truth = [*(entry(box) for box in SQUARES), crowd]
    good = [entry(SQUARES[0], 0.9), entry(SQUARES[1], 0.5), entry(SQUARES[2], 0.49)]
    figure = draw({'good': [image(7, truth, good)], 'blind': [image(7, truth, [])]}, order=['blind', 'good'])
    assert cv2.imread(str(tmp_path / 'a.png')).shape[1] == 1430
    wanted = ['ground truth, 3 objects', 'blind, 0 found at score ≥ 0.5', 'good, 2 found at score ≥ 0.5']
    assert captions(figure) == wanted
    middles = [(x + w / 2, y + h / 2) for x, y, w, h in (*SQUARES, crowd['bbox'])]
    seen = [[painted(tile, *middle) for middle in middles] for tile in tiles(figure)]
    assert seen == [[True] * 3 + [False], [False] * 4, [True, True, False, False]]
    found = [entry(SQUARES[1], 0.2, masked=False), entry(SQUARES[0], 0.1)]
    figure = draw({'a': [image(1, [entry(SQUARES[1])], found)]}, 0.15)
    assert captions(figure) == ['ground truth, 1 object', 'a, 1 found at score ≥ 0.15']
    seen = [
        [painted(tile, x, 90, 60) for x in range(140, 160)] for tile in tiles(figure)
    ]  # the left side of a box, too
    assert all(any(it[8:13]) and not any(it[:6]) for it in seen) and not painted(tiles(figure)[1], *middles[1])


def test_pictures_that_not_all_runs_have_are_left_out_and_one_that_is_gone_is_named(draw, figure_of, tmp_path):
    runs = {name: [image(n, [], []) for n in numbers] for name, numbers in (('a', (1, 2, 3)), ('b', (3, 1)))}
    assert len(tiles(draw(runs))) == 2 * 3
    gone = {'a': {'images': runs['a'], 'folder': tmp_path / 'gone'}}
    with pytest.raises(FileNotFoundError, match='gone/examples/1.jpg'):
        charts.draw_examples(gone, {'a': 'red'}, tmp_path / 'a.png')


@pytest.mark.parametrize('masked', [True, False], ids=['masks', 'boxes'])
def test_what_was_found_has_the_colour_of_the_object_it_lies_on(masked):
    truth = [entry(box, masked=masked) for box in SQUARES]
    near, beside, far = [160, 40, 100, 100], [190, 40, 100, 100], [0, 150, 20, 20]  # overlaps of 0.82, 0.43 and 0
    boxes = {0.9: SQUARES[2], 0.6: near, 0.7: SQUARES[1], 0.8: far}  # of two on an object the surer has it
    found = [*(entry(box, score, masked) for score, box in boxes.items()), entry(SQUARES[0], 0.8, masked, category=2)]
    assert examples.colours_of(found, truth) == [2, 4, 1, 6, 7]
    assert [examples.colours_of([entry(it, 0.6, masked)], truth) for it in (near, beside)] == [[1], [3]]
    assert examples.colours_of(found[:1], []) == [0] and examples.colours_of([], truth) == []


@pytest.mark.parametrize(('runs', 'columns', 'shape'), [(1, 4, (100, 200)), (2, 3, (400, 100)), (12, 5, (100, 200))])
def test_many_runs_are_drawn_in_several_lines_and_one_in_pairs(draw, runs, columns, shape):
    names = [f'mask_rcnn_DAMamba_nano_fpn_armbench_demo_{n}' for n in range(runs)]
    made = [{**image(n, [], []), 'height': shape[0], 'width': shape[1]} for n in (1, 2)]
    figure = draw(dict.fromkeys(names, made), shape=shape)
    shown = [axes for axes in figure.axes if axes.images]
    places = [axes.get_position() for axes in shown]
    assert len(places) == 2 * (runs + 1) and len({round(place.x0, 4) for place in places}) == columns
    assert runs == 1 or round(places[0].x0, 4) == round(places[runs + 1].x0, 4), 'a picture begins a line'
    assert all(place.x0 >= 0 and place.x1 <= 1 and place.y0 >= 0 and place.y1 <= 1 for place in places)
    ratios = [it.height * figure.bbox.height / (it.width * figure.bbox.width) for it in places]
    assert ratios == pytest.approx([shape[0] / shape[1]] * len(places), rel=0.01)
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [axes._left_title.get_window_extent(renderer) for axes in shown]
    assert all(text.x1 <= figure.bbox.x1 for text in texts)
    assert not any(one.overlaps(other) for k, one in enumerate(texts) for other in texts[k + 1 :])


def test_each_picture_has_its_ground_truth_and_its_detections_beside_it(tmp_path, figure_of):
    images = [dict(id=i, file_name=f'{i}.png', height=120, width=160) for i in (1, 2, 3)]
    for it in images:
        cv2.imwrite(str(tmp_path / it['file_name']), np.full((120, 160, 3), 127, np.uint8))
    key = dict(id=1, image_id=1, category_id=3, bbox=[20.0, 60.0, 30.0, 40.0], area=1200, iscrowd=0)
    key['segmentation'] = [[20, 60, 50, 60, 50, 100, 20, 100]]
    half = dict(size=[120, 160], counts=[60, 60] * 160)  # the lower half, uncompressed
    crowd = dict(id=2, image_id=2, category_id=7, bbox=[0, 60, 160, 60], area=9600, iscrowd=1, segmentation=half)
    categories = [dict(id=3, name='key'), dict(id=7, name='cup')]
    truth = COCO(dict(images=images, categories=categories, annotations=[key, crowd]))
    scores = {(1, 0.59): truth.annToRLE(key), (2, 0.6): truth.annToRLE(key), (3, 0.9): [], (9, 0.9): []}
    found = [{**key, 'segmentation': it, 'score': score, 'image_id': n} for (n, score), it in scores.items()]
    before = copy.deepcopy((found, truth.dataset))
    function = lambda data, _, path: charts.draw_detections(tmp_path, truth, data, path, 'A title', 3, 0.6)  # noqa: E731
    figure = figure_of(function, found, runs=['a'])
    assert captions(figure) == ['ground truth', 'detections, score at least 0.6'] * 3
    assert (found, truth.dataset) == before and figure.get_suptitle() == 'A title'
    drawn = [(it != 127).any(-1).reshape(120, 3, 160, 3).any((1, 3)) for it in tiles(figure)]  # 480 pixels wide
    inside, beside = (slice(60, 100), slice(20, 50)), (slice(104, None), slice(None))
    assert [it[inside].all() for it in drawn] == [True, False, True, True, False, False]
    assert [it[beside].any() for it in drawn] == [False, False, True, False, False, False]
    assert drawn[2][64:].all() and not drawn[2][:40].any() and not drawn[4].any()
    box = drawn[5][60:101, 20:50]  # without a mask
    assert box[:, :2].any(1).all() and box[-4:].any(0).all() and not box[8:-8, 8:-8].any()
    labels = [examples.label_of(it, truth) for it in (key, {**key, 'score': 0.876}, crowd)]
    assert labels == ['key', 'key 0.88', 'crowd of cup']
    (tmp_path / '2.png').write_bytes(b'garbage')
    with pytest.raises(FileNotFoundError, match=r'2\.png is not there or no picture'):
        figure_of(function, found, runs=['a'])


def test_masks_boxes_labels_and_tiles_are_drawn_in_the_size_and_the_colours_that_are_asked_for(tmp_path):
    grey, mask = np.full((120, 160, 3), 127, np.uint8), np.zeros((1, 120, 160), bool)
    mask[:, 60:100, 20:50] = True

    def seen(mask=mask, labels=None, boxed=True):
        it = sv.Detections(np.array([[15.0, 55.0, 55.0, 105.0]]), mask, class_id=np.array([0]))
        return (examples.draw_objects(grey, it, labels, 320, boxed) != 127).any(-1)

    bare = seen()
    assert bare.shape == (240, 320) and bare[120:200, 40:100].all() and not bare[:100].any()
    assert bare[130, 30] and not bare[130, 35]  # a box, and what lies between it and the mask
    assert not seen(boxed=False)[130, 30] and seen(mask=None, boxed=False)[130, 30] and seen(labels=['key'])[:110].any()
    two = np.array([[5.0, 5, 50, 100], [90, 5, 150, 100]])
    for colours, equal in (([4, 4], True), ([4, 5], False)):
        scene = examples.draw_objects(grey, sv.Detections(two, class_id=np.array(colours)), long_side=160)
        assert (scene[60, 5] == scene[60, 90]).all() == equal
    blue = [(np.full((60, 80, 3), (255, 0, 40 * k), np.uint8), 'a\nb', 'red') for k in range(5)]
    sheet = cv2.imread(str(examples.draw_tiles(blue, 4, tmp_path / 'a.png', 'A title')))
    assert sheet.shape[1] == 4 * 480 and all((sheet == it[0, 0]).all(-1).mean() > 0.05 for it, _, _ in blue)
