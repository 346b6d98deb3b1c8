"""Annotations and results as columns: what a diagnosis compares and mends.

Shapes: I pictures, K categories, G objects, N detections. Boxes are x, y, width, height in pixels, [N, 4].
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from damamba.evaluation.diagnosis.runs import are_whole

UNKNOWN = -1  # a picture or a category that the annotations do not have
MISSING = np.nan
LARGEST = 1e9  # beyond which a number is none of a picture
BOX, SCORE = ('bbox', 'box'), ('score', 'confidence', 'conf')
CATEGORY = ('category_id', 'category', 'category_name', 'class', 'class_name', 'label')
MASK = ('segmentation', 'mask', 'rle')

Size = tuple[int, int]  # height, width, as in an RLE


@dataclass(frozen=True)
class Truth:
    """Annotations: pictures by ascending ids, as COCO's evaluation has them, categories as the file lists them."""

    image_ids: list
    listed: np.ndarray  # [I], the places of the pictures in the order of the file
    names: list[str]  # of the pictures' files
    sizes: np.ndarray  # [I, 2]: height, width; 0 where the file does not say
    category_ids: list
    categories: list[str]  # names
    image: np.ndarray  # [G], places among the pictures
    label: np.ndarray  # [G], places among the categories
    boxes: np.ndarray  # [G, 4]
    crowd: np.ndarray  # [G], bool
    ignored: np.ndarray  # [G], bool: an ``ignore`` that COCO's evaluation does not look at
    outlines: list  # G segmentations as they are written, None where there is none

    @property
    def has_masks(self) -> bool:
        """Whether all objects have one, so that masks can be scored."""
        return all(self.outlines)

    @cached_property
    def masks(self) -> list[dict | None]:
        """G RLEs; those of a picture without a size are None."""
        sizes = self.sizes[self.image].tolist()
        return [as_rle(outline, size) for outline, size in zip(self.outlines, sizes, strict=True)]

    def size(self, place: int) -> Size:
        """Height and width of a picture in pixels."""
        return tuple(self.sizes[place].tolist())


@dataclass(frozen=True)
class Results:
    """Detections. ``image`` and ``label`` are places among the pictures and the categories of a :class:`Truth`."""

    image: np.ndarray  # [N]
    label: np.ndarray  # [N]
    scores: np.ndarray  # [N], NaN where there is none
    boxes: np.ndarray | None  # [N, 4]
    masks: list | None  # N RLEs or polygons
    image_ids: Sequence  # N, as they are written
    category_ids: Sequence  # N, as they are written
    polygons: list | None = None  # N, of masks that are written so

    def __len__(self) -> int:
        return len(self.image)

    @property
    def places(self) -> np.ndarray:
        """x, y, width, height of each detection, of its mask where it has no box: [N, 4]."""
        return self._mask_boxes if self.boxes is None else self.boxes

    @cached_property
    def _mask_boxes(self) -> np.ndarray:
        boxes = np.full((len(self), 4), MISSING)
        for place, mask in enumerate(self.masks):
            if isinstance(mask, dict):
                boxes[place] = coco_mask.toBbox(mask)
        return boxes

    def take(self, chosen: np.ndarray) -> 'Results':
        """Some detections alone: places [M], or flags [N]."""
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        lists = ('masks', 'image_ids', 'category_ids', 'polygons')
        parts = {name: [getattr(self, name)[p] for p in places] for name in lists if getattr(self, name) is not None}
        boxes = None if self.boxes is None else self.boxes[places]
        return replace(self, **self._numbers(places), boxes=boxes, **parts)

    def _numbers(self, places: np.ndarray) -> dict[str, np.ndarray]:
        return {'image': self.image[places], 'label': self.label[places], 'scores': self.scores[places]}

    def with_masks(self, change: Callable[[Any, int], Any]) -> 'Results':
        """Masks as a function of each and of its picture makes them."""
        pairs = zip(self.masks, self.image.tolist(), strict=True)
        return replace(self, masks=[change(mask, place) for mask, place in pairs])


def read_truth(document: Mapping) -> Truth:
    """Annotations in COCO's format as columns."""
    images, categories = sorted(document['images'], key=lambda it: order_of(it['id'])), document['categories']
    places = {image['id']: place for place, image in enumerate(images)}
    labels = {category['id']: place for place, category in enumerate(categories)}
    objects = [a for a in document['annotations'] if a['image_id'] in places and a['category_id'] in labels]
    return Truth(
        image_ids=[image['id'] for image in images],
        listed=np.array([places[image['id']] for image in document['images']], int),
        names=[str(image.get('file_name', '')) for image in images],
        sizes=np.array([[it.get('height') or 0, it.get('width') or 0] for it in images], int).reshape(-1, 2),
        category_ids=[category['id'] for category in categories],
        categories=[category['name'] for category in categories],
        image=np.array([places[a['image_id']] for a in objects], int),
        label=np.array([labels[a['category_id']] for a in objects], int),
        boxes=np.array([a['bbox'] for a in objects], float).reshape(-1, 4),
        crowd=np.array([bool(a.get('iscrowd')) for a in objects], bool),
        ignored=np.array([bool(a.get('ignore')) for a in objects], bool),
        outlines=[a.get('segmentation') or None for a in objects],
    )


def order_of(number: Any) -> tuple:
    """What sorts ids of any kind: numbers first."""
    return (0, number, '') if isinstance(number, (int, float)) else (1, 0, str(number))


