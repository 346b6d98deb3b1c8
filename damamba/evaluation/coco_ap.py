"""COCO's evaluation of boxes and masks, through faster-coco-eval; plain dictionaries in, plain numbers out.

Source of the protocol: https://cocodataset.org/#detection-eval. Axes of the arrays: T overlaps (IoU), R recalls (101),
K classes, A areas (all, small, medium, large), M numbers of detections.
"""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from damamba.datasets.categories import DatasetError, match_categories
from damamba.evaluation.annotations import require_sizes
from damamba.evaluation.intervals import DRAWS, Bootstrap, draw_pictures, resample
from damamba.evaluation.known_faults import name_faults
from damamba.evaluation.matched import read_matches
from damamba.evaluation.results import AREAS, UNDEFINED, Evaluation, EvaluationError, Scores

IOU_THRS = np.linspace(0.5, 0.95, 10)
MAX_DETS = (1, 10, 100)
FIELDS = {'bbox': 'bbox', 'segm': 'segmentation'}  # what a prediction of this kind must have


def ground_truth(dataset: dict) -> COCO:
    """Index annotations in COCO's format for :func:`score`.

    Annotations are numbered anew, since COCO's evaluation takes an id of 0 for none and loses repeated ones. Those of
    pictures that are not there are left out, as it takes no notice of them.
    """
    images = {image['id'] for image in dataset['images']}
    known = (annotation for annotation in dataset['annotations'] if annotation['image_id'] in images)
    annotations = [{**annotation, 'id': i} for i, annotation in enumerate(known, 1)]
    return COCO({**dataset, 'annotations': annotations})


def category_ids(categories: Sequence[dict], classes: Sequence[str], by_name: bool = False) -> list[int | None]:
    """The category of each label.

    Labels follow the order in which the annotation file lists its categories, as in MMDetection's ``CocoDataset``; or,
    ``by_name``, that of the classes, as in ``NamedCocoDataset``, with None for a class that the file does not have.

    Raises:
        EvaluationError: a class is not among the categories, the classes come in another order, or are one text; by
            name, that none is there.
    """
    if by_name:
        try:
            return list(match_categories(categories, classes).ids)
        except DatasetError as error:
            raise EvaluationError(str(error)) from error
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
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        ids = [category['id'] for category in found if category['name'] == repeated[0]]
        raise EvaluationError(
            f'the ground truth has {len(ids)} categories called {repeated[0]}, with the ids {", ".join(map(str, ids))} '
            '(a super-category among them?): take out all but one, or give them other names'
        )
    if names != list(classes):
        raise EvaluationError(f'classes must come in the order of the categories of the ground truth: {tuple(names)}')
    return [category['id'] for category in found]


def renamed(dataset: dict, cat_ids: Sequence[int | None], classes: Sequence[str]) -> dict:
    """A ground truth whose categories are called as the classes are: found by name, they may be in another case."""
    names = dict(zip(cat_ids, classes, strict=True))
    return {**dataset, 'categories': [{**c, 'name': names.get(c['id'], c['name'])} for c in dataset['categories']]}


def score(
    truth: COCO,
    predictions: Mapping[str, Sequence[dict]],
    cat_ids: Sequence[int] | None = None,
    iou_thrs: float | Sequence[float] = IOU_THRS,
    max_dets: int | Sequence[int] = MAX_DETS,
    draws: int = DRAWS,
) -> Evaluation:
    """Score predictions on all images of the ground truth, as pycocotools does.

    Args:
        truth: the ground truth, in COCO's format.
        predictions: of ``bbox`` and ``segm``, or of one of them, in COCO's format of results: image_id, category_id,
            score, and bbox (x, y, width, height in pixels) or segmentation (RLE). None at all are an mAP of 0.
        cat_ids: the classes that count, in the order in which they are listed; all by default.
        iou_thrs: overlaps over which AP and AR are averaged.
        max_dets: how many detections of an image and class count: AR has one value for each, AP is at the largest.
        draws: how often pictures are drawn for the intervals; 0 for none.

    Raises:
        EvaluationError: predictions for an image or a category that is not in the ground truth, or without what is to
            be scored; masks for a picture of which it does not say the size.
    """
    iou_thrs, max_dets = np.atleast_1d(iou_thrs), sorted(np.atleast_1d(max_dets).tolist())
    cat_ids = list(truth.getCatIds() if cat_ids is None else cat_ids)
    scores, sampled, columns = {}, {}, class_columns(truth, cat_ids)
    counts = draw_pictures(len(truth.imgs), draws)
    for kind, entries in predictions.items():
        check(truth, entries, kind, cat_ids)
        coco = evaluate(truth, of_kind(entries, kind), kind, cat_ids, iou_thrs, max_dets)
        scores[kind] = summarize(*arrays(coco), columns, iou_thrs, max_dets)
        if counts.size:
            bootstrap = resample(read_matches(coco), _averaged(iou_thrs), counts)
            scores[kind] = _with_intervals(scores[kind], bootstrap, columns)
            order = [0, *(1 + column for column in columns.values())]
            sampled[kind] = bootstrap.draws['mAP'][:, order].astype(np.float32)
    wanted = set(cat_ids)
    objects = sum(a['category_id'] in wanted and not a.get('iscrowd') for a in truth.anns.values())
    return Evaluation(len(truth.imgs), objects, tuple(max_dets), tuple(iou_thrs.tolist()), scores, draws=sampled)


