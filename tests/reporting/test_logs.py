"""Logs as MMEngine's LocalVisBackend writes them, put together by hand."""

import json

import pytest

from damamba.reporting.logs import TrainingLog, read_log
from tests.reporting.runs import missing, write_run


def train_row(step: int, loss: float) -> dict:
    """One of a training of 40 iterations an epoch, of which every 20th is logged."""
    places = {'epoch': -(-step // 40), 'iter': step, 'step': step}
    return {'lr': 1e-4, 'time': 0.5, 'loss': loss, 'loss_cls': loss / 2, **places}


def epochs(first: int, last: int, loss: float) -> list[dict]:
    """What a run over these epochs logs: each has two rows of training and one of validation."""
    rows = []
    for epoch in range(first, last + 1):
        rows += [train_row(40 * epoch - 20, loss), train_row(40 * epoch, loss)]
        rows.append({'coco/bbox_mAP': loss / 10, 'coco/segm_mAP': loss / 20, 'time': 0.1, 'step': epoch})
    return rows


def logged(tmp_path, *runs: list[dict], tail: str = '') -> tuple[list, list]:
    """What is read of runs on one day after the other, the last one written first: losses and mAP by their places."""
    for day, rows in reversed([*enumerate(runs, 1)]):
        path = tmp_path / f'2026010{day}_000000/vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text('\n'.join(map(json.dumps, rows)) + tail)
    log = read_log(tmp_path)
    return [(row['iter'], row['loss']) for row in log.train], [(row['epoch'], row['coco/bbox_mAP']) for row in log.val]


def test_a_training_is_read_as_it_was_logged_without_a_line_that_was_cut_off(tmp_path):
    train, val = logged(tmp_path, epochs(1, 2, 2.0), tail='\n' + json.dumps(train_row(100, 2.0))[:40])
    assert train == [(20, 2.0), (40, 2.0), (60, 2.0), (80, 2.0)] and val == [(1, 0.2), (2, 0.2)]
    assert read_log(tmp_path).train[0] == train_row(20, 2.0)


def test_a_resumed_training_goes_on_and_replaces_what_was_logged_after_its_checkpoint(tmp_path):
    """The first run got to the middle of its third epoch; the second one went on from the end of the first."""
    train, val = logged(tmp_path, [*epochs(1, 2, 2.0), train_row(100, 2.0)], [], epochs(2, 2, 1.0))
    assert train == [(20, 2.0), (40, 2.0), (60, 1.0), (80, 1.0)] and val == [(1, 0.2), (2, 0.1)]


def test_a_repeated_training_starts_anew(tmp_path):
    """Also before its first evaluation, or the curves show the losses of one training beside the mAP of another."""
    assert logged(tmp_path, epochs(1, 3, 2.0), [train_row(40, 1.0)]) == ([(40, 1.0)], [])


def test_a_run_that_counts_in_iterations_alone_is_left_out(tmp_path):
    """Its validations would be taken for those of epochs."""
    rows = [{key: value for key, value in row.items() if key != 'epoch'} for row in epochs(1, 3, 1.0)]
    assert logged(tmp_path, epochs(1, 1, 2.0), rows) == ([(20, 2.0), (40, 2.0)], [(1, 0.2)])
    folder = write_run(tmp_path / 'a')
    (path,) = folder.glob('*/vis_data/scalars.json')
    path.write_text('{"loss": 1.0, "iter": 50, "step": 50}\n{"coco/segm_mAP": 0.2, "step": 50}')
    assert missing(folder) == {f'epochs in its log {path}, which counts iterations alone: no curves': None}


@pytest.mark.parametrize(
    'line', [b'7', b'[' * 100_000, b'\xff\xfe', b'{"loss": 1.0, "epoch": 1, "step": 3}', b'{"loss": "x", "iter": 1}']
)
def test_a_log_of_another_shape_is_named(tmp_path, line):
    folder = write_run(tmp_path / 'a')
    (path,) = folder.glob('*/vis_data/scalars.json')
    path.write_bytes(path.read_bytes() + b'\n' + line)
    assert f'{path}, which can not be read' in ''.join(missing(folder))


def test_iterations_of_an_epoch_are_known_although_its_last_are_not_logged():
    """MMEngine logs every 20th iteration of an epoch of 75, and not the 75th."""
    rows = [{'iter': 75 * epoch + i, 'epoch': epoch + 1, 'loss': 1.0} for epoch in range(16) for i in (20, 40, 60)]
    assert TrainingLog(rows).iterations_per_epoch() == 75
    assert TrainingLog(rows[4:]).iterations_per_epoch() == pytest.approx(75, rel=0.03)  # resumed within an epoch
    assert TrainingLog(rows[:3]).iterations_per_epoch() == 60 and TrainingLog().iterations_per_epoch() == 1


def test_validated_are_the_epochs_at_which_there_was_something_to_find():
    rows = [{'coco/segm_mAP': v, 'coco/segm_mAP_50': 0.9, 'epoch': e} for e, v in ((1, -1.0), (2, 0.0), (3, 0.5))]
    assert TrainingLog([], rows).validated('segm_mAP') == [(2, 0.0), (3, 0.5)]
    assert TrainingLog([], rows).validated('bbox_mAP') == []


def test_a_real_training_is_read(small_config, tmp_path):
    from mmdet.visualization import DetLocalVisualizer

    from damamba.cli import train as train_command

    DetLocalVisualizer._instance_dict.clear()  # or it writes into the folder of an earlier run of this process
    train_command.train([str(small_config), '--work-dir', str(tmp_path / 'run'), '--seed', '1'])
    log = read_log(tmp_path / 'run')
    assert [(row['iter'], row['epoch']) for row in log.train] == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert all(row['loss'] > row['loss_rpn_cls'] > 0 for row in log.train)
    figures = json.loads((tmp_path / 'run/metrics.json').read_text())['metrics']
    assert len(log.val) == 1 and log.val[0]['epoch'] == 1 and figures.items() <= log.val[0].items()
