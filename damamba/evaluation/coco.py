"""COCO's mAP and AR of boxes and masks while training and testing, as one table; the arithmetic is in scoring.py."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from faster_coco_eval import COCO as FasterCOCO
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation.metrics import CocoMetric
from mmengine.fileio import dump
from mmengine.logging import MMLogger

from damamba.evaluation.details import analyse
from damamba.evaluation.encoding import with_encoded_masks
from damamba.evaluation.faults import diagnose
from damamba.evaluation.predictions import coco_results
from damamba.evaluation.scores import Evaluation
from damamba.evaluation.scoring import (
    IOU_THRS,
    MAX_DETS,
    EvaluationError,
    category_ids,
    ground_truth,
    recall,
    renamed,
    score,
)

PROPOSAL_NUMS = (100, 300, 1000)


class CocoInstanceMetric(CocoMetric):
    """COCO's twelve numbers for boxes and for masks, unrounded, through faster-coco-eval.

    As MMDetection's ``CocoMetric``, except that: no detections at all are an mAP of 0; every image counts once, on
    however many processes, and their order does not matter; AR is there, under its own number of detections.

    Args:
        ann_file: annotations in COCO's format; without them the ground truth comes with the data samples.
        metric: one or more of ``bbox``, ``segm``, ``proposal``, ``proposal_fast`` (the same as ``proposal``).
        classwise: log AP by class, and return it as ``<kind>_<class>_precision``.
        proposal_nums: numbers of detections of which AR is measured; COCO's (1, 10, 100) by default, and
            (100, 300, 1000) for proposals.
        iou_thrs: overlaps over which AP and AR are averaged; 0.50 to 0.95 in steps of 0.05 by default.
        metric_items: the names to return, such as ``mAP`` and ``AR@100``; all by default.
        format_only: write COCO result files and measure nothing.
        outfile_prefix: where result files go: ``<prefix>.bbox.json`` and ``<prefix>.segm.json``.
        backend_args: how ``ann_file`` is read, as in MMEngine.
        collect_device: ``cpu`` or ``gpu``: how results of several processes are collected.
        collect_dir: the folder through which they are collected on the CPU; every process must see it.
        prefix: in front of all names; ``coco`` by default.
        sort_categories: sort the categories by their ids, for Objects365.
        details: measure and log more than COCO's numbers: see :func:`~damamba.evaluation.details.analyse`.

    Attributes:
        evaluation: the last :class:`~damamba.evaluation.scores.Evaluation` of boxes or masks, on the first process.
        keep: says of a ground truth which pictures' predictions are to be kept, by their ids; none, unless set.
        kept: the last ones, as :func:`~damamba.evaluation.predictions.coco_results` has them, on the first process.
    """

    def __init__(
        self,
        ann_file: str | None = None,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = False,
        proposal_nums: int | Sequence[int] | None = None,
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: str | Sequence[str] | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        prefix: str | None = None,
        sort_categories: bool = False,
        details: bool = False,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            metric=metric if isinstance(metric, str) else list(metric),
            classwise=classwise,
            iou_thrs=_numbers(iou_thrs, IOU_THRS, 'iou_thrs'),
            metric_items=[metric_items] if isinstance(metric_items, str) else metric_items,
            format_only=format_only,
            outfile_prefix=outfile_prefix,
            backend_args=backend_args,
            collect_device=collect_device,
            prefix=prefix,
            sort_categories=sort_categories,
        )
        self.collect_dir = collect_dir
        self.details = details
        self.max_dets = _numbers(proposal_nums, MAX_DETS, 'proposal_nums').astype(int).tolist()
        self.proposal_nums = _numbers(proposal_nums, PROPOSAL_NUMS, 'proposal_nums').astype(int).tolist()
        self.evaluation: Evaluation | None = None
        self.keep: Callable[[FasterCOCO], Sequence[int]] | None = None
        self.kept: dict[str, list[dict]] = {}
        self._truth: FasterCOCO | None = None

    @property
    def truth(self) -> FasterCOCO | None:
        """The ground truth of the last evaluation; its categories are called as the classes are."""
        return self._truth

    @property
    def dataset_meta(self) -> dict | None:
        """What the data set says of itself; its classes are held against the ground truth when this is set.

        Raises:
            EvaluationError: a class is not in the ground truth, or the classes come in another order.
        """
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        self._dataset_meta = meta
        if self._coco_api is not None:
            self._category_ids()

    def _category_ids(self) -> list[int | None]:
        meta = self.dataset_meta
        return category_ids(self._coco_api.dataset['categories'], meta['classes'], meta.get('by_name', False))

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        super().process(data_batch, [with_encoded_masks(sample) for sample in data_samples])

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return ``{'bbox_mAP': ..., 'segm_AR@100': ...}`` and so on, of the metrics asked for."""
        logger = MMLogger.get_current_instance()
        once = {result['img_id']: (truth, result) for truth, result in results}  # samplers repeat some to fill up
        truths, found = zip(*(once[img_id] for img_id in sorted(once)), strict=True) if once else ((), ())
        self._read_truth(truths)
        predictions = coco_results(found, self.cat_ids)
        self.cat_ids = [cat_id for cat_id in self.cat_ids if cat_id is not None]
        if self.keep:
            wanted = set(self.keep(self._truth))
            self.kept = {k: [e for e in entries if e['image_id'] in wanted] for k, entries in predictions.items()}
        if self.outfile_prefix:
            self._write(predictions)
            logger.info('Wrote the predictions to %s.*.json', self.outfile_prefix)
        return {} if self.format_only else self._measure(predictions, logger)

    def _read_truth(self, truths: Sequence[dict]) -> None:
        """Set what the base class's methods want: the ground truth, its categories and its images."""
        if self._coco_api is None:
            with tempfile.TemporaryDirectory() as folder:
                self._coco_api = COCO(self.gt_to_coco_json(truths, f'{folder}/truth'))
        self.cat_ids = self._category_ids()
        if self._truth is None:
            content = renamed(self._coco_api.dataset, self.cat_ids, self.dataset_meta['classes'])
            self._truth = ground_truth({'annotations': [], **content})
        self.img_ids = sorted(self._coco_api.get_img_ids())

    def _write(self, predictions: dict[str, list[dict]]) -> None:
        Path(self.outfile_prefix).parent.mkdir(parents=True, exist_ok=True)
        for kind, entries in predictions.items():
            dump(entries, f'{self.outfile_prefix}.{kind}.json')

    def _measure(self, predictions: dict[str, list[dict]], logger: MMLogger) -> dict[str, float]:
        values = {}
        if {'proposal', 'proposal_fast'} & set(self.metrics):
            values |= recall(self._truth, predictions['bbox'], self.proposal_nums, self.iou_thrs)
        kinds = [kind for kind in ('bbox', 'segm') if kind in self.metrics]
        if kinds:
            wanted = {kind: predictions.get(kind, []) for kind in kinds}
            evaluation = score(self._truth, wanted, self.cat_ids, self.iou_thrs, self.max_dets)
            self.evaluation = replace(evaluation, faults=diagnose(self._truth, wanted, self.cat_ids))
            if self.details:
                details = analyse(self._truth, wanted, self.cat_ids, most=self.evaluation.max_dets[-1])
                self.evaluation = replace(self.evaluation, details=details)
            _log(self.evaluation, self.classwise, logger)
            values |= self.evaluation.flat(self.classwise, self.metric_items)
        return values


def _numbers(values: float | Sequence[float] | None, default: Sequence[float], name: str) -> np.ndarray:
    """One number or several as an array."""
    try:
        return np.atleast_1d(default if values is None else np.asarray(values, dtype=float))
    except (TypeError, ValueError) as error:
        raise EvaluationError(f'{name} takes numbers, not {values!r}') from error


def _log(evaluation: Evaluation, classwise: bool, logger: MMLogger) -> None:
    logger.info('\n%s', evaluation.table())
    if classwise:
        logger.info('\n%s', evaluation.class_table())
    if evaluation.details:
        logger.info('\n%s', evaluation.details.table())
    for fault in evaluation.faults:
        logger.warning('These figures look wrong. %s', fault)
    for kind, scores in evaluation.scores.items():
        figures = [value for name, value in scores.values.items() if name.startswith('mAP')]
        logger.info('%s_mAP_copypaste: %s', kind, ' '.join(f'{value:.3f}' for value in figures))
