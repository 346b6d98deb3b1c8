"""Ground truths by name, good results for them, and what these score before they are spoilt: each is made once."""

from functools import cache

import numpy as np

from tests.evaluation.diagnosis import sets
from tests.evaluation.diagnosis.detectors import GREAT, detect
from tests.evaluation.diagnosis.plain import plain
from tests.evaluation.diagnosis.sabotage import Variant

MANY = (1, 10, 10_000)  # no limit of detections


@cache
def document(name: str) -> dict:
    return getattr(sets, name)()


@cache
def good(name: str) -> list[dict]:
    return detect(document(name), GREAT, np.random.default_rng(0))


@cache
def _plain(name: str, many: bool) -> dict[str, float]:
    return plain(document(name), good(name), **({'max_dets': MANY} if many else {}))


def unharmed(variant: Variant, name: str, spoilt: dict, entries: list[dict]) -> dict[str, float]:
    """What the results score with no fault: on the pictures that are there, the objects that count, all detections."""
    if 'part-of-pictures' in variant.faults:
        return _of_pictures(name, entries)
    if 'ignored-objects' in variant.faults:
        numbers = {a['id'] for a in document(name)['annotations']}
        crowds = [a | {'iscrowd': 1} if a.get('ignore') or a['id'] not in numbers else a for a in spoilt['annotations']]
        return plain({**spoilt, 'annotations': crowds}, entries)
    return _plain(name, 'max-dets' in variant.faults)


def _of_pictures(name: str, entries: list[dict]) -> dict[str, float]:
    tested, whole = {e['image_id'] for e in entries}, document(name)
    part = {
        key: [it for it in whole[key] if it[own] in tested]
        for key, own in (('images', 'id'), ('annotations', 'image_id'))
    }
    return plain({**whole, **part}, [e for e in good(name) if e['image_id'] in tested])
