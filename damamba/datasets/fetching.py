"""How the samples of a batch are fetched from a data set: a sample whose picture can't be read is replaced.

It stands in for torch's own loop over a batch: ``DataLoader`` asks a data set that has ``__getitems__`` for all samples
of a batch at once.
"""

from collections.abc import Callable, Sequence

import numpy as np
from torch.utils.data import Dataset

from damamba.datasets.categories import DatasetError

MOST_TRIES = 100


class UnreadablePicture(DatasetError):
    """A picture that can't be used; ``file`` is its path, and ``reason`` says why."""

    def __init__(self, file: str, reason: str | None = None) -> None:
        # Out of a worker torch raises it anew, with a text alone.
        super().__init__(f'{file}: {reason}' if reason else file)
        self.file, self.reason = file, reason


class Fetch:
    """The samples of these indices of a data set, in their order.

    Args:
        dataset: it is asked for one sample at a time.
        on_error: is told of each picture that can't be read.

    Raises:
        UnreadablePicture: nobody is there to be told; or none of many that were drawn in its place can be read.
    """

    def __init__(self, dataset: Dataset, on_error: Callable[[UnreadablePicture], object] | None = None) -> None:
        self.dataset, self.on_error = dataset, on_error

    def __call__(self, indices: Sequence[int]) -> list:
        return [self.one(index) for index in indices]

    def one(self, index: int) -> object:
        """A sample, or in place of one that can't be read another one, drawn from the random state of the first."""
        self.seed(index)
        for _ in range(MOST_TRIES):
            try:
                return self.dataset[index]
            except UnreadablePicture as error:
                if self.on_error is None:
                    raise
                self.on_error(error)
                last = error
            index = int(np.random.randint(len(self.dataset)))
        raise UnreadablePicture(last.file, f'{last.reason}; nor could any of {MOST_TRIES - 1} others be read')

    def seed(self, index: int) -> None:
        """Put the random state where the sample of an index wants it; as it is, nowhere."""


def fetch_of(dataset: Dataset, kind: type[Fetch] = Fetch) -> Fetch:
    """The way in which a data set's samples are fetched, of this kind; an earlier one's ``on_error`` is kept."""
    earlier = vars(dataset).get('__getitems__')
    if not isinstance(earlier, kind):
        dataset.__getitems__ = kind(dataset, getattr(earlier, 'on_error', None))
    return dataset.__getitems__
