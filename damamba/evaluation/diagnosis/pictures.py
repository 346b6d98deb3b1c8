"""Image ids that mean something else: places in a list, names of files, another order."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import PurePosixPath

import numpy as np

from damamba.evaluation.diagnosis.columns import UNKNOWN, Results, Truth, places_of, stem, with_drawn_polygons
from damamba.evaluation.diagnosis.mends import Mend, State

MOST = 2.0**53  # whole numbers that a float holds
SOME = 1000  # ids that tell what ids are written as
MOST_LOST = 0.1  # share of the detections that may still have no picture


def picture_mends(state: State) -> list[Mend]:
    """Other readings of the image ids, each once, those first that say the simplest."""
    results, truth = state.results, state.truth
    seen, mends = {results.image.tobytes()}, []
    known = (results.image >= 0).mean() if len(results) else 1.0
    for fault, words, cause, image in _readings(results, truth):
        found = (image >= 0).mean() if len(image) else 0.0
        if found >= max(1 - MOST_LOST, known) and image.tobytes() not in seen:
            seen.add(image.tobytes())
            mends.append(Mend((fault,), words, cause, _reader(image), 'pictures', times=1.5))
    return mends


def _reader(image: np.ndarray) -> Callable[[State], State]:
    def change(state: State) -> State:
        mapped = replace(state.results, image=image)
        return replace(state, results=with_drawn_polygons(mapped, state.truth), known={})

    return change


def _readings(results: Results, truth: Truth) -> Iterator[tuple[str, str, str, np.ndarray]]:
    names = {}
    for place, name in enumerate(truth.names):
        for key in (name, PurePosixPath(name).name, stem(name), stem(name).lstrip('0'), str(truth.image_ids[place])):
            names.setdefault(key, place)
    are_numbers = all(str(it).isdigit() for it in results.image_ids[:SOME])
    yield (
        'images-by-name', 'image ids as numbers' if are_numbers else 'image ids looked up among the names of the files',
        f'Your image ids are {"numbers in" if are_numbers else "names of files, or"} texts, such as '
        f'{results.image_ids[0]!r}?',
        places_of([_name(it, names) for it in results.image_ids], names),
    )  # fmt: skip
    if not all(type(it) is int or (isinstance(it, float) and it.is_integer()) for it in results.image_ids):
        return
    numbers = np.array(results.image_ids, float)
    if np.abs(numbers).max(initial=0) > MOST:
        return
    numbers = numbers.astype(np.int64)
    yield from _shifted(numbers, truth)
    orders = _orders(truth)
    for what, order in orders.items():
        for first in (0, 1):
            yield (
                'images-by-index', f'image ids taken as places in {what}, counted from {first}',
                f'Your image ids count the pictures from {first}?', _at(order, numbers - first),
            )  # fmt: skip
    for (what, theirs), (other, own) in permutations(orders.items(), 2):
        changed = np.empty_like(own)
        changed[theirs] = own
        yield (
            'images-order', f'the pictures of {what} put in the place of those of {other}',
            f'Your pictures were read in {other}, and got the ids of {what}?', _at(changed, results.image),
        )  # fmt: skip


def _name(written: object, names: Mapping[str, int]) -> str:
    """What of a name is known: all of it, that of the file, or that without its ending; also of an address."""
    text = str(written).replace('\\', '/').partition('?')[0]
    own = (text, PurePosixPath(text).name, stem(text), stem(text).lstrip('0'))
    return next((key for key in own if key in names), text)


def _shifted(numbers: np.ndarray, truth: Truth) -> Iterator[tuple[str, str, str, np.ndarray]]:
    if not len(numbers) or not all(type(it) is int for it in truth.image_ids):
        return
    own = np.array(truth.image_ids, np.int64)
    places = {number: place for place, number in enumerate(truth.image_ids)}
    for step in dict.fromkeys([1, -1, int(own.min() - numbers.min()), int(own.max() - numbers.max())]):
        if step:
            yield (
                'images-shifted', f'image ids {abs(step):,} {"higher" if step > 0 else "lower"}',
                f'Your image ids start at {numbers.min():,}, those of the annotations at {own.min():,}?',
                places_of((numbers + step).tolist(), places),
            )  # fmt: skip


def _orders(truth: Truth) -> dict[str, np.ndarray]:
    """Places of the pictures, by the order in which somebody may have read them."""
    count = len(truth.image_ids)
    return {
        'the order of the file': truth.listed,
        'the order of the ids as texts': np.array(sorted(range(count), key=lambda i: str(truth.image_ids[i])), int),
        'the order of the ids': np.arange(count),
        'the order of the names': np.array(sorted(range(count), key=truth.names.__getitem__), int),
    }


def _at(order: np.ndarray, places: np.ndarray) -> np.ndarray:
    inside = (places >= 0) & (places < len(order))
    return np.where(inside, order[np.where(inside, places, 0)] if len(order) else UNKNOWN, UNKNOWN)
