"""Curves: what is drawn, by the drawing's own objects, and the file that comes out."""

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from damamba.reporting.curves import _draw_losses, _draw_metrics, draw_curves
from damamba.reporting.logs import TrainingLog

LOG = TrainingLog(
    train=[
        {'loss': 6.0 / n, 'loss_cls': 4.0 / n, 'loss_mask': 2.0 / n, 'acc': 90, 'iter': 10 * n, 'epoch': 1}
        for n in range(1, 9)
    ],
    val=[
        {'coco/bbox_mAP': e / 10, 'coco/segm_mAP': e / 20, 'coco/bbox_mAP_50': e / 5, 'coco/bbox_AR@1': 0.9, 'epoch': e}
        for e in (1, 2, 3)
    ],
)


@pytest.fixture
def axes():
    return Figure().subplots()


def lines(axes) -> dict[str, list[tuple[float, float]]]:
    return {line.get_label(): [tuple(map(float, point)) for point in line.get_xydata()] for line in axes.lines}


def test_losses_are_drawn_by_iteration_the_sum_and_its_parts(axes):
    _draw_losses(axes, LOG)
    drawn = lines(axes)
    assert list(drawn) == ['sum', 'cls', 'mask']
    assert drawn['sum'] == [(10 * n, pytest.approx(6 / n)) for n in range(1, 9)]
    assert drawn['mask'] == [(10 * n, pytest.approx(2 / n)) for n in range(1, 9)]
    low, high = axes.get_ylim()
    assert low == 0 and high >= 6 and axes.get_xlabel() == 'iteration'


def test_every_part_of_a_loss_is_drawn_however_many_there_are(axes):
    parts = {f'loss_{name}': 1.0 for name in 'abcdefghij'}
    _draw_losses(axes, TrainingLog([{'loss': 10.0, **parts, 'iter': n, 'epoch': 1} for n in (1, 2)]))
    assert list(lines(axes)) == ['sum', *'abcdefghij']


def test_metrics_are_drawn_by_epoch_from_0_to_1(axes):
    _draw_metrics(axes, LOG)
    drawn = lines(axes)
    assert list(drawn) == ['box mAP', 'mask mAP', 'box AP50']
    assert drawn['mask mAP'] == [(1, 0.05), (2, 0.1), (3, 0.15)]
    assert axes.get_ylim() == (0, 1) and axes.get_xlabel() == 'epoch'
    styles = {line.get_label(): (line.get_linestyle(), line.get_color()) for line in axes.lines}
    assert styles['box mAP'][1] == styles['box AP50'][1] != styles['mask mAP'][1]
    assert styles['box AP50'][0] != styles['box mAP'][0]


def test_an_undefined_figure_is_left_out(axes):
    """COCO's -1 is no value."""
    _draw_metrics(axes, TrainingLog(val=[{'coco/bbox_mAP': value, 'epoch': e} for e, value in ((1, -1.0), (2, 0.3))]))
    assert lines(axes) == {'box mAP': [(2, 0.3)]}


@pytest.mark.parametrize('log', [LOG, TrainingLog(LOG.train), TrainingLog()], ids=['all', 'no validation', 'nothing'])
def test_a_picture_of_both_is_written(tmp_path, log):
    path = draw_curves(log, tmp_path / 'curves.png', 'A title')
    assert path == tmp_path / 'curves.png' and path.read_bytes().startswith(b'\x89PNG\r\n')
    picture = cv2.imread(str(path))
    height, width = picture.shape[:2]
    assert 400 < height < 1200 and 1000 < width < 3000
    assert not (picture == 255).all()


def test_the_curves_are_seen_in_the_picture(tmp_path):
    """In the colours that box and mask have, and nothing of them where nothing was measured."""
    full, empty = (
        cv2.imread(str(draw_curves(log, tmp_path / 'curves.png', ''))) for log in (LOG, TrainingLog(LOG.train))
    )
    right = np.s_[:, full.shape[1] // 2 :]
    for colour in ((0xA8, 0x6E, 0x3B), (0x3C, 0x74, 0xD1)):  # blue, green, red
        assert (full[right] == colour).all(-1).sum() > 100
        assert not (empty[right] == colour).all(-1).any()
