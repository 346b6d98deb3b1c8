"""Texts of a report, by what a reader sees."""

import pytest

from damamba.reporting.words import counted, listed, place_of


def test_names_are_listed_and_one_is_singular():
    assert [listed(it) for it in ([], ['a'], ['a', 'b'], iter('abc'))] == ['', 'a', 'a and b', 'a, b and c']
    assert [counted(n, 'epoch') for n in (0, 1, 2)] == ['0 epochs', '1 epoch', '2 epochs']


@pytest.mark.parametrize(
    ('kind', 'processes', 'threads', 'text'),
    [
        ('cpu', 1, 2, 'X, 1 process of 2 threads, batch 1'),
        ('cpu', 2, 1, 'X, 2 processes of 1 thread each, batch 1'),
        ('cuda', 1, 8, 'X, 1 process, batch 1'),
        ('cpu', 1, None, 'X, 1 process, batch 1'),
    ],
)
def test_a_place_says_what_times_depend_on(kind, processes, threads, text):
    assert place_of(dict(device='X', kind=kind, processes=processes, threads=threads, batch_size=1)) == text
