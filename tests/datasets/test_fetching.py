"""A sample whose picture can't be read is replaced by one that is drawn; each fault is told."""

import pickle

import numpy as np
import pytest

from damamba.datasets.fetching import Fetch, UnreadablePicture, fetch_of


class Numbers:
    """Gives its indices; some of them can't be read."""

    def __init__(self, count: int, broken: set[int]) -> None:
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        if index in self.broken:
            raise UnreadablePicture(f'{index}.jpg', 'is broken')
        return index


class Seeded(Fetch):
    def seed(self, index: int) -> None:
        np.random.seed(index)


def test_the_same_other_sample_takes_the_place_whenever_and_wherever_it_is_asked_for():
    told = []
    fetch = Seeded(Numbers(50, {3, 7}), lambda error: told.append(error.file))
    first = fetch([1, 3, 5, 7])
    assert first[0::2] == [1, 5] and not {3, 7} & set(first)
    assert pickle.loads(pickle.dumps(Seeded(fetch.dataset, told.append)))([7])[0] == fetch([3, 7])[1] == first[3]
    assert set(told[:2]) == {'3.jpg', '7.jpg'}


def test_where_hardly_anything_can_be_read_it_ends():
    with pytest.raises(UnreadablePicture, match=r'\d.jpg: is broken; nor could any of 99 others'):
        Fetch(Numbers(5, set(range(5))), lambda error: None)([2])


def test_a_fetch_of_another_kind_keeps_who_is_told():
    data = Numbers(5, set())
    fetch_of(data).on_error = print
    assert type(fetch_of(data, Seeded)) is Seeded and data.__getitems__.on_error is print
    assert fetch_of(data) is data.__getitems__
