"""What a run leaves of itself: metrics.json, run.json and examples.json, written, read, and held against their shapes.

shapes.csv says what they have to be: for each key of a shape what its value is, another shape or one of ``FITS``. A key
with a question mark may be missing or null, a star stands for all that are not named, and ``[4]`` is a list of four.
"""

import csv
import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from damamba.durable import write_text

METRICS, RUN, EXAMPLES, DRAWS = 'metrics.json', 'run.json', 'examples.json', 'draws.npz'
with (Path(__file__).parent / 'shapes.csv').open(encoding='utf-8', newline='') as _file:
    _ROWS = list(csv.DictReader(_file))
FITS = {
    'object': lambda it: isinstance(it, dict),
    'text': lambda it: isinstance(it, str),
    'flag': lambda it: isinstance(it, bool),
    'number': lambda it: isinstance(it, (int, float)) and not isinstance(it, bool),
    'count': lambda it: isinstance(it, int) and not isinstance(it, bool) and it >= 0,
}
SHAPES = {shape: {row['key']: row['is'] for row in rows} for shape, rows in groupby(_ROWS, lambda row: row['shape'])}


class Misfit(ValueError):
    """A value is not of its shape; the text says where, such as ``speed.bins``, and nothing where it is the whole."""


def check_shape(value: Any, shape: str, where: str = '') -> None:
    """Compare a value of JSON with a shape.

    Raises:
        Misfit: it is something else.
    """
    of, is_list, count = shape.removesuffix(']').partition('[')
    if is_list and isinstance(value, list) and count in ('', str(len(value))):
        for place, it in enumerate(value):
            check_shape(it, of, f'{where}[{place}]')
    elif of in SHAPES and isinstance(value, dict) and not is_list:
        others = [name for name in value if not {name, f'{name}?'} & SHAPES[of].keys()]
        for key, part in SHAPES[of].items():
            for name in others if key[0] == '*' else [key.removesuffix('?')]:
                if value.get(name) is not None or key[-1] != '?':
                    check_shape(value.get(name), part, f'{where}.{name}' if where else name)
    elif is_list or of in SHAPES or not FITS[of](value):
        raise Misfit(where)


def _check_figures(content: dict) -> None:
    """What shapes can't say of metrics.json: boxes and masks, and their details, have figures of the same classes."""
    for name, evaluation in evaluations_of(content).items():
        where = f'evaluations.{name}'
        check_shape(evaluation, 'evaluation', where)
        classes = set(classes_of(evaluation))
        is_alike = all(classes == it['classes'].keys() for it in evaluation['scores'].values())
        if not (evaluation['max_dets'] and classes and is_alike):
            raise Misfit(where)
        for kind, details in details_of(evaluation).items():
            for part in ('sizes', 'errors', 'segmentation'):
                if details.get(part) and not classes <= details[part]['classes'].keys():
                    raise Misfit(f'{where}.details.kinds.{kind}.{part}')
    for name in (content.get('speed') or {}).get('bins', ()):
        if not re.fullmatch(r'\d+(-\d+|\+)', name):  # numbers of objects
            raise Misfit(f'speed.bins.{name}')


def evaluations_of(content: dict) -> dict[str, dict]:
    """Those of metrics.json by the evaluators that scored boxes or masks."""
    return {name: it for name, it in (content.get('evaluations') or {}).items() if it and it.get('scores')}


def classes_of(evaluation: dict) -> list[str]:
    return list(next(iter(evaluation['scores'].values()))['classes'])


def details_of(evaluation: dict) -> dict[str, dict]:
    """By kind; empty where there are none."""
    return (evaluation.get('details') or {}).get('kinds') or {}


def write_json(path: Path, content: dict, indent: int | None = 2) -> None:
    """Write a file that nobody who reads it ever sees half of; numbers of NumPy and torch become plain ones."""
    write_text(path, json.dumps(content, indent=indent, default=lambda value: value.item()))


def read_json(path: Path, broken: list[str]) -> dict | None:
    """The content of a file of one of these names; None if there is none, or it is not such a file, which is broken."""
    try:
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding='utf-8'))
        check_shape(content, path.name)
        if path.name == METRICS:
            _check_figures(content)
        return content
    except (OSError, ValueError, RecursionError) as error:
        broken.append(f'{path} ({error})' if isinstance(error, Misfit) and str(error) else str(path))
        return None


def read_metrics(path: Path) -> dict | None:
    """What a run measured; None if the file holds something else, such as results, a list that may be long.

    Raises:
        ValueError: it begins like JSON and is none.
    """
    with path.open(encoding='utf-8', errors='replace') as file:
        if not file.read(64).lstrip().startswith('{'):
            return None
    content = json.loads(path.read_text(encoding='utf-8'))
    return content if isinstance(content.get('evaluations'), dict) else None
