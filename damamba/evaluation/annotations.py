"""Annotations in COCO's format: read, put together from several files, refused where nothing can be scored on them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pycocotools import mask as coco_mask

from damamba.datasets.broken import why_no_runs, why_undrawable
from damamba.datasets.inspection.defects import short_repr
from damamba.datasets.inspection.records import FIELDS
from damamba.datasets.json_files import parse, read_json
from damamba.evaluation.results import EvaluationError

MOST_PIXELS = 2**30  # that OpenCV reads
BROKEN = 'tools/check_dataset.py names all that is broken'
NEEDED = ('id', 'image_id', 'category_id', 'bbox', 'area', 'name')  # the other fields may be missing, but not be wrong


def load(path: str | Path, backend_args: dict | None = None) -> dict:
    """Annotations in COCO's format, also over a network.

    Raises:
        EvaluationError: the file can't be read, or holds something else.
    """
    try:
        is_here = not backend_args and '://' not in str(path)
        document = read_json(path) if is_here else parse(_fetched(path, backend_args))
    except (OSError, ValueError) as error:
        raise EvaluationError(f'{path} can not be read as JSON: {error}') from error
    if not isinstance(document, dict) or not {'images', 'categories'} <= document.keys():
        raise EvaluationError(f'{path} is no ground truth: it lacks images, annotations or categories')
    return {'annotations': [], **document}


def _fetched(path: str | Path, backend_args: dict | None) -> str:
    """A text from elsewhere."""
    from mmengine import fileio  # brings torch, which a file on this machine does not need

    return fileio.get_text(path, backend_args=backend_args)


def read(path: str | Path, backend_args: dict | None = None) -> dict:
    """Annotations in COCO's format to evaluate on.

    Raises:
        EvaluationError: as :func:`load` says; an entry lacks what figures depend on, or has something else in its
            place; or two images have one id.
    """
    document = load(path, backend_args)
    for part, fields in FIELDS.items():
        if not isinstance(document[part], list):
            raise EvaluationError(f'{path}: {part} is {short_repr(document[part])}, not a list; {BROKEN}')
        for place, entry in enumerate(document[part]):
            if wrong := _what_is_wrong(entry, fields):
                where = f'{path}: {part}[{place}]{_number(entry)}'
                raise EvaluationError(f'{where} {wrong}; {BROKEN}')
    for image in document['images']:
        if image.get('height', 1) * image.get('width', 1) > MOST_PIXELS:
            raise EvaluationError(f'{path}: image {image["id"]} has more pixels than any picture that can be read')
    counts = Counter(image['id'] for image in document['images'])
    if repeated := [number for number, count in counts.items() if count > 1]:
        raise EvaluationError(f'{path}: two images have the id {repeated[0]}')
    return document


def _what_is_wrong(entry, fields: dict) -> str | None:
    if not isinstance(entry, dict):
        return f'is {short_repr(entry)}, not an object'
    for key, (is_right, wanted) in fields.items():
        if key == 'id' and 'image_id' in fields:
            continue  # an annotation's own, which matters to nobody
        value = entry.get(key)
        if type(value) is float and value.is_integer():
            value = int(value)
        if key not in entry and key in NEEDED:
            return f'has no {key}'
        if key in entry and not is_right(value):
            return f'has {key} {short_repr(value)}, not {wanted}'
    return None


def _number(entry) -> str:
    return f' (id {short_repr(entry["id"])})' if isinstance(entry, dict) and 'id' in entry else ''


def merge(
    documents: Sequence[dict], files: Sequence[str], paths: Sequence[dict[int, str]] | None = None
) -> tuple[dict, dict[str, int]]:
    """Annotations of several data sets as one, and the new ids of pictures, by their paths, whose ids repeat.

    Raises:
        EvaluationError: their categories differ.
    """
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
        ids = {image['id'] for image in document['images']}
        objects = (a for a in document['annotations'] if a['image_id'] in ids)  # others might be of another's pictures
        merged['annotations'] += _renumbered(objects, 'image_id', changed)
    return merged, numbers


def _renumbered(entries: Iterable[dict], key: str, changed: dict[int, int | None]) -> Iterator[dict]:
    """With the new ids of pictures; without those that have none."""
    for entry in entries:
        number = changed.get(entry[key], entry[key])
        if number is not None:
            yield {**entry, key: number}


def require_usable(document: dict, file: str, cat_ids: Sequence[int], kinds: Iterable[str]) -> None:
    """Refuse a ground truth on which an evaluation of these kinds can't end well, before a training is spent on it.

    Raises:
        EvaluationError: it has nothing to find of these categories, or objects without masks, or in pictures of which
            it does not say the size, where masks are to be scored.
    """
    wanted = set(cat_ids)
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
    if 'segm' not in kinds:
        return
    images = {image['id']: image for image in document['images']}
    require_sizes(images, objects, file)
    sizes = {number: [image.get('height'), image.get('width')] for number, image in images.items()}
    for a in objects:
        if not _is_mask(a['segmentation'], *sizes.get(a['image_id'], (None, None))):
            where = f'{file}: annotation {a.get("id")} of image {a["image_id"]}'
            raise EvaluationError(f'{where}: its segmentation makes no mask of the size of its picture; {BROKEN}')


def require_sizes(images: Mapping[int, dict], entries: Iterable[dict], file: str) -> None:
    """Refuse pictures, by their ids, that some entries have masks in and of which it is not said how large they are.

    Raises:
        EvaluationError: one has no width or no height.
    """
    for number in {entry['image_id']: None for entry in entries}:
        image = images.get(number, {'width': 0, 'height': 0})
        if lacking := [side for side in ('width', 'height') if side not in image]:
            name = f' ({image["file_name"]})' if 'file_name' in image else ''
            raise EvaluationError(
                f'{file}: image {number}{name} has no {" and no ".join(lacking)}, without which masks can not be '
                'scored: write the sizes of the pictures, in pixels, into images, or score boxes alone'
            )


def _is_mask(segmentation, height: int | None, width: int | None) -> bool:
    """Whether pycocotools, and so the evaluation, makes a mask of it."""
    if not (height and width):
        return True  # of a picture that is not there
    if isinstance(segmentation, dict):
        return not why_no_runs(segmentation, (width, height))
    if isinstance(segmentation, list) and any(map(why_undrawable, segmentation)):
        return False  # such as a list of RLE, which pycocotools would take
    try:
        return bool(coco_mask.frPyObjects(segmentation, height, width))
    except Exception:  # what pycocotools makes of it has no end
        return False
