"""Trainings that are killed while they save, whose disk is full, and whose ranks differ."""

import multiprocessing
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
import traceback

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import Hook

from damamba.checkpoint import CheckpointFolder, read
from damamba.checkpoint.folder import MANIFEST
from damamba.engine.saving import DurableCheckpointHook
from tests.detection import ROOT, write_coco, write_config
from tests.tiny_training import SAMPLES, TinyModel, tiny_runner

pytestmark = pytest.mark.faults
PATIENCE_S = 120
KILLS = 8
MOUNT = ['unshare', '--map-root-user', '--mount']  # a mount of our own, where the system allows it


class Before(Hook):
    """Does something before each iteration."""

    def __init__(self, action):
        self.action = action

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.action(runner)


@pytest.fixture(scope='module')
def start():
    """Start processes that have torch and MMEngine loaded, and end them all."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['damamba.register', 'tests.tiny_training'])
    processes = []

    def begin(work, *arguments):
        processes.append(context.Process(target=work, args=arguments))
        processes[-1].start()
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.join(PATIENCE_S)


def ended(process):
    process.join(PATIENCE_S)
    assert process.exitcode is not None, 'it hangs'
    return process.exitcode


# Killed.


def go_on(root, epochs):
    """Train, from the newest whole checkpoint on."""
    torch.set_num_threads(1)
    newest, damaged = CheckpointFolder(root).newest_whole()
    assert not damaged
    options = dict(interval=1, max_keep_ckpts=2)
    resumed = dict(resume=True, load_from=str(newest)) if newest else {}
    tiny_runner(root, epochs=epochs, model=TinyModel(300_000), checkpoint=options, **resumed).train()


def test_a_training_that_is_killed_again_and_again_while_it_saves_loses_no_checkpoint(start, tmp_path):
    rng, reached, cut_off = random.Random(0), 0, 0
    for _ in range(KILLS):
        process, end = start(go_on, tmp_path, 10_000), time.monotonic() + PATIENCE_S
        while _epoch(tmp_path) <= reached or not list(tmp_path.glob('.epoch_*.part')):  # in the midst of the next save
            assert process.is_alive() and time.monotonic() < end
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        assert ended(process) == -9
        cut_off += bool(list(tmp_path.glob('.*.part')))
        newest, damaged = CheckpointFolder(tmp_path).newest_whole()
        assert not damaged
        epoch = read(newest)['meta']['epoch']
        assert epoch > reached
        reached = epoch
    assert cut_off
    assert ended(start(go_on, tmp_path, reached + 3)) == 0
    whole = [f'epoch_{epoch}.pth' for epoch in (reached + 2, reached + 3)]
    folder = CheckpointFolder(tmp_path)
    assert set(whole) <= {path.name for path in tmp_path.glob('*.pth')} and not list(tmp_path.glob('.*.part'))
    for name in whole:
        folder.verify(tmp_path / name)


def _epoch(root):
    return max((entry['epoch'] for entry in CheckpointFolder(root).entries().values()), default=0)


# A full disk.


def can_mount():
    return shutil.which('unshare') and subprocess.run([*MOUNT, 'true'], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason='this system lets nobody mount a small disk (unshare)')
def test_on_a_full_disk_the_last_checkpoint_stays_good_and_the_error_says_what_is_missing(tmp_path):
    config, disk = write_config(tmp_path / 'small.py', write_coco(tmp_path / 'coco')), tmp_path / 'disk'
    disk.mkdir()
    train = [sys.executable, '-m', 'damamba', 'train', config, '--work-dir', disk / 'run', '--no-validate']
    train += ['--cfg-options', 'train_cfg.max_epochs=9']
    script = 'mount -t tmpfs -o size=5m none "$0"; "$@"; status=$?; df "$0"; cp -r "$0/run" "$0/../left"; exit $status'
    command = [*MOUNT, 'bash', '-c', script, disk, *train]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT
    )
    assert done.returncode == 1
    told = rf'error: {disk}/run/epoch_3.pth could not be written: No space left on device: it needs about ([\d.]+) MB, '
    told += rf'([\d.]+) MB are free on {disk}, ([\d.]+) MB too few'
    (line,) = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    needed, free, lacking = map(float, re.fullmatch(told, line).groups())
    newest, damaged = CheckpointFolder(tmp_path / 'left').newest_whole()
    assert needed == pytest.approx(newest.stat().st_size / 1e6, rel=0.1)
    assert lacking == pytest.approx(needed - free, abs=0.11)
    assert newest.name == 'epoch_2.pth' and not damaged and not list(newest.parent.glob('.*.part'))


def write_too_much(root):
    """As a quota would: the file may not grow."""
    torch.set_num_threads(1)

    def limit(runner):
        if runner.iter == SAMPLES + 1:
            next(hook for hook in runner.hooks if isinstance(hook, DurableCheckpointHook))._writer.wait()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    runner = tiny_runner(root, epochs=9, model=TinyModel(20_000), checkpoint=dict(interval=1))
    runner.register_hook(Before(limit))
    try:
        runner.train()
    except BaseException as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (root / 'said').write_text(f'{type(error).__name__}: {error}')
        raise SystemExit(3) from error


def test_a_file_that_may_not_grow_leaves_the_last_checkpoint_good(start, tmp_path):
    assert ended(start(write_too_much, tmp_path)) == 3
    said = (tmp_path / 'said').read_text()
    assert said.startswith(f'CheckpointError: {tmp_path}/epoch_2.pth could not be written: [Errno 27] File too large')
    assert CheckpointFolder(tmp_path).newest_whole() == (tmp_path / 'epoch_1.pth', [])
    assert not list(tmp_path.glob('.*.part'))


# Two ranks.


def rank(number, root, spoil):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{root}/rendezvous', rank=number, world_size=2)

    def poison(runner):
        if spoil and number == 1 and runner.iter == 3:
            runner.model.layer.weight.data[0, 0] = torch.nan

    runner = tiny_runner(root / 'run', epochs=2, checkpoint=dict(interval=1))
    runner.register_hook(Before(poison))
    try:
        runner.train()
    except BaseException:
        (root / f'said_{number}').write_text(traceback.format_exc())
        os._exit(3)


def train_on_two(start, root, spoil):
    processes = [start(rank, number, root, spoil) for number in range(2)]
    return [ended(process) for process in processes]


def test_leftovers_of_a_killed_save_stop_no_rank(start, tmp_path):
    root = tmp_path / 'run'
    (root / '.epoch_2.pth.7.part').mkdir(parents=True)  # which can't be deleted as a file
    (root / '.epoch_1.pth.8.part').write_bytes(b'half')
    entry = dict(size=1, sha256=None, epoch=1, iter=2, kind='regular', validated=False)
    (root / MANIFEST).write_text(f'{{"epoch_9.pth": {str(entry).replace(chr(39), chr(34))}}}'.replace('None', 'null'))
    assert train_on_two(start, tmp_path, False) == [0, 0]
    assert list(CheckpointFolder(root).entries()) == ['epoch_1.pth', 'epoch_2.pth']
    assert [path.name for path in root.glob('.*')] == ['.epoch_2.pth.7.part']


def test_a_rank_whose_weights_are_not_finite_stops_all_and_nothing_more_is_written(start, tmp_path):
    assert train_on_two(start, tmp_path, True) == [3, 3]
    for number in range(2):
        said = (tmp_path / f'said_{number}').read_text()
        assert 'NotFiniteError: after 4 iterations norm.weight, norm.bias, layer.weight' in said, said
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['epoch_1.pth']
