"""Runs of many masks at once are judged as a reader judges them that takes one at a time."""

import numpy as np
import pytest
from pycocotools import mask as rle

from damamba.datasets.run_lengths import run_lengths
from damamba.evaluation.diagnosis import runs


def is_whole(text: bytes, area: int) -> bool:
    """The same for one text, and plainly."""
    try:
        lengths = run_lengths(text.decode('latin1'))
    except ValueError:
        return False
    return len(text) > 0 and min(lengths) >= 0 and sum(lengths) == area


def masks(rng: np.random.Generator, count: int) -> list[tuple[bytes, int]]:
    """Texts of masks of all kinds, each with its number of pixels: full, empty, one pixel, noise, stripes, blobs."""
    made = []
    for n in range(count):
        height, width = rng.integers(1, 90, 2)
        pixels = np.zeros((height, width), np.uint8, order='F')
        pixels[: rng.integers(0, height + 1), : rng.integers(0, width + 1)] = 1
        if n % 3 == 0:
            pixels[:] = rng.random((height, width)) < rng.random()
        made.append((rle.encode(pixels)['counts'], int(height * width)))
    return made


def damaged(text: bytes, rng: np.random.Generator) -> bytes:
    """Cut, longer, with another character, or with two exchanged."""
    place, kind = int(rng.integers(len(text))), rng.integers(5)
    if kind == 0:
        return text[:place]
    if kind == 1:
        return text + bytes(rng.integers(48, 112, 2, dtype=np.uint8))
    if kind == 2:
        return text[:place] + bytes(rng.integers(0, 256, 1, dtype=np.uint8)) + text[place + 1 :]
    if kind == 3:
        return text[::-1]
    return text[:place] + bytes(rng.integers(48, 112, 1, dtype=np.uint8)) + text[place + 1 :]


@pytest.mark.parametrize('at_once', [runs.AT_ONCE, 50, 1])
def test_good_and_damaged_texts_are_told_apart(monkeypatch, at_once):
    monkeypatch.setattr(runs, 'AT_ONCE', at_once)
    rng = np.random.default_rng(0)
    good = masks(rng, 150)
    assert runs.are_whole(*zip(*good, strict=True)).all()
    broken = [(damaged(text, rng), area) for text, area in good for _ in range(4)]
    mixed = [*good, *broken, *((text, area + 1) for text, area in good)]
    wanted = [is_whole(*it) for it in mixed]
    assert 100 < sum(wanted) < len(wanted) - 500
    assert runs.are_whole(*zip(*mixed, strict=True)).tolist() == wanted


@pytest.mark.parametrize(
    ('text', 'area', 'whole'),
    [
        (b'', 4, False),  # no runs at all
        (b'4', 4, True),
        (b'04', 4, True),  # full
        (b'4', 5, False),
        (b'1' * 4, 5, True),  # the fourth is the difference to the second: 1 + 1 + 1 + 2 is 5
        (b'o' * 40, 4, False),  # a number without an end
        (b'P' * 9 + b'4', 4, False),  # one that is too long
        (b'M5', 2, False),  # -3 and 5
        (b'4 ', 4, False),
        (b'4\xff', 4, False),
    ],
)
def test_cases_by_hand(text, area, whole):
    assert runs.are_whole([b'4', text, b'4'], [4, area, 4]).tolist() == [True, whole, True]


def test_no_text():
    assert runs.are_whole([], []).tolist() == []
