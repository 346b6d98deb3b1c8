"""Differences by hand, and how often equal models are told apart."""

import numpy as np
import pytest

from damamba.evaluation.comparison import (
    LEAST_PICTURES,
    MEANINGLESS,
    Difference,
    compare,
    is_meaningful,
    read_draws,
    write_draws,
)
from damamba.evaluation.intervals import Matches, draw_pictures, resample

SPLITS, PICTURES, DRAWS = 200, 25, 400
FIGURES = {'mAP': (0, [0])}


def model(rng, objects, share):
    """A detector that finds this share of the objects, surer of what is right than of what is not."""
    hits = rng.binomial(objects, share)
    wrong = rng.poisson(1, len(objects))
    image = np.repeat(np.r_[: len(objects), : len(objects)], np.r_[hits, wrong])
    found = np.arange(len(image)) < hits.sum()
    order = np.argsort(-rng.normal(found), kind='stable')
    found = found[order][None, None]
    return Matches(image[order], found, np.zeros_like(found), objects[None])


def difference(seed, shares):
    rng, counts = np.random.default_rng(seed), draw_pictures(PICTURES, DRAWS)
    objects = rng.poisson(3, PICTURES)
    models = [model(rng, objects, share) for share in shares]
    draws = [resample([it], FIGURES, counts).draws['mAP'][:, 0] for it in models]
    values = [resample([it], FIGURES, np.ones((1, PICTURES), np.uint8)).draws['mAP'][0, 0] for it in models]
    return compare(*draws, tuple(values), PICTURES)


def test_equal_models_hardly_ever_lead():
    """No more often than 5 %: of 200, at most 16 with 97.5 % certainty (a binomial distribution)."""
    leads = [difference(seed, (0.7, 0.7)).is_clear for seed in range(SPLITS)]
    assert 1 <= sum(leads) <= 16


def test_a_clear_difference_is_seen():
    found = [difference(seed, (0.9, 0.6)) for seed in range(40)]
    assert sum(it.is_clear and it.low > 0 for it in found) >= 38
    assert all(it.low < it.value < it.high for it in found)


def test_a_model_does_not_lead_over_itself():
    draws = np.random.default_rng(0).random(1000).astype(np.float32)
    same = compare(draws, draws.copy(), (0.5, 0.5), 11)
    assert same == Difference(0, 0, 0, 11) and not same.is_clear and same.more_pictures is None
    nearly = compare(draws, np.nextafter(draws, np.float32(1)), (0.5, 0.5), 11)
    assert not nearly.is_clear


def test_the_draws_of_two_models_are_compared_pair_by_pair():
    """By hand: both vary by far more than they differ."""
    draws = np.random.default_rng(0).random(1000)
    ahead = compare(draws + 0.02, draws, (0.52, 0.5), 50)
    assert (ahead.low, ahead.high) == pytest.approx((0.02, 0.02)) and ahead.is_clear and ahead.more_pictures == 0
    apart = compare(draws[::-1] + 0.02, draws, (0.52, 0.5), 50)
    assert apart.low < -0.7 and apart.high > 0.7 and not apart.is_clear


@pytest.mark.parametrize(
    ('value', 'low', 'high', 'more'),
    [
        (0.1, -0.1, 0.3, 300),  # 0.2 is to become 0.1: four times as many
        (-0.125, -0.5, 0.0625, 125),  # 0.1875 is to become 0.125: 2.25 times as many
        (0.1, 0.0, 0.3, 1),
        (0.1, 0.01, 0.2, 0),
        (0.001, -0.11, 0.1, None),  # 12,321 times as many
        (0.0, -0.1, 0.1, None),
    ],
)
def test_how_many_more_pictures_would_tell(value, low, high, more):
    assert Difference(value, low, high, 100).more_pictures == more


def test_draws_that_are_not_of_the_same_pictures_say_nothing():
    for first, second, pictures in ((np.ones(9), np.ones(8), 20), (np.ones(9), np.zeros(9), LEAST_PICTURES - 1)):
        unknown = compare(first, second, (1.0, 0.0), pictures)
        assert (unknown.low, unknown.high) == (-1, 1) and not unknown.is_clear
    holes = np.r_[np.ones(9), np.nan]
    assert compare(holes, np.zeros(10), (1.0, 0.0), LEAST_PICTURES).low == 1


def test_what_is_too_near_to_nothing_means_nothing():
    assert is_meaningful(MEANINGLESS) and not is_meaningful(0.0099)
    assert is_meaningful(0.02, [0.0, 0.05]) and not is_meaningful(0.02, [0.0, 0.005])


def test_draws_are_read_as_they_were_written_and_what_is_broken_is_none(tmp_path):
    path, rows = tmp_path / 'new' / 'draws.npz', np.array([[0.5, np.nan], [0.25, 1]], dtype=np.float32)
    write_draws(path, {'coco/segm': rows})
    (found,) = read_draws(path).items()
    np.testing.assert_equal(found, ('coco/segm', rows))
    whole = path.read_bytes()
    write_draws(path, {})
    assert not path.exists() and read_draws(path) == {}
    place = whole.index(rows.tobytes())
    for content in (b'', b'PK', b'[]', whole[:-30], whole[:place] + b'x' + whole[place + 1 :]):
        path.write_bytes(content)
        assert read_draws(path) == {}
    np.savez(path, **{'a': np.array(['text']), 'b': np.zeros(3), 'c': np.zeros((2, 2), int), 'd': rows})
    assert list(read_draws(path)) == ['d']
    np.savez(path, a=np.array([[{}]], dtype=object))
    assert read_draws(path) == {}
