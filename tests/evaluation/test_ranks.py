"""One, two and three processes that test the same pictures: the same figures to the last bit, every picture once."""

import json
import os
import socket
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from tests.detection import ROOT
from tests.evaluation.detector import PICTURES, Detector, write_detector

PROCESSES = (1, 2, 3)  # 14 pictures leave places in the last round of three processes, which samplers fill with others


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def arguments(detector: Detector, work_dir: Path) -> list[str]:
    flags = ['--work-dir', work_dir, '--eval', 'bbox', 'segm', '--tmpdir', f'{work_dir}-parts']
    flags += ['--eval-options', f'outfile_prefix={work_dir}/results', '--out', work_dir / 'out.pkl']
    return [str(argument) for argument in (detector.config, detector.checkpoint, *flags)]


def through_the_script(folder: Path, detector: Detector, processes: int) -> None:
    config, checkpoint, *flags = arguments(detector, folder / str(processes))
    command = ['bash', str(ROOT / 'dist_test.sh'), config, checkpoint, str(processes), *flags]
    here = {'PORT': free_port(), 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    options = dict(text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    done = subprocess.run(command, cwd=folder, env={**os.environ, **here}, **options)
    assert done.returncode == 0, done.stdout[-5000:]


def forked(folder: Path, detector: Detector, processes: int) -> None:
    """The same processes over gloo, without the half minute in which each of them imports torch and MMDetection."""
    argv = [*arguments(detector, folder / str(processes)), '--launcher', 'pytorch']
    mp.start_processes(_rank, (folder, argv, processes, free_port()), nprocs=processes, start_method='fork')


def _rank(rank: int, folder: Path, argv: list[str], processes: int, port: str) -> None:
    from damamba.cli import test as test_command

    torch.set_num_threads(1)
    os.chdir(folder)
    place = {'RANK': rank, 'LOCAL_RANK': rank, 'WORLD_SIZE': processes, 'LOCAL_WORLD_SIZE': processes}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    try:
        test_command.main(argv)
    except SystemExit as error:
        raise RuntimeError(f'rank {rank} ended with {error.code}: {traceback.format_exc()}') from error


no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is not to be shared with forked processes')


@pytest.fixture(
    scope='module',
    params=[pytest.param(forked, marks=no_gpu), pytest.param(through_the_script, marks=pytest.mark.e2e)],
    ids=['forked', 'script'],
)
def runs(request, tmp_path_factory) -> dict[int, Path]:
    """The work folder of each number of processes."""
    import damamba.register  # noqa: F401  loaded once, before the processes part

    folder = tmp_path_factory.mktemp('ranks')
    detector = write_detector(folder)
    for processes in PROCESSES:
        request.param(folder, detector, processes)
    return {processes: folder / str(processes) for processes in PROCESSES}


def test_so_many_processes_really_ran(runs):
    logs = {n: '\n'.join(path.read_text() for path in folder.rglob('*.log')) for n, folder in runs.items()}
    for n, log in logs.items():
        last = -(-PICTURES // n)
        assert f'Epoch(test) [{last}/{last}]' in log
        assert 'Distributed launcher: pytorch' in log and f'GPU number: {n}' in log


def test_the_figures_are_the_same_to_the_last_bit(runs):
    contents = [json.loads((folder / 'metrics.json').read_text()) for folder in runs.values()]
    figures = contents[0]['metrics']
    assert len(figures) == 24 and figures['coco/bbox_mAP'] > 0 < figures['coco/segm_mAP']
    for content in contents:
        assert content['metrics'] == figures and content['evaluations'] == contents[0]['evaluations']


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_the_result_files_are_the_same_to_the_last_byte(runs, kind):
    one, two, three = ((folder / f'results.{kind}.json').read_bytes() for folder in runs.values())
    assert one == two == three


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_every_picture_is_in_the_result_files_once(runs, kind):
    entries = json.loads((runs[3] / f'results.{kind}.json').read_text())
    assert {entry['image_id'] for entry in entries} == set(range(1, PICTURES + 1))
    assert len({json.dumps(entry) for entry in entries}) == len(entries)  # none repeated


def test_every_picture_is_in_the_dumped_predictions_once(runs):
    from damamba.evaluation.predictions import read_pickle

    results = [read_pickle(folder / 'out.pkl') for folder in runs.values()]
    for result in results:
        assert [r['img_id'] for r in result] == list(range(1, PICTURES + 1))
        assert all((a['scores'] == b['scores']).all() for a, b in zip(result, results[0], strict=True))


def test_the_folder_of_tmpdir_collects_all_results_and_is_left_empty(runs):
    """MMEngine's own is .dist_test in the current folder, which not every process of several machines sees."""
    folder = runs[1].parent
    assert not (folder / '.dist_test').exists()
    parts = list(folder.glob('*-parts'))
    assert parts and not any(list(part.iterdir()) for part in parts)
