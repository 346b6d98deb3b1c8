"""Whatever a file holds, looking through it ends with a table."""

import copy
import json
import math
import random

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.datasets.inspection import KINDS, inspect
from damamba.datasets.inspection.outlines import OutlineError, _uncompressed, read_outline
from tests.datasets.inspection.helpers import document, write

STRANGE = (
    None,
    True,
    -1,
    0,
    1,
    2.5,
    1e308,
    10**30,
    math.nan,
    -math.inf,
    '',
    'x',
    '\ud800\x1b[31m',
    [],
    [[]],
    {},
    [1],
    {'a': 1},
)


def spoil(node, rng: random.Random):
    """Put something strange, or nothing, in a random place."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = rng.choice(keys)
        if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.8:
            node = node[key]
        elif rng.random() < 0.2:
            del node[key]
            return
        else:
            node[key] = copy.deepcopy(rng.choice(STRANGE))
            return


@pytest.mark.parametrize('seed', range(5))
def test_anything_at_all_is_looked_through_and_shown(folder, seed):
    from damamba.datasets.inspection.tables import render

    rng = random.Random(seed)
    for _ in range(40):
        content = copy.deepcopy(document())
        for _ in range(rng.randint(1, 6)):
            if content:
                spoil(content, rng)
        write(folder / 'train.json', content)
        found = inspect(folder / 'train.json', workers=1, decode=False)
        assert set(found.kinds) <= set(KINDS)
        text = render(found)
        assert text.encode() and '\x1b' not in text
        json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_compressed_runs_are_read_as_pycocotools_reads_them():
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(1, 60, 2)
        mask = np.asfortranarray(rng.random((height, width)) < rng.random(), np.uint8)
        if not mask.any():
            continue
        rle = coco_mask.encode(mask)
        runs = _uncompressed(rle['counts'].decode())
        assert runs.sum() == mask.size
        values = np.arange(len(runs)) % 2
        assert (np.repeat(values, runs).reshape(height, width, order='F') == mask).all()
        outline = read_outline(dict(size=[int(height), int(width)], counts=rle['counts'].decode()), height, width)
        left, top, across, down = coco_mask.toBbox(rle)
        assert outline.area == mask.sum() and outline.box == (left, top, left + across, top + down)


def test_any_text_is_a_compressed_mask_or_a_defect():
    rng = random.Random(0)
    for _ in range(2000):
        text = ''.join(chr(rng.randint(1, 200)) for _ in range(rng.randint(0, 30)))
        with pytest.raises(OutlineError):
            read_outline(dict(size=[50, 50], counts=text), 50, 50)
