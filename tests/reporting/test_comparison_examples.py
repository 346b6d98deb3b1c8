"""Examples: which pictures, what is painted in them, and what is said above them."""

import json

import cv2
import numpy as np
import pytest
from faster_coco_eval.core import mask as rle
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from damamba.reporting.comparison import draw_examples, examples, palette_of

SIZE = (200, 400)  # height, width of the picture as it was annotated; its file is half as large
SQUARES = ([20, 20, 80, 60], [150, 40, 100, 100], [300, 100, 60, 80])


def entry(box: list[float], score: float | None = None, masked: bool = True, category: int = 1) -> dict:
    made = {'bbox': [float(v) for v in box], 'category_id': category}
    made |= {'iscrowd': 0} if score is None else {'score': score}
    if masked:
        mask = np.zeros(SIZE, np.uint8)
        x, y, w, h = box
        mask[y : y + h, x : x + w] = 1
        whole = rle.encode(np.asfortranarray(mask))
        made['segmentation'] = {'size': list(whole['size']), 'counts': whole['counts'].decode()}
    return made


def image(number: int, annotations: list[dict], predictions: list[dict]) -> dict:
    place = {'id': number, 'file_name': f'{number}.jpg', 'picture': f'examples/{number}.jpg'}
    size = {'height': SIZE[0], 'width': SIZE[1]}
    return {**place, **size, 'annotations': annotations, 'predictions': predictions}


@pytest.fixture
def run(tmp_path):
    """Leave a test's examples in a folder: the contents, read back, and the folder."""

    def leave(name: str, images: list[dict], shape: tuple[int, int] = (100, 200)) -> tuple[dict, object]:
        folder = tmp_path / name
        (folder / 'examples').mkdir(parents=True)
        for one in images:
            cv2.imwrite(str(folder / one['picture']), np.full((*shape, 3), 127, np.uint8))
        return json.loads(json.dumps({'categories': [{'id': 1, 'name': 'Object'}], 'images': images})), folder

    return leave


@pytest.fixture
def figures(monkeypatch):
    kept, save = [], Figure.savefig

    def keep(figure, *args, **kwargs):
        kept.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', keep)
    return kept


def draw(runs: dict, path, least: float = 0.5, order=None):
    contents, folders = ({name: run[k] for name, run in runs.items()} for k in (0, 1))
    return draw_examples(contents, folders, palette_of(order or runs), path, least)


def captions(figure) -> list[str]:
    return [text.get_text().replace('\n', ' ') for text in figure.texts[2:]]


def tiles(figure) -> list[np.ndarray]:
    return [axes.images[0].get_array() for axes in figure.axes]


def painted(tile: np.ndarray, x: float, y: float, least: int = 4) -> bool:
    """Whether there is more than the grey picture at a place given in parts of the tile."""
    height, width = tile.shape[:2]
    return bool(np.ptp(tile[int(y * height), int(x * width)].astype(int)) > least)


def test_the_truth_and_what_each_run_found_stand_beside_each_other(run, tmp_path, figures):
    truth = [entry(box) for box in SQUARES]
    good = [entry(SQUARES[0], 0.9), entry(SQUARES[1], 0.5), entry(SQUARES[2], 0.49)]
    runs = {'good': run('good', [image(7, truth, good)]), 'blind': run('blind', [image(7, truth, [])])}
    path = draw(runs, tmp_path / 'a.png', order=['blind', 'good'])
    assert path == tmp_path / 'a.png' and cv2.imread(str(path)).shape[1] == 1430
    (figure,) = figures
    assert captions(figure) == [
        'ground truth, 3 objects', 'blind, 0 found at score ≥ 0.5', 'good, 2 found at score ≥ 0.5',
    ]  # fmt: skip
    middles = [((x + w / 2) / SIZE[1], (y + h / 2) / SIZE[0]) for x, y, w, h in SQUARES]
    seen = [[painted(tile, *middle) for middle in middles] for tile in tiles(figure)]
    assert seen == [[True] * 3, [False] * 3, [True, True, False]]
    assert not any(painted(tile, 0.9, 0.1) for tile in tiles(figure))


def test_another_score_lets_more_through(run, tmp_path, figures):
    truth = [entry(SQUARES[0])]
    draw({'a': run('a', [image(1, truth, [entry(SQUARES[0], 0.2), entry(SQUARES[1], 0.1)])])}, tmp_path / 'a.png', 0.15)
    assert captions(figures[0]) == ['ground truth, 1 object', 'a, 1 found at score ≥ 0.15']


