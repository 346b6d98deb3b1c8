"""What the evaluation measures beyond COCO's twelve numbers: one object that is tables, a dictionary, and pictures.

The pictures are drawn from the dictionary, by :mod:`damamba.reporting.charts`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from faster_coco_eval import COCO

from damamba.evaluation.analysis.confusion import Confusion, confuse
from damamba.evaluation.analysis.errors import Errors, break_down
from damamba.evaluation.analysis.merge_split import Segmentation, count_segments
from damamba.evaluation.analysis.overlaps import read_pictures
from damamba.evaluation.analysis.picks import Picks, containers_of, count_picks
from damamba.evaluation.coco_ap import IOU_THRS, arrays, check, class_columns, evaluate, of_kind, summarize
from damamba.evaluation.results import NAMES, EvaluationError, Scores
from damamba.tables import Table

COCO_PIXELS = 640 * 480  # of the picture that COCO's sizes are relative to: 32^2 are 1/300 of it, 96^2 are 3 %
CURVES = {'0.50': 0.5, '0.75': 0.75}


@dataclass(frozen=True)
class KindDetails:
    """The details of boxes or of masks.

    ``sizes`` has AP and AR by relative area: small is less than 1/300 of the picture, large 3 % or more. ``curves`` has
    for each class, by the overlap, precision at 101 recalls from 0 to 1; nothing for a class without objects.
    ``segmentation`` is of masks alone, and so are ``picks``, where pictures are of totes.
    """

    sizes: Scores
    curves: dict[str, dict[str, list[float]]]
    confusion: Confusion
    errors: Errors
    segmentation: Segmentation | None = None
    picks: Picks | None = None


@dataclass(frozen=True)
class Details:
    """What was measured, by kind, ``bbox`` or ``segm``.

    ``least_score`` is from which score on a detection counts in confusion, segmentation and picks, ``max_dets`` how
    many detections of a picture and class count in the rest.
    """

    least_score: float
    max_dets: int
    kinds: dict[str, KindDetails]

    def to_dict(self) -> dict:
        """Plain values for a JSON file; sizes have no intervals."""
        content = asdict(self)
        for kind in content['kinds'].values():
            del kind['sizes']['intervals'], kind['sizes']['class_intervals']
        return content

    def table(self) -> str:
        """All tables, each of boxes and then of masks."""
        blocks = [_size_table(NAMES[kind], details.sizes) for kind, details in self.kinds.items()]
        blocks += [details.errors.table(NAMES[kind]) for kind, details in self.kinds.items()]
        blocks += [details.confusion.table(NAMES[kind]) for kind, details in self.kinds.items()]
        blocks += [d.segmentation.table(NAMES[kind]) for kind, d in self.kinds.items() if d.segmentation]
        blocks += [details.picks.table(NAMES[kind]) for kind, details in self.kinds.items() if details.picks]
        return '\n'.join(blocks)


def _size_table(kind: str, sizes: Scores) -> str:
    rows = {**sizes.classes, 'mean': sizes.values} if len(sizes.classes) > 1 else sizes.classes
    title = f'{kind.capitalize()} AP and AR by relative area'
    return Table.of_numbers(title, 'class', rows, sizes.values).text()


def analyse(
    truth: COCO,
    predictions: Mapping[str, Sequence[dict]],
    cat_ids: Sequence[int],
    least_score: float = 0.3,
    most: int = 100,
    containers: str | Collection[str] | None = None,
) -> Details:
    """Measure how good predictions are by relative size, what they are confused with, and what their errors cost.

    Args:
        truth: the ground truth, in COCO's format; its images must say their width and height.
        predictions: of ``bbox`` and ``segm``, or of one of them, as for :func:`~damamba.evaluation.coco_ap.score`.
        cat_ids: the classes that count, in the order in which they are listed.
        least_score: from which score on a detection counts in the confusion matrix, in over- and under-segmentation
            and in first picks, which are of a detector as it is used, at one threshold.
        most: how many detections of an image and class count in the rest, as in COCO's AP.
        containers: the classes of what holds objects and is not picked. First picks are judged where some are named;
            by default, where there is a class Tote, or Object alone.

    Raises:
        EvaluationError: as for :func:`~damamba.evaluation.coco_ap.score`; an image lacks its size; or a container is
            no class.
    """
    kinds, holders = {}, containers_of([category['name'] for category in truth.cats.values()], containers)
    for kind, entries in predictions.items():
        check(truth, entries, kind, cat_ids)
        kinds[kind] = _analyse(truth, of_kind(entries, kind), kind, list(cat_ids), least_score, most, holders)
    return Details(least_score, most, kinds)


def _analyse(
    truth: COCO,
    entries: list[dict],
    kind: str,
    cat_ids: list[int],
    least_score: float,
    most: int,
    holders: Collection[str] | None,
) -> KindDetails:
    names = [truth.cats[cat_id]['name'] for cat_id in cat_ids]
    pictures = read_pictures(truth, entries, kind, cat_ids, most)
    precision, recalls = arrays(evaluate(truth, entries, kind, cat_ids, IOU_THRS, [most], size=_relative(truth)))
    columns = class_columns(truth, cat_ids)
    return KindDetails(
        sizes=_by_size(summarize(precision, recalls, columns, IOU_THRS, [most])),
        curves={name: _curves(precision[:, :, k, 0, -1]) for name, k in columns.items()},
        confusion=confuse(pictures, names, least_score),
        errors=break_down(pictures, names),
        segmentation=count_segments(pictures, names, least_score) if kind == 'segm' else None,
        picks=count_picks(pictures, names, least_score, holders) if kind == 'segm' and holders is not None else None,
    )


def _relative(truth: COCO) -> Callable[[dict], float]:
    """A function that gives areas as they would be in a picture of 640 x 480, for which COCO's limits are made."""
    unsized = [image['id'] for image in truth.imgs.values() if not (image.get('width') and image.get('height'))]
    if unsized:
        raise EvaluationError(
            f'the images of the ground truth must say their width and height, such as {unsized[0]}: '
            'without them there are no relative areas'
        )
    factors = {i: COCO_PIXELS / (image['width'] * image['height']) for i, image in truth.imgs.items()}
    return lambda annotation: annotation['area'] * factors[annotation['image_id']]


def _by_size(scores: Scores) -> Scores:
    """The numbers by size alone: ``mAP_s`` to ``mAP_l`` and ``AR_s@k`` to ``AR_l@k``."""

    def chosen(values: dict[str, float]) -> dict[str, float]:
        return {name: value for name, value in values.items() if name.split('@')[0][-2:] in ('_s', '_m', '_l')}

    return Scores(chosen(scores.values), {name: chosen(values) for name, values in scores.classes.items()})


def _curves(precision: np.ndarray) -> dict[str, list[float]]:
    """Precision at 101 recalls by overlap, from [T, R]; empty where there are no objects."""
    if (precision < 0).all():
        return {}
    at = {name: np.flatnonzero(np.isclose(IOU_THRS, overlap))[0] for name, overlap in CURVES.items()}
    return {name: precision[t].tolist() for name, t in at.items()}
