"""Trainings and tests of real processes on data that is broken: what can't be used is left out, counted and listed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from damamba.evaluation.predictions import read_pickle
from tests.detection import ROOT, write_coco, write_config
from tests.evaluation.detector import FEW_CLASSES, write_detector

pytestmark = pytest.mark.faults

TIMEOUT = 240  # seconds
OPTIONS = ('train_cfg.max_epochs=2', 'train_dataloader.batch_size=2')


@pytest.fixture
def data(tmp_path) -> Path:
    return write_coco(tmp_path / 'data', train=8, val=4)


def spoil(folder: Path) -> None:
    """Of 8 pictures: the second is cut off, the third is a page, the fourth is gone, the fifth has another size."""
    paths = sorted(folder.glob('*.jpg'))
    paths[1].write_bytes(paths[1].read_bytes()[:600])
    paths[2].write_text('<!doctype html><title>404</title>')
    if len(paths) > 4:
        paths[3].unlink()
        cv2.imwrite(str(paths[4]), cv2.resize(cv2.imread(str(paths[4])), (64, 64)))


def run(command: str, config: Path, work_dir: Path, *options: str, processes: int = 1, flags=()) -> tuple[int, str]:
    """Run a tool in a process of its own; its exit status and what it said."""
    tool = [str(ROOT / 'tools' / f'{command}.py'), str(config), *flags, '--work-dir', str(work_dir)]
    if processes > 1:
        launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
        tool = [*launch, *tool, '--launcher', 'pytorch']
    settings = ['--cfg-options', *OPTIONS, *options] if command == 'train' or options else []
    done = subprocess.run(
        [sys.executable, *tool, *settings],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    return done.returncode, done.stdout + done.stderr


def left_out(work_dir: Path) -> dict:
    """The newest run's list."""
    return json.loads(max(work_dir.glob('*/left_out.json')).read_text())


@pytest.mark.parametrize('processes', [1])
def test_a_training_goes_on_without_pictures_that_can_not_be_used(data, tmp_path, processes):
    spoil(data / 'train2017')
    config = write_config(tmp_path / 'c.py', data)
    workers = ['train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True']
    status, said = run(
        'train', config, tmp_path / 'run', 'max_left_out=0.5', *(workers if processes == 1 else ()), processes=processes
    )
    assert status == 0, said
    images = left_out(tmp_path / 'run')['images']
    names = sorted(Path(entry['file']).name for entry in images)
    assert names == [f'{number:012d}.jpg' for number in (2, 3, 4, 5)]  # each once, though each was met twice
    assert f'4 images left out: {next((tmp_path / "run").glob("*/left_out.json"))}' in said
    assert (tmp_path / 'run' / 'epoch_2.pth').exists()


@pytest.mark.parametrize('processes', [2])
def test_more_than_the_limit_ends_a_training_on_all_processes_with_the_list(data, tmp_path, processes):
    spoil(data / 'train2017')
    options = ('train_cfg.max_epochs=40', 'max_left_out=0.3')
    status, said = run('train', write_config(tmp_path / 'c.py', data), tmp_path / 'run', *options, processes=processes)
    assert status == 1 and 'images can not be used, and the config allows max_left_out = 0.3 of them' in said
    images = left_out(tmp_path / 'run')['images']
    assert len(images) in (3, 4) and all(Path(entry['file']).name in said for entry in images[:3])
    assert not list((tmp_path / 'run').glob('epoch_2*.pth'))


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    return write_detector(tmp_path_factory.mktemp('detector'))


def test_a_picture_that_can_not_be_read_has_no_detections_and_stays_in_the_ground_truth(detector, tmp_path):
    """With several processes and augmentation: the others' predictions are the same as ever."""
    flags = [str(detector.checkpoint), '--tta', '--eval', 'bbox', 'segm', '--out', f'{tmp_path}/a.pkl']
    status, said = run('test', detector.config, tmp_path / 'whole', processes=2, flags=flags)
    assert status == 0, said
    shutil.copytree(detector.data_root, tmp_path / 'coco')
    spoilt = sorted((tmp_path / 'coco/val2017').glob('*.jpg'))[1:3]
    spoilt[0].write_bytes(b'')
    spoilt[1].unlink()
    config = write_config(tmp_path / 'c.py', tmp_path / 'coco', extra=FEW_CLASSES)
    flags[-1] = f'{tmp_path}/b.pkl'
    status, said = run('test', config, tmp_path / 'run', processes=2, flags=flags)
    assert status == 0, said
    images = left_out(tmp_path / 'run')['images']
    assert sorted((entry['file'], entry['split']) for entry in images) == [(str(path), 'test') for path in spoilt]
    assert '2 images left out: ' in said and said.count('counts as one without detections') >= 2
    ours, theirs = (json.loads((tmp_path / it / 'metrics.json').read_text()) for it in ('whole', 'run'))
    for key in ('images', 'objects'):
        assert ours['evaluations']['coco'][key] == theirs['evaluations']['coco'][key]
    before, after = (read_pickle(tmp_path / f'{name}.pkl') for name in 'ab')
    for whole, rest in zip(*(sorted(it, key=lambda e: e['img_id']) for it in (before, after)), strict=True):
        assert len(rest['scores']) == (0 if rest['img_id'] in (2, 3) else len(whole['scores']))
        assert rest['img_id'] in (2, 3) or (rest['scores'] == whole['scores']).all()
        assert len(whole['scores']) and len(rest['masks']) == len(rest['scores'])
