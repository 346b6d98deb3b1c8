"""Which detections COCO's evaluation has matched, class by class.

D detections of a class, the surest first; T overlaps (IoU); A areas (all, small, medium, large); I pictures, in the
order of their ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import faster_coco_eval.faster_eval_api_cpp as faster
import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from damamba.evaluation.intervals import Matches


@dataclass(frozen=True)
class _Boxes:
    """What lies in the pictures of a class, by picture."""

    image: np.ndarray
    area: np.ndarray
    value: np.ndarray  # the score of a detection; of an object, whether it is a crowd

    def take(self, places: np.ndarray) -> '_Boxes':
        return _Boxes(self.image[places], self.area[places], self.value[places])

    def outside(self, areas: np.ndarray) -> np.ndarray:
        """Whether each lies outside of each range: [A, D]."""
        return (self.area < areas[:, :1]) | (self.area > areas[:, 1:])


def read_matches(coco: COCOeval_faster) -> Iterator[Matches]:
    """What an evaluation has matched, for each class in the order of their ids."""
    objects, detections = (_by_class(it, coco, key) for it, key in ((coco.cocoGt, 'iscrowd'), (coco.cocoDt, 'score')))
    for cat_id in coco.params.catIds:
        yield _of_class(coco, cat_id, objects[cat_id], detections[cat_id])


def _by_class(index: COCO, coco: COCOeval_faster, key: str) -> dict[int, _Boxes]:
    """By category, and in it by picture; those of a picture in the order in which they came."""
    places = {image_id: place for place, image_id in enumerate(coco.params.imgIds)}
    entries = list(index.anns.values())
    image = np.array([places[it['image_id']] for it in entries], dtype=np.intp)
    category = np.array([it['category_id'] for it in entries], dtype=np.int64)
    area = np.array([it['area'] for it in entries], dtype=float)
    value = np.array([it.get(key) or 0 for it in entries], dtype=float)
    order = np.lexsort((image, category))
    every, category = _Boxes(image, area, value).take(order), category[order]
    spans = (np.searchsorted(category, (it, it + 1)) for it in coco.params.catIds)
    return {cat_id: every.take(slice(*span)) for cat_id, span in zip(coco.params.catIds, spans, strict=True)}


def _of_class(coco: COCOeval_faster, cat_id: int, objects: _Boxes, detections: _Boxes) -> Matches:
    areas, images = np.array(coco.params.areaRng), len(coco.params.imgIds)
    detections = detections.take(np.lexsort((-detections.value, detections.image)))
    detections = detections.take(_place_in_picture(detections.image) < coco.params.maxDets[-1])
    shape = (len(areas), len(coco.params.iouThrs), len(detections.image))
    found, ignored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    ignored[:] = detections.outside(areas)[:, None]  # so it is where there is nothing to find
    matched = np.isin(detections.image, objects.image)
    if matched.any():
        found[..., matched], ignored[..., matched] = _matched(coco, cat_id, detections.image[matched])
    order = np.argsort(-detections.value, kind='stable')
    wanted = ~objects.outside(areas) & (objects.value == 0)
    counts = np.stack([np.bincount(objects.image[row], minlength=images) for row in wanted])
    return Matches(detections.image[order], found[..., order], ignored[..., order], counts)


def _place_in_picture(image: np.ndarray) -> np.ndarray:
    """Of detections that are sorted by picture: which of its own each is."""
    return np.arange(len(image)) - np.searchsorted(image, image)


def _matched(coco: COCOeval_faster, cat_id: int, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the detections of some pictures have found, and which are ignored: each [A, T, D].

    faster-coco-eval keeps no matches: it makes them again from the overlaps that it has, and lists them by area and
    picture, and in there by overlap and detection.
    """
    params, (pictures, counts) = coco.params, np.unique(image, return_counts=True)
    ids = [params.imgIds[place] for place in pictures]
    ious = [[coco.ious[image_id, cat_id]] for image_id in ids]
    most = params.maxDets[-1]
    evaluated = faster.COCOevalEvaluateImages(
        params.areaRng, most, params.iouThrs, ious, coco.gt_dataset, coco.dt_dataset, ids, [cat_id], True
    )
    states = [it.__getstate__() for it in evaluated]
    found = np.fromiter(chain.from_iterable(state[0] for state in states), dtype=np.int64) > 0
    ignored = np.frombuffer(b''.join(bytes(state[4]) for state in states), dtype=bool)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    first = len(params.iouThrs) * starts + np.arange(len(image)) - starts
    places = first + np.arange(len(params.iouThrs))[:, None] * np.repeat(counts, counts)
    areas = len(params.areaRng)
    return found.reshape(areas, -1)[:, places], ignored.reshape(areas, -1)[:, places]
