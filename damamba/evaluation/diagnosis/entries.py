"""Entries of results that can't count, or not in full: what lacks in them, in a sentence each."""

from collections.abc import Iterator, Sequence

import numpy as np
from faster_coco_eval.core.mask import area as areas_of

from damamba.evaluation.diagnosis.columns import Results, Truth

SOME = 0.02  # share of the entries from which on something is said
MANY = 0.5  # from which on it explains figures


def notes_of(results: Results, truth: Truth) -> list[str]:
    """What keeps some of the detections from counting."""
    return [sentence for _, _, sentence in _lacks(results, truth)]


def broken(results: Results, truth: Truth) -> tuple[str, str] | None:
    """The kind, boxes or masks, that most entries do not have in a form that can be read, and a sentence."""
    found = ((kind, sentence) for kind, share, sentence in _lacks(results, truth) if kind and share > MANY)
    return next(found, None)


def _lacks(results: Results, truth: Truth) -> Iterator[tuple[str, float, str]]:
    """The kind that can't be scored, '' where it is both, the share of the entries, and a sentence."""
    for kind, flags, what in _flags(results, truth):
        share = float(flags.mean()) if len(flags) else 0.0
        if share >= SOME:
            yield kind, share, f'{int(flags.sum()):,} of {len(results):,} detections {what}.'


def _flags(results: Results, truth: Truth) -> Iterator[tuple[str, np.ndarray, str]]:
    for what, written, places in (
        ('an image_id', results.image_ids, results.image),
        ('a category', results.category_ids, results.label),
    ):
        yield '', places < 0, f'have {what} that the annotations do not have{_such(written, places)}'
    if results.boxes is not None:
        sides = np.nan_to_num(results.boxes[:, 2:])
        yield 'bbox', ~np.isfinite(results.boxes).all(axis=1), 'have no box of four numbers'
        yield 'bbox', (sides < 0).any(axis=1), 'have a box of negative width or height'
    if results.masks is not None:
        yield from _mask_flags(results, truth)


def _mask_flags(results: Results, truth: Truth) -> Iterator[tuple[str, np.ndarray, str]]:
    is_mask = np.array([isinstance(mask, dict) for mask in results.masks], bool)
    drawable = np.array([bool(it) for it in results.polygons or [None] * len(results)], bool)
    masks = [mask for mask in results.masks if isinstance(mask, dict)]
    is_empty, is_other = np.zeros(len(results), bool), np.zeros(len(results), bool)
    if masks:
        is_empty[is_mask] = np.asarray(areas_of(masks)) == 0
        shapes = np.array([mask['size'] for mask in masks])
        is_other[is_mask] = (shapes != truth.sizes[results.image[is_mask]]).any(axis=1)
    yield 'segm', ~is_mask & ~drawable, 'have no mask that can be read: RLE, or polygons in lists'
    yield '', is_empty, 'have a mask without pixels'
    yield 'segm', is_other & (results.image >= 0), "have a mask of another size than their picture's"


def _such(written: Sequence, places: np.ndarray) -> str:
    lost = next((it for it, place in zip(written, places, strict=True) if place < 0), None)
    return ' (they have none)' if lost is None else f', such as {lost!r}'
