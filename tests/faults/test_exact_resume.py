"""A detector whose training is killed and resumed is the one of a training that was not, to the bit."""

import contextlib
import json
import multiprocessing
import os
import signal
import time

import pytest
import torch

from damamba.cli import train as train_command
from tests.detection import write_coco, write_config
from tests.e2e.shell import free_port
from tests.faults import watching  # noqa: F401  registers the hook

pytestmark = pytest.mark.faults
TIMEOUT = 120  # seconds
STEPS = 10  # two epochs of 5 steps of 2 pictures
AUGMENTED = """
augmented = [*load, resize, dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
             dict(type='PackDetInputs', meta_keys=(*keys, 'flip'))]
train_dataloader = dict(**{{**loader, 'dataset': dict(data_root=data_root, pipeline=augmented)}}, batch_size={batch})
train_cfg = dict(max_epochs=2)
val_cfg, val_dataloader, val_evaluator = None, None, None
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best=None))
model['backbone']['drop_path_rate'] = 0.3
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Ten pictures."""
    return write_coco(tmp_path_factory.mktemp('ten'), train=10, val=1)


def start(config, work_dir, world: int, flags, watch, workers: int) -> list[int]:
    """Train in processes of their own, forked since imports take longer than the training; their exit codes."""
    options = [f'custom_hooks=[{watch}]', f'train_dataloader.num_workers={workers}']
    argv = [str(config), '--work-dir', str(work_dir), *flags, '--cfg-options', *options]
    context, port = multiprocessing.get_context('fork'), free_port()
    ranks = [context.Process(target=_rank, args=(argv, rank, world, port)) for rank in range(world)]
    for process in ranks:
        process.start()
    end = time.monotonic() + TIMEOUT
    while any(process.exitcode is None for process in ranks) and time.monotonic() < end:
        time.sleep(0.05)  # a join would wait for workers too, which a kill has left
    codes = [process.exitcode for process in ranks]
    for process in ranks:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return codes


def _rank(argv, rank: int, world: int, port: str) -> None:
    os.setsid()  # a group of its own, workers included
    torch.set_num_threads(1)
    if world > 1:
        address = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, OMP_NUM_THREADS='1')
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), **address)
        argv = [*argv[:1], '--launcher', 'pytorch', *argv[1:]]
    train_command.main(argv)


def watching_for(**harm) -> str:
    return str(dict(type='Watch', **harm)).replace(' ', '')


def seen(work_dir, rank: int = 0) -> list[list]:
    return [json.loads(line) for line in (work_dir / f'seen-{rank}.jsonl').read_text().splitlines()]


def everything(path) -> dict[str, torch.Tensor]:
    content = torch.load(path, weights_only=False)
    states = content['optimizer']['state'].items()
    return content['state_dict'] | {
        f'{i}.{name}': torch.as_tensor(it) for i, state in states for name, it in state.items()
    }


def test_killed_twice_and_resumed_with_other_workers_it_is_the_same_to_the_bit(data, tmp_path):
    config = write_config(tmp_path / 'small.py', data, extra=AUGMENTED.format(batch=2))
    whole, run = tmp_path / 'whole', tmp_path / 'run'
    assert start(config, whole, 1, ['--seed', '3'], watching_for(), workers=0) == [0]
    for flags, harm, workers, code in (
        (['--seed', '3'], dict(save=2, kill=2), 1, -signal.SIGKILL),
        (['--resume'], dict(kill=8), 2, -signal.SIGKILL),  # epoch_1.pth is the newest then
        (['--resume'], {}, 0, 0),
    ):
        assert start(config, run, 1, flags, watching_for(**harm), workers) == [code]
    rows = seen(run)
    assert [row[0] for row in rows] == [1, 2, *range(3, 9), *range(6, STEPS + 1)]
    assert {row[0]: row for row in rows} == {row[0]: row for row in seen(whole)}  # ids and losses
    first = [number for row in seen(whole)[:5] for number in row[1]]
    assert sorted(first) == list(range(1, 11))  # each once
    ours, wanted = everything(run / 'epoch_2.pth'), everything(whole / 'epoch_2.pth')
    assert ours.keys() == wanted.keys() and all(torch.equal(ours[key], wanted[key]) for key in wanted)


def test_two_processes_killed_in_an_epoch_have_the_losses_of_two_that_were_not(data, tmp_path):
    config = write_config(tmp_path / 'small.py', data, extra=AUGMENTED.format(batch=1))
    whole, run = tmp_path / 'whole', tmp_path / 'run'
    assert start(config, whole, 2, ['--seed', '3'], watching_for(), workers=0) == [0, 0]
    killed = start(config, run, 2, ['--seed', '3'], watching_for(save=3, kill=3), workers=1)
    assert killed == [-signal.SIGKILL] * 2
    assert start(config, run, 2, ['--resume'], watching_for(), workers=0) == [0, 0]
    for rank in range(2):
        ours, wanted = seen(run, rank), seen(whole, rank)
        assert [row[:2] for row in ours] == [row[:2] for row in wanted] and len(ours) == STEPS
        assert max(abs(one[2] - other[2]) for one, other in zip(ours, wanted, strict=True)) < 1e-6
    assert sorted(number for rank in range(2) for row in seen(run, rank)[:5] for number in row[1]) == list(range(1, 11))
