"""The same samples in the same order, with the same random numbers, wherever a training was interrupted.

No random state is saved. What a sample's augmentations draw follows from the seed, the pass over the data and the
sample's position in it; what a training step draws, from the seed and the number of the step. So neither the number of
workers, nor what they have fetched ahead, nor a validation in between makes a difference.
"""

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmdet.datasets.samplers import MultiSourceSampler
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from damamba.datasets.fetching import Fetch, fetch_of

SAMPLE, STEP, ORDER = range(3)  # what random numbers are for: no two share theirs
AHEAD = 64  # batches whose indices are drawn at a time, since it takes longer to change random numbers than to draw


def seed_all(*key: int) -> int:
    """Seed Python, NumPy and torch on the CPU from numbers that are not negative; return torch's seed."""
    words = [int(word) for word in np.random.SeedSequence(key).generate_state(6)]
    random.seed(words[0] << 32 | words[1])
    np.random.seed(words[2:4])
    torch.default_generator.manual_seed(words[4] << 32 | words[5])  # torch.manual_seed would also queue CUDA's
    return words[4] << 32 | words[5]


class RandomNumbers:
    """Python's, NumPy's and torch's random numbers from a key, apart from those of the process."""

    def __init__(self, *key: int) -> None:
        before = _states()
        seed_all(*key)
        self.states = _states()
        _put(before)

    @contextmanager
    def used(self) -> Iterator[None]:
        before = _states()
        _put(self.states)
        try:
            yield
        finally:
            self.states = _states()
            _put(before)


def _states() -> tuple:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _put(states: tuple) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


class Place(int):
    """The index of a sample in its data set, with what its random numbers are seeded from."""

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> 'Place':
        place = super().__new__(cls, index)
        place.key = key
        return place

    def __reduce__(self) -> tuple:  # it goes to workers
        return Place, (int(self), self.key)


class SeededFetch(Fetch):
    """Seeds for each sample, in whatever process it is loaded; a plain index has no seed."""

    def one(self, index: int) -> object:
        self.seed(index)
        return super().one(int(index) if isinstance(index, Place) else index)

    def seed(self, index: int) -> None:
        if isinstance(index, Place):
            seed_all(SAMPLE, *index.key)


class ReplayBatchSampler(Sampler):
    """The batches of another batch sampler, whose indices know their places; can start in the middle of a pass.

    Args:
        inner: whose batches they are: of indices, which :class:`Place` takes, or of what has no seed then.
        seed: of the run.
    """

    def __init__(self, inner: Sampler, seed: int) -> None:
        self.inner, self.seed = inner, seed
        self.rank, self.processes = get_dist_info()
        self.pass_of: Callable[[], int] = lambda: 0  # how many passes over the data were completed
        self.begun = False
        self.start = (0, 0)  # the pass, and the batches in it, that were trained on before

    @property
    def sampler(self) -> Sampler:
        return self.inner.sampler

    @property
    def batch_size(self) -> int | Sequence[int]:
        return self.inner.batch_size

    @property
    def drop_last(self) -> bool:
        return self.inner.drop_last

    @property
    def first(self) -> int:
        """The batches of this pass that are left out since they were trained on before."""
        return self.start[1] if self.pass_of() == self.start[0] else 0

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[list]:
        number, first = self.pass_of(), self.first
        if not self.begun:
            self._go_through_earlier_passes(number)
        self.begun = True
        self._set_pass(number)
        numbers, batches = RandomNumbers(ORDER, self.seed, number, self.rank), iter(self.inner)
        with numbers.used():
            deque(itertools.islice(batches, first), maxlen=0)
        count = itertools.count(first)
        while True:
            with numbers.used():  # some samplers draw from NumPy's random numbers
                drawn = list(itertools.islice(batches, AHEAD))
            if not drawn:
                return
            for indices, batch in zip(drawn, count, strict=False):
                yield [self._place(index, number, batch, place) for place, index in enumerate(indices)]

    def _place(self, index: int, number: int, batch: int, place: int) -> int:
        if not isinstance(index, int | np.integer):
            return index
        size = self.batch_size if isinstance(self.batch_size, int) else sum(self.batch_size)
        position = (batch * size + place) * self.processes + self.rank
        return Place(index, (self.seed, number, position))

    def _go_through_earlier_passes(self, number: int) -> None:
        """A few samplers carry something over from pass to pass; indices alone cost little."""
        for earlier in range(number):
            self._set_pass(earlier)
            with RandomNumbers(ORDER, self.seed, earlier, self.rank).used():
                deque(itertools.islice(self.sampler, len(self.sampler) + 1), maxlen=0)

    def _set_pass(self, number: int) -> None:
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(number)


def make_replayable(loop: BaseLoop, seed: int) -> None:
    """Let a training loop take its batches from a :class:`ReplayBatchSampler`, unless its data has no order to keep."""
    loader = loop.dataloader
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset) or not loader.batch_sampler:
        return
    fetch_of(loader.dataset, SeededFetch)
    sampler = ReplayBatchSampler(loader.batch_sampler, seed)
    object.__setattr__(loader, 'batch_sampler', sampler)  # DataLoader lets nobody replace it; it has not begun yet
    if isinstance(loop, IterBasedTrainLoop):
        sampler.pass_of = lambda: loop.dataloader_iterator._epoch
        loop.dataloader_iterator.skip_iter = lambda steps: None  # MMEngine's would skip a second time
    else:
        sampler.pass_of = lambda: loop.epoch
    if isinstance(loop, EpochBasedTrainLoop):
        run_iter = loop.run_iter
        loop.run_iter = lambda idx, data_batch: run_iter(idx + sampler.first, data_batch)


def sampler_of(loop: BaseLoop) -> ReplayBatchSampler | None:
    """What knows the order of a training loop's data, where it can be kept."""
    sampler = getattr(loop.dataloader, 'batch_sampler', None)
    return sampler if isinstance(sampler, ReplayBatchSampler) else None


def pass_at(sampler: ReplayBatchSampler, step: int) -> int:
    """The pass over the data that a step lies in, of a training by iterations that has not said it."""
    endless = isinstance(sampler.sampler, InfiniteSampler | MultiSourceSampler)
    return 0 if endless else step // len(sampler)


def is_between_updates(runner) -> bool:
    """Whether gradients were accumulated that no step of the optimizer has used yet."""
    wrapper = runner.optim_wrapper
    several = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return any(not it.should_update() for it in several)


def stateful_transforms(dataset: Dataset) -> list[str]:
    """The transforms of a data set that keep earlier pictures, so that what they give depends on the worker."""
    inner = [getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())]
    pipeline = getattr(dataset, 'pipeline', None)
    own = getattr(pipeline, 'transforms', pipeline) or ()
    names = [type(it).__name__ for it in own if hasattr(it, 'results_cache')]
    return names + [name for it in inner if it is not None for name in stateful_transforms(it)]


class ReplayHook(Hook):
    """Seed each training step from the run's seed, the step and the process, the device's random numbers too."""

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        names = stateful_transforms(runner.train_dataloader.dataset)
        if names:
            runner.logger.warning(
                '%s keep earlier pictures: after a resume they give others than in a run that was not interrupted',
                ', '.join(names),
            )

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        seed = seed_all(STEP, runner.seed, runner.iter, runner.rank)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed(seed)
