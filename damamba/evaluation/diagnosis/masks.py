"""Masks of another size or order, boxes in their place, masks that went through one map, empty and inverted ones."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from faster_coco_eval.core.mask import area as areas_of
from pycocotools import mask as coco_mask

from damamba.evaluation.diagnosis.box_forms import AS_IT_IS, TURNS
from damamba.evaluation.diagnosis.boxes import BETTER, TURNED, Bench, turned
from damamba.evaluation.diagnosis.columns import Truth, with_drawn_polygons
from damamba.evaluation.diagnosis.mends import Mend, State
from damamba.evaluation.diagnosis.quick_ap import same_picture
from damamba.evaluation.shapes import OVERLAP, fills_its_box, pairs_that_share

MANY = 0.5  # share of the masks from which on a mistake may have been made in all
CLEAR = 0.8  # share of the masks that is no chance
SHARE = 1.5  # the most that nearly all numbers of polygons in shares of the picture are
LEAST = 5  # pieces of evidence
NESTED = 0.5  # share of a box that lies in another one
INSIDE = 0.5  # share of a flattened mask that lies on its object


def mask_mends(state: State) -> list[Mend]:
    """Ways to read masks otherwise, as far as their sizes and shapes allow."""
    if state.kind != 'segm':
        return []
    masks = [(mask, place) for mask, place in zip(state.results.masks, state.results.image.tolist(), strict=True)
             if isinstance(mask, dict) and place >= 0]  # fmt: skip
    if not masks:
        return _of_polygons(state)
    areas = np.asarray(areas_of([mask for mask, _ in masks]))
    fits = np.array([tuple(mask['size']) == state.truth.size(place) for mask, place in masks])
    crossed = np.array([tuple(mask['size'][::-1]) == state.truth.size(place) for mask, place in masks])
    mends = []
    if crossed.mean() > MANY:
        mends.append(_simple('masks-transposed', 'masks transposed', 'Rows and columns were exchanged?', _transposed))
        cause = 'The size of an RLE is height, then width.'
        mends.append(_simple('masks-transposed', 'height and width of masks exchanged', cause, _resized_only))
    if fits.mean() > MANY:
        words = 'the pixels of masks taken row by row'
        mends.append(_simple('masks-transposed', words, 'Runs go by columns in COCO, not by rows.', _reordered))
    if (~fits).mean() > MANY:
        for words, read in (('', _stretch), (', without what was padded', _unpad), (', cut to the picture', _cut)):
            text = f'masks resized to their pictures{words}'
            mends.append(_simple('masks-resized', text, 'COCO wants masks of the size of the picture.', read))
    if (areas == 0).mean() > MANY:
        mends += _empty(state)
    pixels = np.array([np.prod(mask['size']) for mask, _ in masks])
    if np.median(areas / pixels) > MANY:
        mends.append(_simple('masks-inverted', 'masks inverted', 'Background was 1, and the object 0?', _inverted))
    return [*mends, *_turned(state), *_of_polygons(state), *_posing(state), *_flattened(state)]


def _turned(state: State) -> list[Mend]:
    """Masks turned back, in the ways in which the boxes around them cover the objects better."""
    around = replace(state.results, boxes=None).places
    bench = Bench.of(replace(state, results=replace(state.results, boxes=around), known={}))
    least = BETTER * bench.cover(AS_IT_IS)
    forms = zip(TURNS, turned(AS_IT_IS), strict=True)
    better = [(what, form.words[0].replace('boxes', 'masks', 1)) for what, form in forms if bench.cover(form) > least]
    return [replace(_simple('masks-turned', words, TURNED, BACK[what]), gain=0.05) for what, words in better]


def _of_polygons(state: State) -> list[Mend]:
    """Polygons in shares of the picture, or with y first."""
    points = [piece for polygons in state.results.polygons or () for piece in polygons or ()]
    if not points:
        return []
    ways = [('masks-transposed', 'x and y of polygons exchanged', 'Polygons are x, y, x, y ...', _exchanged)]
    if np.quantile(np.abs(np.concatenate(points)), 0.99) <= SHARE:
        words = 'polygons multiplied by width and height'
        ways.append(('masks-resized', words, 'COCO wants pixels of the picture, not shares.', _multiplied))
    changes = {words: partial(_with_moved, move) for _, words, _, move in ways}
    return [Mend((fault,), words, cause, changes[words], 'masks', times=1.35) for fault, words, cause, _ in ways]


def _with_moved(move: Callable[[np.ndarray, tuple], np.ndarray], state: State) -> State:
    return replace(state, results=with_drawn_polygons(state.results, state.truth, move), known={})


def _exchanged(points: np.ndarray, size: tuple) -> np.ndarray:
    return points[:, ::-1]


def _multiplied(points: np.ndarray, size: tuple) -> np.ndarray:
    return points * np.array(size[::-1])


def _simple(fault: str, words: str, cause: str, read: Callable[[dict, tuple], np.ndarray | None]) -> Mend:
    def change(state: State) -> State:
        def changed(mask, place: int):
            if not isinstance(mask, dict) or place < 0:
                return mask
            pixels = read(mask, state.truth.size(place))
            return None if pixels is None else coco_mask.encode(np.asfortranarray(pixels, np.uint8))

        return replace(state, results=state.results.with_masks(changed), known={})

    return Mend((fault,), words, cause, change, 'masks', times=1.35)


def _transposed(mask: dict, size: tuple) -> np.ndarray:
    return coco_mask.decode(mask).T


def _resized_only(mask: dict, size: tuple) -> np.ndarray:
    return coco_mask.decode(mask).ravel(order='F').reshape(mask['size'][::-1], order='F')


def _reordered(mask: dict, size: tuple) -> np.ndarray:
    return coco_mask.decode(mask).ravel(order='F').reshape(mask['size'])


def _inverted(mask: dict, size: tuple) -> np.ndarray:
    return 1 - coco_mask.decode(mask)


BACK = {  # as boxes are turned back
    'mirrored left to right': lambda mask, size: coco_mask.decode(mask)[:, ::-1],
    'mirrored top to bottom': lambda mask, size: coco_mask.decode(mask)[::-1],
    'upside down': lambda mask, size: coco_mask.decode(mask)[::-1, ::-1],
    'turned to the right': lambda mask, size: np.rot90(coco_mask.decode(mask)),
    'turned to the left': lambda mask, size: np.rot90(coco_mask.decode(mask), -1),
}


def _stretch(mask: dict, size: tuple) -> np.ndarray | None:
    return _resize(coco_mask.decode(mask), size) if all(size) else None


def _unpad(mask: dict, size: tuple) -> np.ndarray | None:
    """From a picture that was scaled to touch the sides, and padded at the right or at the bottom."""
    if not all(size):
        return None
    scale = min(mask['size'][0] / size[0], mask['size'][1] / size[1])
    height, width = (max(1, round(side * scale)) for side in size)
    return _resize(coco_mask.decode(mask)[:height, :width], size)


def _cut(mask: dict, size: tuple) -> np.ndarray | None:
    """From a picture that was padded at the right and at the bottom, and not scaled."""
    pixels = coco_mask.decode(mask)[: size[0], : size[1]]
    return pixels if pixels.shape == tuple(size) else None


def _resize(pixels: np.ndarray, size: tuple) -> np.ndarray:
    """By shares of pixels, so that edges of coarse masks come to lie where they were."""
    grown = cv2.resize(pixels.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    return grown >= 0.5


def _as_boxes(state: State) -> State:
    return replace(state, kind='bbox')


def _empty(state: State) -> list[Mend]:
    if state.results.boxes is None or state.results.polygons:
        return []
    words = 'boxes scored in place of masks'
    return [Mend(('masks-empty',), words, 'Masks have no pixels: was a threshold too high, or a type cut to whole '
                 'numbers?', _as_boxes, 'masks', is_bound=True)]  # fmt: skip


def _posing(state: State) -> list[Mend]:
    """Masks that fill their boxes while objects do not; what boxes would score is what true masks may reach."""
    masks = [mask for mask in state.results.masks if isinstance(mask, dict)]
    full = sum(map(fills_its_box, masks))
    objects = zip(state.truth.masks, state.truth.crowd, strict=True)
    true = [fills_its_box(mask) for mask, crowd in objects if mask and not crowd]
    if full < max(LEAST, CLEAR * len(masks)) or not true or sum(true) >= MANY * len(true):
        return []
    return [Mend(('masks-are-boxes',), 'boxes scored in place of masks', 'Masks fill their boxes: were boxes written '
                 'as masks?', _as_boxes, 'masks', is_bound=True)]  # fmt: skip


def _flattened(state: State) -> list[Mend]:
    """Masks of which no two share a pixel, though objects overlap."""
    by_image: dict[int, list] = {}
    for mask, place in zip(state.results.masks, state.results.image.tolist(), strict=True):
        if isinstance(mask, dict) and place >= 0 and tuple(mask['size']) == state.truth.size(place):
            by_image.setdefault(place, []).append(mask)
    if any(map(pairs_that_share, by_image.values())):
        return []
    if sum(_overlapping(state.truth, place) for place in by_image) < LEAST:
        return []
    words = 'the pixels given back that lie on an object and that another mask took'
    cause = 'No two masks share a pixel, though objects do: masks went through one map of labels?'
    return [Mend(('masks-flattened',), words, cause, _given_back, 'masks', is_bound=True, gain=0.03, times=1.1)]


def _overlapping(truth: Truth, place: int) -> int:
    """How many pairs of objects of a picture lose something worth counting if a pixel may belong to one alone."""
    masks = [truth.masks[g] for g in np.flatnonzero((truth.image == place) & ~truth.crowd) if truth.masks[g]]
    return pairs_that_share(masks, OVERLAP)


def _given_back(state: State) -> State:
    """Each mask with what others took of the object that most of it lies on."""
    results, truth = state.results, state.truth
    masks = list(results.masks)
    found, objects = same_picture(results.image, np.where(truth.crowd, -2, truth.image))
    order = np.argsort(results.image[found], kind='stable')
    bounds = np.flatnonzero(np.diff(results.image[found[order]])) + 1
    for part in np.split(order, bounds) if len(order) else ():
        rows, columns = np.unique(found[part]), np.unique(objects[part])
        rows = [n for n in rows if isinstance(results.masks[n], dict)]
        own = [truth.masks[g] for g in columns if truth.masks[g]]
        if rows and own and all(list(results.masks[n]['size']) == list(own[0]['size']) for n in rows):
            boxes = None if results.boxes is None else results.boxes[rows]
            for n, mask in zip(rows, _restored([results.masks[n] for n in rows], own, boxes), strict=True):
                masks[n] = mask
    return state.with_results(masks=masks)


def _restored(masks: list[dict], objects: list[dict], boxes: np.ndarray | None) -> list[dict]:
    everything = coco_mask.merge(masks)
    overlap = np.asarray(coco_mask.iou(masks, objects, [0] * len(objects)))
    inside = np.asarray(coco_mask.iou(masks, objects, [1] * len(objects)))
    if boxes is not None:  # of masks that were lost as a whole, the box tells which object it was
        gone, around = np.asarray(areas_of(masks)) == 0, coco_mask.toBbox(objects)
        by_box = np.asarray(coco_mask.iou(boxes, around, [0] * len(objects)))
        overlap, inside = (np.where(gone[:, None], by_box, it) for it in (overlap, inside))
    best = np.where(inside >= INSIDE, overlap, -1).argmax(axis=1)
    restored = []
    for row, (mask, place) in enumerate(zip(masks, best, strict=True)):
        if inside[row, place] < INSIDE:
            restored.append(mask)
            continue
        lost = coco_mask.merge([objects[place], everything], intersect=True)
        restored.append(coco_mask.merge([mask, lost]))
    return restored
