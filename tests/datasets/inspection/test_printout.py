"""An inspection as text, whatever a file holds; tests/cli/test_check_dataset.py has its tables."""

import copy
import json
import math
import random

from damamba.datasets.inspection import KINDS, inspect_dataset
from damamba.datasets.inspection.printout import format_inspection
from tests.datasets.inspection.helpers import document, write_json

NUMBERS = (True, -1, 0, 1, 2.5, 1e308, 10**30, math.nan, -math.inf)
STRANGE = (*NUMBERS, None, '', 'x', '\ud800\x1b[31m', [], [[]], {}, [1], {'a': 1})


def spoil(node, rng: random.Random) -> None:
    """Put something strange, or nothing, in a random place."""
    key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
    if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.8:
        spoil(node[key], rng)
    elif rng.random() < 0.2:
        del node[key]
    else:
        node[key] = copy.deepcopy(rng.choice(STRANGE))


def test_anything_at_all_is_looked_through_and_shown(folder):
    rng = random.Random(0)
    for _ in range(200):
        content = copy.deepcopy(document())
        for _ in range(rng.randint(1, 6)):
            if content:
                spoil(content, rng)
        write_json(folder / 'train.json', content)
        found = inspect_dataset(folder / 'train.json', workers=1, decode=False)
        text = format_inspection(found)
        assert set(found.kinds) <= set(KINDS) and text.encode() and '\x1b' not in text
        json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_three_sizes_and_three_defects_of_a_kind_are_shown(folder):
    content = document()
    content['images'] += [dict(id=i, file_name=f'{i}.jpg', width=i, height=7) for i in range(4, 9)]
    write_json(folder / 'train.json', content)
    text = format_inspection(inspect_dataset(folder, workers=1))
    assert ' 80 x 60 (3), 4 x 7 (1), 5 x 7 (1) ' in text and '6 x 7' not in text
    assert text.count(".jpg' is not there") == 3 and text.endswith('\n    and 2 more')