def test_pictures_that_not_all_runs_have_are_left_out(run, tmp_path, figures):
    runs = {name: run(name, [image(n, [], []) for n in numbers]) for name, numbers in (('a', (1, 2, 3)), ('b', (3, 1)))}
    draw(runs, tmp_path / 'a.png')
    assert len(figures[0].axes) == 2 * 3
    runs['c'] = run('c', [image(9, [], [])])
    with pytest.raises(ValueError, match='no picture is in the examples of all of a, b, c'):
        draw(runs, tmp_path / 'a.png')


def test_a_picture_that_is_gone_is_named(run, tmp_path):
    contents, folder = run('a', [image(1, [], [])])
    (folder / 'examples/1.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='examples/1.jpg'):
        draw({'a': (contents, folder)}, tmp_path / 'a.png')


def test_boxes_are_drawn_where_there_are_no_masks(run, tmp_path, figures):
    truth = [entry(SQUARES[1])]
    draw({'a': run('a', [image(1, truth, [entry(SQUARES[1], 0.9, masked=False)])])}, tmp_path / 'a.png')
    x, y, w, h = SQUARES[1]
    for tile in tiles(figures[0]):
        edge = [painted(tile, (x + dx) / SIZE[1], (y + h / 2) / SIZE[0], 60) for dx in (-1, 0, 1)]
        assert any(edge) and not painted(tile, (x + w + 20) / SIZE[1], (y + h / 2) / SIZE[0])


def test_crowds_are_neither_drawn_nor_counted(run, tmp_path, figures):
    crowd = {**entry(SQUARES[2]), 'iscrowd': 1}
    draw({'a': run('a', [image(1, [entry(SQUARES[0]), crowd], [])])}, tmp_path / 'a.png')
    assert captions(figures[0])[0] == 'ground truth, 1 object'
    assert not painted(tiles(figures[0])[0], 330 / SIZE[1], 140 / SIZE[0])


@pytest.mark.parametrize('masked', [True, False], ids=['masks', 'boxes'])
def test_what_was_found_has_the_colour_of_the_object_it_lies_on(masked):
    truth = [entry(box, masked=masked) for box in SQUARES]
    shifted = [SQUARES[1][0] + 10, *SQUARES[1][1:]]
    found = [
        entry(SQUARES[2], 0.9, masked),
        entry(shifted, 0.6, masked),
        entry(SQUARES[1], 0.7, masked),  # surer than the one above: the object is its own
        entry([0, 150, 20, 20], 0.8, masked),
        entry(SQUARES[0], 0.8, masked, category=2),
    ]
    assert examples.colours_of(found, truth) == [2, 4, 1, 6, 7]
    assert examples.colours_of(found[:1], []) == [0] and examples.colours_of([], truth) == []


@pytest.mark.parametrize(('runs', 'columns'), [(1, 4), (2, 3), (4, 5), (5, 3), (12, 5)])
def test_many_runs_are_drawn_in_several_lines_and_one_in_pairs(run, tmp_path, figures, runs, columns):
    names = [f'mask_rcnn_DAMamba_nano_fpn_armbench_demo_{n}' for n in range(runs)]
    data = {name: run(name, [image(n, [entry(SQUARES[0])], []) for n in (1, 2)]) for name in names}
    draw(data, tmp_path / 'a.png')
    (figure,) = figures
    places = [axes.get_position() for axes in figure.axes]
    assert len(places) == 2 * (runs + 1) and len({round(place.x0, 4) for place in places}) == columns
    assert all(place.x0 >= 0 and place.x1 <= 1 and place.y0 >= 0 and place.y1 <= 1 for place in places)
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text.get_window_extent(renderer) for text in figure.texts]
    tile = figure.axes[0].get_window_extent(renderer).width
    assert all(text.width <= max(tile, 0) + 2 for text in texts[2:]), 'captions run into the next'
    assert not any(one.overlaps(other) for k, one in enumerate(texts) for other in texts[k + 1 :])


@pytest.mark.parametrize('shape', [(100, 200), (400, 100)], ids=['wide', 'high'])
def test_pictures_that_are_not_square_fit(run, tmp_path, figures, shape):
    one = {**image(1, [], []), 'height': shape[0], 'width': shape[1]}
    draw({'a': run('a', [one], shape), 'b': run('b', [one], shape)}, tmp_path / 'a.png')
    figure = figures[0]
    for axes in figure.axes:
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(shape[0] / shape[1], rel=0.01)
        assert box.y0 >= 0 and box.x1 <= figure.bbox.x1
