"""Logs as MMEngine's LocalVisBackend writes them, put together by hand."""

import json
import os
import subprocess
import sys

import pytest

from damamba.reporting.logs import TrainingLog, read_log
from tests.detection import ROOT

PER_EPOCH = 40  # iterations; every 20th is logged


def train_row(step: int, loss: float) -> dict:
    epoch = -(-step // PER_EPOCH)
    timing = {'data_time': 0.01, 'time': 0.5}
    return {
        'lr': 1e-4,
        **timing,
        'loss': loss,
        'loss_cls': loss / 2,
        'epoch': epoch,
        'iter': step,
        'memory': 0,
        'step': step,
    }


def val_row(epoch: int, value: float) -> dict:
    return {'coco/bbox_mAP': value, 'coco/segm_mAP': value / 2, 'data_time': 0.01, 'time': 0.1, 'step': epoch}


def write_run(work_dir, timestamp: str, rows: list[dict]) -> None:
    folder = work_dir / timestamp / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)) + '\n')


def epochs(first: int, last: int, loss: float) -> list[dict]:
    """What a run over these epochs logs: each has two rows of training and one of validation."""
    rows = []
    for epoch in range(first, last + 1):
        start = (epoch - 1) * PER_EPOCH
        rows += [train_row(start + 20, loss), train_row(start + 40, loss), val_row(epoch, loss / 10)]
    return rows


def steps(log: TrainingLog) -> list[tuple[int, float]]:
    return [(row['iter'], row['loss']) for row in log.train]


def validations(log: TrainingLog) -> list[tuple[int, float]]:
    return [(row['epoch'], row['coco/bbox_mAP']) for row in log.val]


def test_one_run_is_read_as_it_was_logged(tmp_path):
    write_run(tmp_path, '20260101_000000', epochs(1, 2, loss=2.0))
    log = read_log(tmp_path)
    assert steps(log) == [(20, 2.0), (40, 2.0), (60, 2.0), (80, 2.0)]
    assert log.train[0] == train_row(20, 2.0)
    assert log.val[1] == {**val_row(2, 0.2), 'epoch': 2}


def test_a_resumed_training_goes_on(tmp_path):
    write_run(tmp_path, '20260102_000000', epochs(3, 3, loss=1.0))
    write_run(tmp_path, '20260101_000000', epochs(1, 2, loss=2.0))  # the order is by time, not by writing
    log = read_log(tmp_path)
    assert steps(log) == [(20, 2.0), (40, 2.0), (60, 2.0), (80, 2.0), (100, 1.0), (120, 1.0)]
    assert validations(log) == [(1, 0.2), (2, 0.2), (3, 0.1)]


def test_what_was_logged_after_the_checkpoint_that_a_training_went_on_from_is_replaced(tmp_path):
    """The first run got to the middle of its third epoch; the second one went on from the end of the first."""
    write_run(tmp_path, '20260101_000000', [*epochs(1, 2, loss=2.0), train_row(100, 2.0)])
    write_run(tmp_path, '20260102_000000', epochs(2, 2, loss=1.0))
    log = read_log(tmp_path)
    assert steps(log) == [(20, 2.0), (40, 2.0), (60, 1.0), (80, 1.0)]
    assert validations(log) == [(1, 0.2), (2, 0.1)]


def test_a_repeated_training_starts_anew(tmp_path):
    write_run(tmp_path, '20260101_000000', epochs(1, 3, loss=2.0))
    write_run(tmp_path, '20260102_000000', epochs(1, 1, loss=1.0))
    log = read_log(tmp_path)
    assert steps(log) == [(20, 1.0), (40, 1.0)] and validations(log) == [(1, 0.1)]


def test_a_repeated_training_without_an_evaluation_yet_has_none(tmp_path):
    """Or the curves show the losses of one training beside the mAP of another."""
    write_run(tmp_path, '20260101_000000', epochs(1, 3, loss=2.0))
    write_run(tmp_path, '20260102_000000', [train_row(20, 1.0)])
    log = read_log(tmp_path)
    assert steps(log) == [(20, 1.0)] and validations(log) == []


def test_a_run_that_logged_nothing_changes_nothing(tmp_path):
    write_run(tmp_path, '20260101_000000', epochs(1, 1, loss=2.0))
    write_run(tmp_path, '20260102_000000', [])
    (tmp_path / '20260103_000000').mkdir()  # a test run draws nothing
    assert steps(read_log(tmp_path)) == [(20, 2.0), (40, 2.0)]


def test_a_run_that_counts_in_iterations_alone_is_left_out(tmp_path):
    """Its validations would be taken for those of epochs."""
    write_run(tmp_path, '20260101_000000', epochs(1, 1, loss=2.0))
    rows = [{key: value for key, value in row.items() if key != 'epoch'} for row in epochs(1, 3, loss=1.0)]
    write_run(tmp_path, '20260102_000000', rows)
    assert steps(read_log(tmp_path)) == [(20, 2.0), (40, 2.0)] and validations(read_log(tmp_path)) == [(1, 0.2)]


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


@pytest.mark.parametrize('exists', [True, False])
def test_a_folder_without_runs_is_an_empty_log(tmp_path, exists):
    assert read_log(tmp_path if exists else tmp_path / 'nowhere') == TrainingLog([], [])


def test_a_line_that_was_cut_off_when_the_run_was_killed_is_left_out(tmp_path):
    write_run(tmp_path, '20260101_000000', epochs(1, 1, loss=2.0))
    path = tmp_path / '20260101_000000/vis_data/scalars.json'
    path.write_text(path.read_text() + json.dumps(train_row(60, 2.0))[:40])
    assert steps(read_log(tmp_path)) == [(20, 2.0), (40, 2.0)]


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


def test_reading_and_drawing_load_no_torch():
    modules = ', '.join(f'damamba.reporting.{name}' for name in ('curves', 'logs', 'pictures', 'comparison'))
    program = f'import sys, {modules}; print(sorted({{name.split(".")[0] for name in sys.modules}}))'
    command = [sys.executable, '-B', '-W', 'ignore', '-c', program]
    done = subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'matplotlib'" in done.stdout and not {"'torch'", "'mmengine'", "'mmdet'"} & set(done.stdout.split(', '))
