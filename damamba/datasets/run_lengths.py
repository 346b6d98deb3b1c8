"""COCO's compressed run lengths of masks, read."""

import re

import numpy as np

COMPRESSED = re.compile(r'([P-o]{0,11}[0-O])*')  # numbers that 64 bits hold


def run_lengths(text: str) -> list[int]:
    """The run lengths of COCO's compressed form: 5 bits a character from 48 on, the sixth says that more follow.

    From the fourth on, a number is the difference to the one before the last. pycocotools reads any text without
    looking whether it is of this form.

    Raises:
        ValueError: it is not.
    """
    if not COMPRESSED.fullmatch(text):
        raise ValueError('counts is no compressed RLE')
    bits = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(bits < 32)  # the last character of each number, whose fifth bit is the sign
    starts = np.append(0, ends + 1)[: len(ends)]
    shifts = 5 * (np.arange(len(bits)) - np.repeat(starts, ends - starts + 1))
    runs = np.add.reduceat((bits & 31) << shifts, starts) if len(starts) else starts
    runs -= (bits[ends] & 16) << shifts[ends] + 1
    for differences in (runs[1::2], runs[2::2]):
        np.cumsum(differences, out=differences)
    return runs.tolist()
