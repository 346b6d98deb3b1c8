"""Seconds a picture by the number of its objects: by hand, on a clock that stands still, and in real tests."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from damamba.cli import test as test_command
from damamba.cli.common import build_runner
from damamba.engine import speed
from damamba.engine.speed import Speed, TestSpeedHook, Times, by_bin, count_objects, peak_memory
from tests.detection import ROOT
from tests.evaluation.detector import PICTURES, Detector, write_detector


def test_median_and_ninetieth_percentile_are_those_of_a_hand():
    assert Times.of([4.0, 1.0, 2.0, 3.0, 5.0]) == Times(5, 3.0, pytest.approx(4.6))  # 4 + 0.6 of the way to 5
    assert Times.of([2.0]) == Times(1, 2.0, 2.0)


def test_a_bin_has_its_left_edge_and_not_its_right_one():
    counts = [0, 4, 5, 9, 10, 14, 15, 19, 20, 29, 30, 49, 50, 99, 100, 5000]
    bins = by_bin([(count, 1.0) for count in reversed(counts)])
    assert list(bins) == ['0-5', '5-10', '10-15', '15-20', '20-30', '30-50', '50-100', '100+']
    assert {times.pictures for times in bins.values()} == {2}
    assert by_bin([(None, 1.0)]) == {}


def test_the_table_has_a_line_for_each_bin_and_one_for_all():
    bins = {'0-5': Times(1200, 0.25, 0.5), '100+': Times(3, 1.0, 2.0)}
    result = Speed(Times(1203, 0.2504, 0.6), bins, 2_340_000_000, 'Some CPU', 'cpu', 2, 4, 1, 3)
    lines = [line.split() for line in result.table().splitlines()]
    assert ['0-5', '1,200', '0.250', '0.500'] in lines and ['all', '1,203', '0.250', '0.600'] in lines
    assert result.table().endswith('\nSome CPU, 2 x 4 threads, batch 1, peak memory 2.34 GB')
    assert result.to_dict()['bins']['100+'] == dict(pictures=3, median=1.0, p90=2.0)


# The clock


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Model(nn.Module):
    """Takes as many seconds as it is told."""

    def __init__(self, clock: Clock):
        super().__init__()
        self.clock = clock

    def forward(self, seconds: float) -> None:
        self.clock.now += seconds


def sample(objects: int, number: int = 0) -> DetDataSample:
    """One whose annotations were loaded."""
    truth = InstanceData(labels=torch.zeros(objects, dtype=int))
    return DetDataSample(metainfo=dict(img_id=number), gt_instances=truth)


def fake_runner(model: nn.Module, truth: dict | None = None, dataset=None) -> SimpleNamespace:
    metric = SimpleNamespace(tested=SimpleNamespace(document=truth) if truth else None)
    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=[SimpleNamespace(), metric]))
    loader = SimpleNamespace(dataset=dataset if dataset is not None else [])
    return SimpleNamespace(model=model, test_loop=loop, test_dataloader=loader, logger=logging.getLogger('speed'))


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(speed, 'time', clock)
    return clock


def run_hook(hook: TestSpeedHook, runner, clock: Clock, batches: list[list], seconds: list[float]) -> None:
    """A test whose loading and evaluating take 100 s each."""
    hook.before_test_epoch(runner)
    for index, (batch, taken) in enumerate(zip(batches, seconds, strict=True)):
        clock.now += 100
        hook.before_test_iter(runner, index, dict(data_samples=batch))
        runner.model(taken)
        clock.now += 100
        hook.after_test_iter(runner, index, dict(data_samples=batch), [])
    hook.after_test_epoch(runner, {})


def test_the_model_alone_is_timed_its_first_calls_are_not_and_a_batch_is_shared(clock):
    hook, runner = TestSpeedHook(warm_up=2), fake_runner(Model(clock))
    batches = [[sample(1)], [sample(1)], [sample(2), sample(7)], [sample(7), sample(200)]]
    run_hook(hook, runner, clock, batches, [50.0, 50.0, 3.0, 5.0])
    result = hook.speed
    assert result.bins == {'0-5': Times(1, 1.5, 1.5), '5-10': Times(2, 2.0, 2.4), '100+': Times(1, 2.5, 2.5)}
    assert result.overall.pictures == 4 and result.overall.median == 2.0
    assert (result.kind, result.processes, result.batch_size, result.warm_up) == ('cpu', 1, 2, 2)
    assert result.threads == torch.get_num_threads() and result.peak_memory > 1e8 and result.device


def test_a_test_that_is_all_warm_up_leaves_a_note(clock, caplog):
    caplog.set_level(logging.INFO)
    hook = TestSpeedHook(warm_up=2)
    run_hook(hook, fake_runner(Model(clock)), clock, [[sample(1)]] * 2, [1.0, 1.0])
    assert hook.speed is None and 'nothing was measured: the first 2 iterations' in caplog.text


def test_a_test_that_breaks_off_leaves_nothing_behind(clock):
    hook, runner = TestSpeedHook(warm_up=0), fake_runner(Model(clock))
    hook.before_test_epoch(runner)
    hook.before_test_iter(runner, 0, dict(data_samples=[sample(1)]))
    run_hook(hook, runner, clock, [[sample(1)]], [2.0])
    assert hook.speed.overall == Times(1, 2.0, 2.0) and not runner.model._forward_hooks


@pytest.mark.parametrize('batch', [None, dict(), [1, 2], dict(data_samples=[])], ids=str)
def test_batches_of_another_make_are_passed_over(clock, batch):
    hook, runner = TestSpeedHook(warm_up=0), fake_runner(Model(clock))
    hook.before_test_epoch(runner)
    hook.before_test_iter(runner, 0, batch)
    hook.after_test_iter(runner, 0, batch, [])
    hook.after_test_epoch(runner, {})
    assert hook.speed is None


# How many objects


class Infos(list):
    def get_data_info(self, index: int) -> dict:
        return self[index]


TRUTH = dict(
    images=[dict(id=4), dict(id=9)],
    annotations=[dict(image_id=9), dict(image_id=9, iscrowd=1), dict(image_id=9, ignore=1), dict(image_id=9)],
)
INFOS = Infos([dict(img_id=4, instances=[]), dict(img_id=9, instances=[dict(ignore_flag=f) for f in (0, 1, 0)])])


@pytest.mark.parametrize('source', [dict(truth=TRUTH), dict(dataset=INFOS)], ids=['evaluator', 'data set'])
def test_objects_are_counted_without_crowds(source):
    assert count_objects(fake_runner(nn.Identity(), **source)) == {4: 0, 9: 2}


@pytest.mark.parametrize('dataset', [[], Infos([dict(img_id=4, instances=[])]), Infos([dict(x=1)])], ids=str)
def test_where_nobody_knows_what_is_in_a_picture_there_are_no_bins(clock, dataset):
    hook = TestSpeedHook(warm_up=0)
    runner = fake_runner(Model(clock), dataset=dataset)
    unlabelled = DetDataSample(metainfo=dict(img_id=4), gt_instances=InstanceData())
    run_hook(hook, runner, clock, [[unlabelled]], [1.0])
    assert hook.speed.bins == {} and hook.speed.overall == Times(1, 1.0, 1.0)


def test_a_picture_whose_annotations_are_loaded_and_none_has_no_objects(clock):
    hook = TestSpeedHook(warm_up=0)
    run_hook(hook, fake_runner(Model(clock), TRUTH), clock, [[sample(0, number=9)]], [1.0])
    assert list(hook.speed.bins) == ['0-5']


# Real tests

UNLOADED_TEST = "\ntest_dataloader['dataset']['pipeline'] = [load[0], resize, pipeline[-1]]\n"


@pytest.fixture(scope='module')
def detector(tmp_path_factory) -> Detector:
    return write_detector(tmp_path_factory.mktemp('speed'))


def run_test(detector: Detector, work_dir: Path, *flags: str) -> None:
    argv = [str(detector.config), str(detector.checkpoint), '--work-dir', str(work_dir), *flags]
    build_runner(test_command.configure(test_command.parse(argv)), ('test',)).test()


def written(work_dir: Path) -> dict:
    return json.loads((work_dir / 'metrics.json').read_text())


@pytest.mark.parametrize('loaded', [True, False], ids=['annotations loaded', 'not loaded'])
def test_a_test_writes_its_speed_and_its_annotations(detector, tmp_path, loaded):
    config = tmp_path / 'test.py'
    config.write_text(detector.config.read_text() + ('' if loaded else UNLOADED_TEST))
    run_test(Detector(config, detector.checkpoint, detector.data_root), tmp_path / 'run')
    content = written(tmp_path / 'run')
    measured = content['speed']
    assert measured['bins'] == {'0-5': measured['overall']}  # two objects in each picture
    assert measured['overall']['pictures'] == PICTURES - measured['warm_up'] == PICTURES - 3
    assert 0 < measured['overall']['median'] <= measured['overall']['p90'] < 60
    assert content['ann_file'] == str(detector.annotations)
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert 'Seconds a picture' in log


def test_formatting_alone_is_timed_and_writes_no_metrics(detector, tmp_path):
    run_test(detector, tmp_path, '--format-only')
    assert 'Seconds a picture' in next(tmp_path.rglob('*.log')).read_text()
    assert not (tmp_path / 'metrics.json').exists()


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    clock, hook = Clock(), TestSpeedHook(warm_up=1)
    speed.time = clock
    taken = [9.0, 1.0 + rank] if rank == 0 else [9.0]  # the second one's pictures are all warm-up
    run_hook(hook, fake_runner(Model(clock)), clock, [[sample(rank)]] * len(taken), taken)
    Path(folder, f'{rank}.json').write_text(json.dumps(hook.speed.to_dict()))
    dist.destroy_process_group()


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is not to be shared with forked processes')
def test_processes_put_their_times_together(tmp_path):
    mp.start_processes(_rank, (str(tmp_path),), nprocs=2, start_method='fork')
    one, two = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2))
    assert one == two and one['processes'] == 2
    assert one['bins'] == {'0-5': dict(pictures=1, median=1.0, p90=1.0)}
    assert one['peak_memory'] > 1e8


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='only Linux counts anew for a started process')
def test_the_peak_of_memory_is_this_processs_own():
    ballast = np.ones(2 << 30, dtype=np.uint8)
    script = 'import torch; from damamba.engine.speed import peak_memory; print(peak_memory(torch.device("cpu")))'
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 100e6 < int(done.stdout.split()[-1]) < ballast.nbytes < peak_memory(torch.device('cpu'))
