"""Groups of any size: none is cut or lost, no part is empty, single pictures are counted out exactly."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damamba.datasets.splitting.allotment import SIZE, allot, whole_numbers

FRACTIONS = st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5), (0.9, 0.05, 0.05), (0.2, 0.2, 0.2, 0.4)])
GROUP = st.builds(
    lambda size, objects: {SIZE: size} | objects,
    st.integers(0, 40),
    st.dictionaries(st.integers(1, 5), st.integers(1, 9), max_size=3),
)


def totals(groups, places, count) -> list[Counter]:
    found = [Counter() for _ in range(count)]
    for group, place in zip(groups, places, strict=True):
        found[place].update(group)
    return found


@settings(max_examples=30, deadline=None)
@given(groups=st.lists(GROUP, min_size=4, max_size=25), fractions=FRACTIONS, seed=st.integers(0, 3))
def test_no_part_is_empty_and_the_seed_alone_decides(groups, fractions, seed):
    places = allot(groups, fractions, seed)
    assert {*places} == {*range(len(fractions))} and len(places) == len(groups)
    assert places == allot(groups, fractions, seed)


@settings(max_examples=40, deadline=None)
@given(
    classes=st.lists(st.sets(st.integers(1, 4), max_size=2), min_size=4, max_size=60),
    fractions=FRACTIONS,
    seed=st.integers(0, 3),
)
def test_single_pictures_are_counted_out_to_the_last(classes, fractions, seed):
    groups = [{SIZE: 1} | dict.fromkeys(own, 1) for own in classes]
    found = totals(groups, allot(groups, fractions, seed), len(fractions))
    assert [it[SIZE] for it in found] == whole_numbers(len(groups), fractions)


@pytest.mark.parametrize(
    ('total', 'fractions', 'wanted'),
    [
        (10, (0.8, 0.1, 0.1), [8, 1, 1]),
        (100, (0.7, 0.2, 0.1), [70, 20, 10]),
        (7, (0.5, 0.25, 0.25), [3, 2, 2]),
        (3, (0.98, 0.01, 0.01), [1, 1, 1]),
        (5, (0.9, 0.05, 0.05), [3, 1, 1]),
        (1001, (1 / 3, 1 / 3, 1 / 3), [334, 334, 333]),
    ],
)
def test_whole_numbers(total, fractions, wanted):
    assert whole_numbers(total, fractions) == wanted


def test_classes_have_the_same_share_of_every_part_and_rare_ones_are_in_each():
    groups = [{SIZE: 1, 1: 2, **({2: 1} if i % 10 == 0 else {}), **({3: 1} if i % 67 == 0 else {})} for i in range(200)]
    for seed in range(3):
        train, val, test = totals(groups, allot(groups, (0.8, 0.1, 0.1), seed), 3)
        assert (train[1], val[1], test[1]) == (320, 40, 40)
        assert (train[2], val[2], test[2]) == (16, 2, 2)
        assert (train[3], val[3], test[3]) == (1, 1, 1)


def test_a_class_of_half_the_pictures_is_dealt_out_to_the_last():
    groups = [{SIZE: 1, 1: 1 + i % 7} | ({2: 1} if i % 2 else {}) for i in range(500)]
    found = totals(groups, allot(groups, (0.7, 0.2, 0.1), 0), 3)
    assert [(it[SIZE], it[2]) for it in found] == [(350, 175), (100, 50), (50, 25)]
    assert all(abs(it[1] - share * 1996) <= 2 for it, share in zip(found, (0.7, 0.2, 0.1), strict=True))


def test_groups_come_as_near_to_their_fractions_as_they_can():
    """Of these sizes 80, 10 and 10 can be had."""
    sizes = [31, 17, 13, 10, 7, 6, 5, 4, 3, 2, 1, 1]
    groups = [{SIZE: size, 1: 3 * size} for size in sizes]
    found = totals(groups, allot(groups, (0.8, 0.1, 0.1), 0), 3)
    assert [it[SIZE] for it in found] == [80, 10, 10]


def test_a_class_of_few_large_groups_does_not_ruin_the_fractions():
    groups = [{SIZE: 40, 1: 1}, {SIZE: 40, 1: 1}, *({SIZE: 1, 2: 1} for _ in range(20))]
    train, val = totals(groups, allot(groups, (0.8, 0.2), 0), 2)
    assert (train[SIZE], val[SIZE]) == (80, 20) and val[1] == 0
