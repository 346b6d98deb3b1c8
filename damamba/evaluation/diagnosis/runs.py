"""Compressed runs of many masks, looked through at once: pycocotools reads any text, and beyond its end.

The format is said at :func:`damamba.datasets.run_lengths.run_lengths`, which reads one at a time.
"""

from collections.abc import Sequence

import numpy as np

AT_ONCE = 2**22  # characters that are looked at together
MOST_DIGITS = 8  # characters of a number; pycocotools counts in 32 bits


def are_whole(texts: Sequence[bytes], areas: Sequence[int]) -> np.ndarray:
    """Whether the runs of each text, none of them negative, add up to the pixels of its picture: flags [N]."""
    lengths = np.array([len(text) for text in texts], int)
    parts, start = [np.zeros(0, bool)], 0
    ends = np.cumsum(lengths)
    while start < len(texts):
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + AT_ONCE, side='right')))
        parts.append(_are_whole(b''.join(texts[start:end]), lengths[start:end], np.array(areas[start:end], float)))
        start = end
    return np.concatenate(parts)


def _are_whole(text: bytes, lengths: np.ndarray, areas: np.ndarray) -> np.ndarray:
    owner = np.repeat(np.arange(len(lengths)), lengths)  # of each character
    bits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    is_last = (bits < 32) | (bits > 63)  # of a number
    ends_of_texts = np.cumsum(lengths)[lengths > 0] - 1
    good = lengths > 0
    good[owner[(bits < 0) | (bits > 63)]] = False
    good[owner[ends_of_texts[~is_last[ends_of_texts]]]] = False
    is_last[ends_of_texts] = True
    ends = np.flatnonzero(is_last)
    owner = owner[ends]
    runs, digits = _signed(bits, ends)
    good[owner[digits > MOST_DIGITS]] = False
    place = np.arange(len(runs)) - np.searchsorted(owner, owner)  # among the numbers of its text
    for parity in (0, 1):
        chain = (place % 2 == parity) & (place > 0)
        runs[chain] = _summed(runs[chain], owner[chain])
    good[owner[runs < 0]] = False
    return good & (np.bincount(owner, weights=runs, minlength=len(lengths)) == areas)


def _signed(bits: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from their 5 bits a character, the fifth of the last being the sign; and how many characters each has."""
    starts = np.append(0, ends + 1)[: len(ends)]
    digits = ends - starts + 1
    shifts = 5 * np.minimum(np.arange(len(bits)) - np.repeat(starts, digits), MOST_DIGITS)
    numbers = np.add.reduceat((bits & 31) << shifts, starts)
    return numbers - ((bits[ends] & 16) << shifts[ends] + 1), digits


def _summed(differences: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Running sums that begin anew with each owner."""
    sums, first = np.cumsum(differences), np.append(True, np.diff(owner) != 0)[: len(owner)]
    return sums - np.repeat((sums - differences)[first], np.diff(np.append(np.flatnonzero(first), len(owner))))
