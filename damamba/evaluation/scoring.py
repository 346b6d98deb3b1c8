"""COCO's evaluation of boxes and masks, through faster-coco-eval; plain dictionaries in, plain numbers out.

Source of the protocol: https://cocodataset.org/#detection-eval. Axes of the arrays: T overlaps (IoU), R recalls (101),
K classes, A areas (all, small, medium, large), M numbers of detections.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from damamba.evaluation.scores import AREAS, UNDEFINED, Evaluation, EvaluationError, Scores

IOU_THRS = np.linspace(0.5, 0.95, 10)
MAX_DETS = (1, 10, 100)
FIELDS = {'bbox': 'bbox', 'segm': 'segmentation'}  # what a prediction of this kind must have


def ground_truth(dataset: dict) -> COCO:
    """Index annotations in COCO's format for :func:`score`.

    Annotations are numbered anew, since COCO's evaluation takes an id of 0 for none and loses repeated ones.

    Raises:
        EvaluationError: ids of images that are no integers.
    """
    strange = [image['id'] for image in dataset['images'] if not isinstance(image['id'], int)]
    if strange:
        raise EvaluationError(f'ids of images must be integers; the ground truth has {strange[0]!r}')
    annotations = [{**annotation, 'id': i} for i, annotation in enumerate(dataset['annotations'], 1)]
    return COCO({**dataset, 'annotations': annotations})


def category_ids(categories: Sequence[dict], classes: Sequence[str]) -> list[int]:
    """The category of each label: labels follow the order in which the annotation file lists its categories.

    Raises:
        EvaluationError: a class is not among the categories, the classes come in another order, or are one text.
    """
    if isinstance(classes, str):
        raise EvaluationError(f'classes must be a tuple; one class needs its comma: ({classes!r},)')
    found = [category for category in categories if category['name'] in classes]
    names = [category['name'] for category in found]
    absent = [name for name in classes if name not in names]
    if absent:
        raise EvaluationError(
            f'{", ".join(absent)}: not among the categories of the ground truth '
            f'({", ".join(category["name"] for category in categories)}); names must match letter for letter'
        )
    if names != list(classes):
        raise EvaluationError(f'classes must come in the order of the categories of the ground truth: {tuple(names)}')
    return [category['id'] for category in found]


def score(
    truth: COCO,
    predictions: Mapping[str, Sequence[dict]],
    cat_ids: Sequence[int] | None = None,
    iou_thrs: float | Sequence[float] = IOU_THRS,
    max_dets: int | Sequence[int] = MAX_DETS,
) -> Evaluation:
    """Score predictions on all images of the ground truth, as pycocotools does.

    Args:
        truth: the ground truth, in COCO's format.
        predictions: of ``bbox`` and ``segm``, or of one of them, in COCO's format of results: image_id, category_id,
            score, and bbox (x, y, width, height in pixels) or segmentation (RLE). None at all are an mAP of 0.
        cat_ids: the classes that count; all by default.
        iou_thrs: overlaps over which AP and AR are averaged.
        max_dets: how many detections of an image and class count: AR has one value for each, AP is at the largest.

    Raises:
        EvaluationError: predictions for an image or a category that is not in the ground truth, or without what is to
            be scored.
    """
    iou_thrs, max_dets = np.atleast_1d(iou_thrs), sorted(np.atleast_1d(max_dets).tolist())
    cat_ids = list(truth.getCatIds() if cat_ids is None else cat_ids)
    names = {index: truth.cats[cat_id]['name'] for index, cat_id in enumerate(sorted(cat_ids))}
    scores = {}
    for kind, entries in predictions.items():
        _check(truth, entries, kind)
        arrays = _evaluate(truth, _of_kind(entries, kind), kind, cat_ids, iou_thrs, max_dets)
        scores[kind] = _summarize(*arrays, names, iou_thrs, max_dets)
    wanted = set(cat_ids)
    objects = sum(a['category_id'] in wanted and not a.get('iscrowd') for a in truth.anns.values())
    return Evaluation(len(truth.imgs), objects, tuple(max_dets), tuple(iou_thrs.tolist()), scores)


def recall(
    truth: COCO, predictions: Sequence[dict], max_dets: Sequence[int], iou_thrs: Sequence[float] = IOU_THRS
) -> dict[str, float]:
    """Average recall of boxes whatever their class (``AR@k``, ``AR_s@k`` and so on), as for proposals."""
    _check(truth, predictions, 'bbox')
    arrays = _evaluate(truth, _of_kind(predictions, 'bbox'), 'bbox', truth.getCatIds(), iou_thrs, max_dets, False)
    values = _summarize(*arrays, {}, iou_thrs, sorted(max_dets)).values
    return {name: value for name, value in values.items() if name.startswith('AR')}


def _check(truth: COCO, predictions: Sequence[dict], kind: str) -> None:
    for key, known in (('image_id', truth.imgs), ('category_id', truth.cats)):
        strange = sorted({prediction[key] for prediction in predictions} - set(known), key=str)
        if strange:
            count = len(strange)
            raise EvaluationError(
                f'{count} {key}{"s" if count > 1 else ""} of the predictions can not be found in the ground truth, '
                f'such as {strange[0]!r}: these predictions are for another data set'
            )
    if kind == 'segm' and not all(annotation.get('segmentation') for annotation in truth.anns.values()):
        raise EvaluationError('the ground truth has objects without a segmentation: segm can not be scored')
    if any(FIELDS[kind] not in prediction for prediction in predictions):
        raise EvaluationError(f'the predictions have no {FIELDS[kind]}: {kind} can not be scored')


def _of_kind(predictions: Sequence[dict], kind: str) -> list[dict]:
    """Leave boxes out where masks are scored: an object's area is that of its mask, not of its box."""
    other = 'bbox' if kind == 'segm' else 'segmentation'
    return [{key: value for key, value in prediction.items() if key != other} for prediction in predictions]


