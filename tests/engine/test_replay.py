"""The order of samples, and what their augmentations draw, do not depend on workers, nor on where a run began."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.datasets.samplers import (
    AspectRatioBatchSampler,
    ClassAwareSampler,
    CustomSampleSizeSampler,
    GroupMultiSourceSampler,
)
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop
from mmengine.runner.loops import IterBasedTrainLoop
from torch import nn
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, Dataset

from damamba.engine.replay import (
    RandomNumbers,
    ReplayBatchSampler,
    is_between_updates,
    make_replayable,
    sampler_of,
    seed_all,
    stateful_transforms,
)

COUNT, BATCH, SEED = 23, 3, 5


class Noise(Dataset):
    """Samples that say their index, and draw from all three sources; as mixing ones do, other samples' too."""

    metainfo = {'classes': ('a', 'b')}

    def __init__(self, count: int = COUNT) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, mixes: bool = True) -> tuple:
        assert type(index) is int
        mixed = self.__getitem__(random.randrange(self.count), False)[1:] if mixes else ()
        return index, random.random(), float(np.random.rand()), torch.rand(1).item(), *mixed

    def get_data_info(self, index: int) -> dict:
        return {'width': 3 + index % 3, 'height': 4}

    def get_cat_ids(self, index: int) -> list[int]:
        return [index % 2]


class Sources(ConcatDataset):
    """Two of them."""

    metainfo = Noise.metainfo

    def __init__(self) -> None:
        super().__init__([Noise(), Noise(11)])

    def get_data_info(self, index: int) -> dict:
        return self.datasets[0].get_data_info(index)


def loop_of(sampler, kind=EpochBasedTrainLoop, batch_sampler=BatchSampler, start=(0, 0), seed=SEED, **options):
    """A training loop with nothing but its data, which goes on at a place."""
    loader = DataLoader(
        sampler.dataset, batch_sampler=batch_sampler(sampler, BATCH, drop_last=False), collate_fn=list, **options
    )
    loop = kind.__new__(kind)
    vars(loop).update(dataloader=loader, _epoch=start[0], _iter=0)
    if kind is IterBasedTrainLoop:
        loop.dataloader_iterator = SimpleNamespace(_epoch=start[0])
    make_replayable(loop, seed)
    sampler_of(loop).start = start
    return loop


def passes(loop, until: int) -> list[list]:
    """The batches of each pass."""
    found = []
    while loop._epoch < until:
        found.append(list(loop.dataloader))
        random.random(), np.random.rand(), torch.rand(1)  # as a validation would
        loop._epoch += 1
    return found


def shuffled(**options):
    return DefaultSampler(Noise(), seed=SEED, **options)


@pytest.fixture(scope='module')
def undisturbed():
    return passes(loop_of(shuffled()), until=2)


def test_each_sample_comes_once_in_a_pass_and_draws_anew_in_each(undisturbed):
    first, second = ([sample for batch in batches for sample in batch] for batches in undisturbed)
    assert sorted(it[0] for it in first) == list(range(COUNT)) == sorted(it[0] for it in second)
    assert [it[0] for it in first] == list(DefaultSampler(Noise(), seed=SEED))  # MMEngine's order
    drawn = [number for sample in (*first, *second) for number in sample[1:4]]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(
    ('start', 'options'),
    [
        ((0, 0), dict(num_workers=2)),
        ((0, 4), dict(num_workers=0)),
        ((0, 4), dict(num_workers=2, persistent_workers=True)),
        ((1, 7), dict(num_workers=2, multiprocessing_context='fork', prefetch_factor=5)),
        ((1, 7), dict(num_workers=1, multiprocessing_context='spawn')),
    ],
    ids=str,
)
def test_any_workers_from_any_place_give_the_same(start, options, undisturbed):
    torch.manual_seed(random.randrange(1000))
    found = passes(loop_of(shuffled(), start=start, **options), until=2)
    wanted = undisturbed[start[0] :]
    assert found == [wanted[0][start[1] :], *wanted[1:]]


def grouped(dataset=None):
    return GroupMultiSourceSampler(dataset or Sources(), batch_size=BATCH, source_ratio=[2, 1], seed=SEED)