def read_results(entries: Sequence[Mapping], truth: Truth) -> Results:
    """Results as columns, by ids as they are written; what is written in no known way is missing."""
    image_ids, category_ids = ([_first(it, keys) for it in entries] for keys in (('image_id',), CATEGORY))
    masks = [_first(it, MASK) for it in entries]
    masks = _masks(masks) if any(mask is not None for mask in masks) else None
    polygons = [mask if isinstance(mask, list) else None for mask in masks or ()]
    boxes = [_first(it, BOX) for it in entries]
    return Results(
        image=places_of(image_ids, {written: place for place, written in enumerate(truth.image_ids)}),
        label=places_of(category_ids, {written: place for place, written in enumerate(truth.category_ids)}),
        scores=np.array([_number(_first(it, SCORE)) for it in entries], float),
        boxes=np.array([_box(box) for box in boxes], float) if any(box is not None for box in boxes) else None,
        masks=masks,
        image_ids=image_ids,
        category_ids=category_ids,
        polygons=polygons if any(polygons) else None,
    )


def with_drawn_polygons(
    results: Results, truth: Truth, move: Callable[[np.ndarray, Size], np.ndarray] | None = None
) -> Results:
    """Polygons as RLE of the size of their pictures, where these are known; ``move`` is applied to their points [N, 2].

    The points are x, y in pixels; a move also gets height and width of the picture.
    """
    if results.polygons is None:
        return results
    masks = list(results.masks)
    for n, polygons in enumerate(results.polygons):
        if polygons and results.image[n] >= 0:
            size = truth.size(results.image[n])
            pieces = [np.reshape(piece, (-1, 2)) for piece in polygons]
            moved = [(move(piece, size) if move else piece).ravel().tolist() for piece in pieces]
            masks[n] = as_rle(moved, size)
    return replace(results, masks=masks)


def places_of(written: Sequence, known: Mapping) -> np.ndarray:
    """The place of each id or name, UNKNOWN where it is not among the known ones."""
    return np.array([known.get(it, UNKNOWN) if _is_plain(it) else UNKNOWN for it in written], int)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def _first(entry: Mapping, keys: Sequence[str]) -> Any:
    return next((entry[key] for key in keys if entry.get(key) is not None), None)


def _number(value: Any) -> float:
    """A finite number, also as text or alone in a list; NaN for anything else."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return MISSING
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return MISSING
    return number if math.isfinite(number) and abs(number) < LARGEST else MISSING


def _box(box: Any) -> list[float]:
    if isinstance(box, Mapping) and len(box) == 4:
        box = list(box.values())
    return [_number(side) for side in box] if isinstance(box, (list, tuple)) and len(box) == 4 else [MISSING] * 4


def _masks(written: Sequence) -> list:
    """Masks as compressed RLE, or polygons; None where one is neither."""
    masks = [_mask(mask) for mask in written]
    places = [place for place, mask in enumerate(masks) if isinstance(mask, dict)]
    areas = [masks[place]['size'][0] * masks[place]['size'][1] for place in places]
    for place in np.array(places, int)[~are_whole([masks[place]['counts'] for place in places], areas)]:
        masks[place] = None
    return masks


def _mask(mask: Any) -> Any:
    if not isinstance(mask, Mapping):
        if isinstance(mask, list) and _is_polygon(mask):
            mask = [mask]  # one polygon without the list around it
        return mask if isinstance(mask, list) and mask and all(map(_is_polygon, mask)) else None
    size, counts = mask.get('size'), mask.get('counts')
    if not (isinstance(size, (list, tuple)) and len(size) == 2 and all(type(s) is int and 0 < s < 2**15 for s in size)):
        return None
    if isinstance(counts, list):
        fits = all(type(run) is int and run >= 0 for run in counts) and sum(counts) == size[0] * size[1]
        return coco_mask.frPyObjects({'size': list(size), 'counts': counts}, *size) if fits else None
    counts = counts.encode('latin1', 'replace') if isinstance(counts, str) else counts
    return {'size': list(size), 'counts': counts} if isinstance(counts, bytes) else None


def _is_polygon(piece: Any) -> bool:
    if not isinstance(piece, list) or len(piece) < 6 or len(piece) % 2:
        return False
    return all(isinstance(it, (int, float)) and abs(it) < 1e6 for it in piece)


def as_rle(outline: Any, size: Sequence[int]) -> dict | None:
    """A segmentation as compressed RLE, polygons in a picture of this height and width."""
    if isinstance(outline, Mapping):
        return _masks([outline])[0]
    polygons = [piece for piece in outline or () if len(piece) >= 6]
    if not polygons or not all(size):
        return None
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size))


def as_entries(results: Results, truth: Truth, kind: str) -> list[dict]:
    """What of the results COCO's evaluation can take: detections of known pictures and categories."""
    scores = np.nan_to_num(results.scores).tolist()
    rows = np.flatnonzero((results.image >= 0) & (results.label >= 0))
    entries = []
    for n in rows.tolist():
        image = int(results.image[n])
        entry = {'image_id': truth.image_ids[image], 'category_id': truth.category_ids[results.label[n]]}
        if kind == 'bbox':
            x, y, width, height = np.nan_to_num(results.boxes[n]).tolist()  # one that is none finds nothing
            shape = {'bbox': [x, y, max(width, 0.0), max(height, 0.0)]}
        else:
            shape = {'segmentation': _fitting(results.masks[n], truth.size(image))}
        entries.append({**entry, 'score': scores[n], **shape})
    return entries


def _fitting(mask: object, size: tuple[int, int]) -> dict:
    """A mask of the picture's size; one without pixels where it is of another, which overlaps nothing."""
    if not isinstance(mask, dict) or tuple(mask['size']) != size:
        mask = coco_mask.frPyObjects({'size': list(size), 'counts': [size[0] * size[1]]}, *size)
    return {'size': list(size), 'counts': mask['counts'].decode()}


def stem(name: str) -> str:
    """The name of a file without folders and its ending."""
    return PurePosixPath(name.replace('\\', '/')).stem