def _evaluate(
    truth: COCO,
    predictions: list[dict],
    kind: str,
    cat_ids: Sequence[int],
    iou_thrs: Sequence[float],
    max_dets: Sequence[int],
    by_class: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Precision [T, R, K, A, M] and recall [T, K, A, M]."""
    found = truth.loadRes(predictions)
    coco = COCOeval_faster(truth, found, kind)
    coco.params.catIds = list(cat_ids)
    coco.params.iouThrs = np.asarray(iou_thrs, dtype=np.float64)
    coco.params.maxDets = list(max_dets)
    coco.params.useCats = by_class
    coco.evaluate()
    coco.accumulate()
    return np.asarray(coco.eval['precision']), np.asarray(coco.eval['recall'])


def _summarize(
    precision: np.ndarray, recalls: np.ndarray, names: dict[int, str], iou_thrs: Sequence[float], max_dets: list[int]
) -> Scores:
    values = _precisions(precision, iou_thrs)
    values |= {f'AR@{count}': _mean(recalls[:, :, 0, m]) for m, count in enumerate(max_dets)}
    for a, end in list(enumerate(AREAS.values()))[1:]:
        values[f'AR{end}@{max_dets[-1]}'] = _mean(recalls[:, :, a, -1])
    classes = {name: _precisions(precision[:, :, k : k + 1], iou_thrs) for k, name in names.items()}
    return Scores(values, classes)


def _precisions(precision: np.ndarray, iou_thrs: Sequence[float]) -> dict[str, float]:
    """mAP over all overlaps, at 0.50 and 0.75 where these are among them, and by area; all from [T, R, K, A, M]."""
    values = {'mAP': _mean(precision[:, :, :, 0, -1])}
    for overlap, end in ((0.5, '_50'), (0.75, '_75')):
        at = np.flatnonzero(np.isclose(iou_thrs, overlap))
        if len(at):
            values[f'mAP{end}'] = _mean(precision[at, :, :, 0, -1])
    for a, end in list(enumerate(AREAS.values()))[1:]:
        values[f'mAP{end}'] = _mean(precision[:, :, :, a, -1])
    return values


def _mean(values: np.ndarray) -> float:
    """The mean where there is ground truth; -1 where there is none."""
    defined = values[values > UNDEFINED]
    return float(defined.mean()) if defined.size else UNDEFINED