def _with_intervals(scores: Scores, bootstrap: Bootstrap, columns: Mapping[str, int]) -> Scores:
    classes = {name: bootstrap.intervals(1 + column) for name, column in columns.items()}
    return replace(scores, intervals=bootstrap.intervals(0), class_intervals=classes)


def recall(
    truth: COCO, predictions: Sequence[dict], max_dets: Sequence[int], iou_thrs: Sequence[float] = IOU_THRS
) -> dict[str, float]:
    """Average recall of boxes whatever their class (``AR@k``, ``AR_s@k`` and so on), as for proposals."""
    check(truth, predictions, 'bbox', truth.getCatIds())
    coco = evaluate(truth, of_kind(predictions, 'bbox'), 'bbox', truth.getCatIds(), iou_thrs, max_dets, False)
    values = summarize(*arrays(coco), {}, iou_thrs, sorted(max_dets)).values
    return {name: value for name, value in values.items() if name.startswith('AR')}


def class_columns(truth: COCO, cat_ids: Sequence[int]) -> dict[str, int]:
    """The name of each class, in the order given, and its column along K: faster-coco-eval sorts the ids."""
    columns = {cat_id: column for column, cat_id in enumerate(sorted(set(cat_ids)))}
    return {truth.cats[cat_id]['name']: columns[cat_id] for cat_id in cat_ids}


def check(truth: COCO, predictions: Sequence[dict], kind: str, cat_ids: Sequence[int]) -> None:
    """Hold predictions against the ground truth, of which these categories count, as :func:`score` says.

    Raises:
        EvaluationError: they do not belong together, or lack what is to be scored.
    """
    for key, known in (('image_id', truth.imgs), ('category_id', truth.cats)):
        strange = sorted({prediction[key] for prediction in predictions} - set(known), key=str)
        if strange:
            count = len(strange)
            reason = '; '.join(map(str, name_faults(truth, {kind: predictions}, truth.getCatIds())))
            raise EvaluationError(
                f'{count} {key}{"s" if count > 1 else ""} of the predictions can not be found in the ground truth, '
                f'such as {strange[0]!r}: {reason or "these predictions are for another data set"}'
            )
    for prediction in predictions:
        mask = prediction.get('segmentation')
        if isinstance(mask, dict):
            check_size(truth, prediction['image_id'], mask['size'], 'masks')
    if kind == 'segm':
        objects = [a for a in truth.anns.values() if a['category_id'] in set(cat_ids)]
        if not all(a.get('segmentation') for a in objects):
            raise EvaluationError('the ground truth has objects without a segmentation: segm can not be scored')
        require_sizes(truth.imgs, [*objects, *predictions], 'the ground truth')
    if any(FIELDS[kind] not in prediction for prediction in predictions):
        raise EvaluationError(f'the predictions have no {FIELDS[kind]}: {kind} can not be scored')


def require_all(truth: COCO, tested: Container[int]) -> None:
    """Hold the pictures that were tested against those of the ground truth.

    Raises:
        EvaluationError: some were not tested.
    """
    missing = [number for number in truth.imgs if number not in tested]
    if missing:
        raise EvaluationError(
            f'{len(missing)} of the {len(truth.imgs)} pictures of the ground truth were not tested, such as image '
            f'{missing[0]}: these figures would be of others'
        )