@pytest.mark.parametrize(
    ('sampler', 'batch_sampler'),
    [
        (lambda: shuffled(), AspectRatioBatchSampler),
        (lambda: ClassAwareSampler(Noise(), seed=SEED), BatchSampler),
        (lambda: CustomSampleSizeSampler(Sources(), [5, -1], seed=SEED), BatchSampler),  # cycles through all passes
    ],
    ids=['aspect ratio', 'class aware', 'custom size'],
)
def test_samplers_of_passes(sampler, batch_sampler):
    whole = passes(loop_of(sampler(), batch_sampler=batch_sampler), until=3)
    for start in ((1, 3), (2, 2)):
        np.random.rand()
        found = passes(loop_of(sampler(), batch_sampler=batch_sampler, start=start), until=3)
        assert found == [whole[start[0]][start[1] :], *whole[start[0] + 1 :]]


@pytest.mark.parametrize('sampler', [lambda: InfiniteSampler(Noise(), seed=SEED), grouped], ids=['infinite', 'groups'])
@pytest.mark.parametrize('batch_sampler', [BatchSampler, AspectRatioBatchSampler])
def test_samplers_without_an_end(sampler, batch_sampler):
    def batches(start: int, workers: int) -> list:
        loop = loop_of(sampler(), IterBasedTrainLoop, batch_sampler, (0, start), num_workers=workers)
        return [batch for batch, _ in zip(loop.dataloader, range(40 - start), strict=False)]

    whole = batches(0, workers=0)
    assert batches(25, workers=2) == whole[25:]  # further than the data is long


def test_processes_take_parts_of_one_order_and_draw_as_one_process_would(undisturbed, monkeypatch):
    """Two of them with a third of the batch: their steps together are the steps of one."""
    parts = []
    for rank in range(2):
        monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None, rank=rank: rank)
        monkeypatch.setattr('damamba.engine.replay.get_dist_info', lambda rank=rank: (rank, 2))
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2))
        parts.append([sample for batch in passes(loop_of(shuffled()), until=1)[0] for sample in batch])
    together = [sample for pair in zip(*parts, strict=True) for sample in pair]
    assert together[:COUNT] == [sample for batch in undisturbed[0] for sample in batch]


def test_the_order_leaves_the_random_numbers_of_the_process_alone():
    seed_all(1, 2)
    wanted = random.random(), np.random.rand(), torch.rand(1).item()
    seed_all(1, 2)
    for _, _ in zip(ReplayBatchSampler(BatchSampler(grouped(), BATCH, False), SEED), range(5), strict=False):
        pass
    with RandomNumbers(3).used():
        random.random(), np.random.rand(), torch.rand(1)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == wanted


def test_a_loop_counts_the_batches_of_an_epoch_from_where_it_goes_on():
    loop, seen = loop_of(shuffled(), start=(1, 6)), []
    loop._runner = SimpleNamespace(
        call_hook=lambda name, batch_idx=None, **_: seen.append(batch_idx) if name == 'after_train_iter' else None,
        model=SimpleNamespace(train=lambda: None, train_step=lambda batch, optim_wrapper: None),
        optim_wrapper=None,
    )
    loop.run_epoch()
    loop.run_epoch()
    assert seen == [6, 7, *range(8)] and len(loop.dataloader) == 8


def test_it_is_between_updates_while_gradients_are_accumulated():
    layer = nn.Linear(1, 1)
    wrapper = OptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.1), accumulative_counts=3)
    wrapper.initialize_count_status(layer, 0, 7)
    runner, found = SimpleNamespace(optim_wrapper=OptimWrapperDict(one=wrapper)), []
    for _ in range(7):
        wrapper.update_params(layer(torch.ones(1)).sum())
        found.append(is_between_updates(runner))
    assert found == [True, True, False, True, True, False, False]  # the last step uses what there is


def test_transforms_that_remember_are_found_in_data_sets_inside_others():
    caching = type('CachedMosaic', (), {'results_cache': []})()
    inner = SimpleNamespace(pipeline=SimpleNamespace(transforms=[caching, object()]))
    assert stateful_transforms(SimpleNamespace(dataset=SimpleNamespace(datasets=[inner]))) == ['CachedMosaic']
