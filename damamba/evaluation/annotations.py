"""Annotations in COCO's format: read, put together from several files, refused where nothing can be scored on them."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmengine import fileio

from damamba.evaluation.results import EvaluationError


def read(path: str | Path, backend_args: dict | None = None) -> dict:
    """Annotations in COCO's format, also over a network.

    Raises:
        EvaluationError: the file can't be read, or holds something else.
    """
    try:
        document = json.loads(fileio.get_text(path, backend_args=backend_args))
    except (OSError, ValueError) as error:
        raise EvaluationError(f'{path} can not be read as JSON: {error}') from error
    if not isinstance(document, dict) or not {'images', 'categories'} <= document.keys():
        raise EvaluationError(f'{path} is no ground truth: it lacks images, annotations or categories')
    return {'annotations': [], **document}


def merge(
    documents: Sequence[dict], files: Sequence[str], paths: Sequence[dict[int, str]] | None = None
) -> tuple[dict, dict[str, int]]:
    """Annotations of several data sets as one, and the new ids of pictures, by their paths, whose ids repeat.

    Raises:
        EvaluationError: their categories differ, or ids of pictures repeat in one of them.
    """
    for document, file in zip(documents, files, strict=False):
        _refuse_strange_ids(document['images'], file)
    first = documents[0]
    if len(documents) == 1:
        return first, {}
    names = [{c['id']: c['name'] for c in document['categories']} for document in documents]
    if any(other != names[0] for other in names):
        raise EvaluationError(f'{" and ".join(files)} have different categories: they can not share one evaluation')
    merged, numbers = {**first, 'images': [], 'annotations': []}, {}
    known: dict[int, str | None] = {}
    fresh = max((image['id'] for document in documents for image in document['images']), default=0)
    for document, part in zip(documents, paths or [{}] * len(documents), strict=False):
        changed = {}
        for image in document['images']:
            own, path = image['id'], part.get(image['id'])
            if path in numbers or known.get(own) == path is not None:
                changed[own] = None  # the same picture once more
            elif own in known:
                fresh += 1
                changed[own] = numbers[path] = fresh
            else:
                known[own] = path
        merged['images'] += _renumbered(document['images'], 'id', changed)
        merged['annotations'] += _renumbered(document['annotations'], 'image_id', changed)
    return merged, numbers


def _renumbered(entries: Iterable[dict], key: str, changed: dict[int, int | None]) -> Iterator[dict]:
    """With the new ids of pictures; without those that have none."""
    for entry in entries:
        number = changed.get(entry[key], entry[key])
        if number is not None:
            yield {**entry, key: number}


def _refuse_strange_ids(images: Sequence[dict], file: str) -> None:
    strange = next((image['id'] for image in images if type(image['id']) is not int), None)
    if strange is not None:
        raise EvaluationError(f'{file}: ids of images must be integers, got {strange!r}')
    repeated = next((number for number, count in Counter(it['id'] for it in images).items() if count > 1), None)
    if repeated is not None:
        raise EvaluationError(f'{file}: two images have the id {repeated}')


def require_usable(document: dict, file: str, cat_ids: Sequence[int], kinds: Iterable[str]) -> None:
    """Refuse a ground truth on which an evaluation of these kinds can't end well, before a training is spent on it.

    Raises:
        EvaluationError: it has nothing to find of these categories, ids that match nothing, or objects without masks
            where masks are to be scored.
    """
    wanted = set(cat_ids)
    known = {str(category['id']) for category in document['categories']}
    for a in document['annotations']:
        if type(a['category_id']) is not int and str(a['category_id']) in known:
            raise EvaluationError(f'{file}: ids of categories must be integers, got {a["category_id"]!r}')
    objects = [a for a in document['annotations'] if a['category_id'] in wanted]
    if not any(not a.get('iscrowd') for a in objects):
        reason = (
            f'all {len(objects)} objects of its classes are crowds' if objects else 'it has no object of the classes'
        )
        raise EvaluationError(f'{file} has nothing to find: {reason}')
    unmasked = [a for a in objects if not a.get('segmentation')] if 'segm' in kinds else ()
    if unmasked:
        raise EvaluationError(
            f'{file}: {len(unmasked)} of {len(objects)} objects have no segmentation, such as annotation '
            f'{unmasked[0].get("id")} of image {unmasked[0]["image_id"]}: segm can not be scored (--eval bbox)'
        )