def check_size(truth: COCO, image_id: int, size: Sequence[int], what: str) -> None:
    """Hold a height and width, in pixels, against those of the picture, where the ground truth says them.

    Raises:
        EvaluationError: they are others.
    """
    image = truth.imgs.get(image_id, {})
    (height, width), own = size[:2], (image.get('height'), image.get('width'))
    if all(own) and own != (height, width):
        raise EvaluationError(
            f'{what} of {height} x {width} pixels (height x width) for a picture of {own[0]} x {own[1]}, image '
            f'{image_id}: these predictions are for another data set, or the ground truth has its size wrong'
        )


def of_kind(predictions: Sequence[dict], kind: str) -> list[dict]:
    """Leave boxes out where masks are scored: an object's area is that of its mask, not of its box."""
    other = 'bbox' if kind == 'segm' else 'segmentation'
    return [{key: value for key, value in prediction.items() if key != other} for prediction in predictions]


def evaluate(
    truth: COCO,
    predictions: list[dict],
    kind: str,
    cat_ids: Sequence[int],
    iou_thrs: Sequence[float],
    max_dets: Sequence[int],
    by_class: bool = True,
    size: Callable[[dict], float] | None = None,
) -> COCOeval_faster:
    """Match predictions of :func:`of_kind`, and accumulate; :func:`arrays` takes out what came of it.

    ``size`` gives the area of an object or a detection, in place of its pixels.
    """
    found = truth.loadRes(predictions)
    if size:
        truth, found = _resized(truth, size), _resized(found, size)
    coco = COCOeval_faster(truth, found, kind)
    coco.params.catIds = list(cat_ids)
    coco.params.iouThrs = np.asarray(iou_thrs, dtype=np.float64)
    coco.params.maxDets = list(max_dets)
    coco.params.useCats = by_class
    coco.evaluate()
    coco.accumulate()
    return coco


def arrays(coco: COCOeval_faster) -> tuple[np.ndarray, np.ndarray]:
    """Precision [T, R, K, A, M] and recall [T, K, A, M]."""
    return np.asarray(coco.eval['precision']), np.asarray(coco.eval['recall'])


def _resized(coco: COCO, size: Callable[[dict], float]) -> COCO:
    annotations = [{**annotation, 'area': size(annotation)} for annotation in coco.dataset['annotations']]
    return COCO({**coco.dataset, 'annotations': annotations})


def summarize(
    precision: np.ndarray, recalls: np.ndarray, columns: dict[str, int], iou_thrs: Sequence[float], max_dets: list[int]
) -> Scores:
    """COCO's numbers over all classes and for those whose name and column along K are given."""
    classes = {
        name: _values(precision[:, :, k : k + 1], recalls[:, k : k + 1], iou_thrs, max_dets)
        for name, k in columns.items()
    }
    return Scores(_values(precision, recalls, iou_thrs, max_dets), classes)


def _values(
    precision: np.ndarray, recalls: np.ndarray, iou_thrs: Sequence[float], max_dets: list[int]
) -> dict[str, float]:
    """mAP over all overlaps, at 0.50 and 0.75 where these are among them, and by area; AR likewise."""
    averaged = _averaged(iou_thrs).items()
    values = {name: _mean(precision[overlaps, :, :, area, -1]) for name, (area, overlaps) in averaged}
    sizes = list(enumerate(AREAS.values()))[1:]
    values |= {f'AR@{count}': _mean(recalls[:, :, 0, m]) for m, count in enumerate(max_dets)}
    return values | {f'AR{end}@{max_dets[-1]}': _mean(recalls[:, :, a, -1]) for a, end in sizes}


def _averaged(iou_thrs: Sequence[float]) -> dict[str, tuple[int, np.ndarray]]:
    """What each mAP is of: the place of its area, and those of its overlaps."""
    every = np.arange(len(iou_thrs))
    places = {end: np.flatnonzero(np.isclose(iou_thrs, overlap)) for end, overlap in (('_50', 0.5), ('_75', 0.75))}
    alone = {f'mAP{end}': (0, at) for end, at in places.items() if len(at)}
    return {'mAP': (0, every), **alone, **{f'mAP{end}': (a, every) for a, end in enumerate(AREAS.values()) if a}}


def _mean(values: np.ndarray) -> float:
    """The mean where there is ground truth; -1 where there is none."""
    defined = values[values > UNDEFINED]
    return float(defined.mean()) if defined.size else UNDEFINED
