"""COCO's mAP and AR of boxes and masks while training and testing, as one table; the arithmetic is in coco_ap.py."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from faster_coco_eval import COCO as FasterCOCO
from mmdet.evaluation.metrics import CocoMetric
from mmengine.fileio import dump
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils.data import Dataset

from damamba.evaluation.analysis.details import analyse
from damamba.evaluation.annotations import load, read, require_usable
from damamba.evaluation.coco_ap import (
    IOU_THRS,
    MAX_DETS,
    EvaluationError,
    category_ids,
    check_size,
    ground_truth,
    recall,
    renamed,
    require_all,
    score,
    summarize,
)
from damamba.evaluation.known_faults import name_faults
from damamba.evaluation.predictions import coco_results, with_encoded_masks
from damamba.evaluation.results import AREAS, Evaluation, Scores
from damamba.evaluation.tested import Tested, read_tested

PROPOSAL_NUMS = (100, 300, 1000)


class CocoInstanceMetric(CocoMetric):
    """COCO's twelve numbers for boxes and for masks, unrounded, through faster-coco-eval.

    As MMDetection's ``CocoMetric``, except that: no detections at all are an mAP of 0; every image counts once, on
    however many processes, and their order does not matter; AR is there, under its own number of detections. The ground
    truth is that of the data set that is tested (:meth:`use`), and figures of other pictures can't be made.

    Args:
        ann_file: annotations in COCO's format, which are held against the data set's. Where nobody says which data set
            is tested they are the ground truth, and without them that comes with the data samples.
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
        details: measure and log more than COCO's numbers: see :func:`~damamba.evaluation.analysis.details.analyse`.
        containers: of the details, classes that hold what a robot picks; Tote by default, where there is such a class.

    Attributes:
        truth: the ground truth of the last evaluation; its categories are called as the classes are.
        evaluation: the last :class:`~damamba.evaluation.results.Evaluation` of boxes or masks, on the first process.
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
        containers: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(
            metric=metric if isinstance(metric, str) else list(metric),
            classwise=classwise,
            iou_thrs=_numbers(iou_thrs, IOU_THRS, 'iou_thrs'),
            metric_items=[metric_items] if isinstance(metric_items, str) else metric_items,
            format_only=format_only,
            outfile_prefix=outfile_prefix,
            backend_args=backend_args,
            collect_device=collect_device,
            prefix=prefix,
        )
        self.ann_file, self.collect_dir, self.sort_categories = ann_file, collect_dir, sort_categories
        self.details, self.containers = details, containers
        self.max_dets = _numbers(proposal_nums, MAX_DETS, 'proposal_nums').astype(int).tolist()
        self.proposal_nums = _numbers(proposal_nums, PROPOSAL_NUMS, 'proposal_nums').astype(int).tolist()
        self.evaluation: Evaluation | None = None
        self.keep: Callable[[FasterCOCO], Sequence[int]] | None = None
        self.kept: dict[str, list[dict]] = {}
        self.tested: Tested | None = None
        self._document = read(ann_file, backend_args) if ann_file else None
        self.truth: FasterCOCO | None = None

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
        if self._document is not None:
            self._category_ids(self._document)

    def use(self, dataset: Dataset) -> None:
        """Take the ground truth from the data set that is tested, if it has one in COCO's format.

        Raises:
            EvaluationError: ``ann_file`` is another one, or an evaluation of it can't end well.
        """
        self.tested = read_tested(dataset)
        if self.tested is None:
            return
        if self.ann_file:
            self.tested.hold(self.ann_file, read(self.ann_file, self.backend_args))
        self._document, self.truth = self.tested.document, None
        if not self.format_only:  # which is for pictures whose annotations others keep
            require_usable(self._document, ' and '.join(self.tested.files), self.present, self.metrics)
            self.names()

    @property
    def present(self) -> list[int]:
        """The categories that are evaluated, in the order of the classes."""
        return [cat_id for cat_id in self._category_ids(self._document) if cat_id is not None]

    def _category_ids(self, document: dict) -> list[int | None]:
        meta, categories = self.dataset_meta, document['categories']
        if self.sort_categories:
            categories = sorted(categories, key=lambda category: category['id'])
        return category_ids(categories, meta['classes'], meta.get('by_name', False))

    @property
    def kinds(self) -> list[str]:
        """Those of ``bbox`` and ``segm`` that are measured."""
        return [kind for kind in ('bbox', 'segm') if kind in self.metrics]

    @property
    def proposes(self) -> bool:
        """Whether the recall of proposals is measured."""
        return bool({'proposal', 'proposal_fast'} & set(self.metrics))

    def names(self) -> list[str]:
        """What the figures will be called, but for the prefix.

        Raises:
            EvaluationError: ``metric_items`` has one that there is not.
        """

        def nothing(max_dets: Sequence[int]) -> Scores:
            precision = np.zeros((len(self.iou_thrs), 1, 1, len(AREAS), len(max_dets)))
            columns = dict.fromkeys(self.dataset_meta['classes'], 0)
            return summarize(precision, precision[:, 0], columns, self.iou_thrs, sorted(max_dets))

        names = [name for name in nothing(self.proposal_nums).values if name.startswith('AR')] if self.proposes else []
        measured = Evaluation(0, 0, (), (), dict.fromkeys(self.kinds, nothing(self.max_dets)))
        return names + list(measured.flat(self.classwise, self.metric_items))

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the detections of some pictures, and what comes with them of the ground truth where that is wanted."""
        for sample in map(with_encoded_masks, data_samples):
            number = self.tested.number(sample) if self.tested else sample['img_id']
            instances = sample['pred_instances'].items()
            found = {name: it.cpu().numpy() if isinstance(it, Tensor) else it for name, it in instances}
            height, width = sample['ori_shape'][:2]
            truth = {'img_id': number, 'height': height, 'width': width}
            if self._document is None:
                truth['anns'] = sample['instances']
            self.results.append((truth, {**found, 'img_id': number}))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return ``{'bbox_mAP': ..., 'segm_AR@100': ...}`` and so on, of the metrics asked for.

        Raises:
            EvaluationError: the pictures are not those of the ground truth.
        """
        logger = MMLogger.get_current_instance()
        once = {result['img_id']: (truth, result) for truth, result in results}  # samplers repeat some to fill up
        truths, found = zip(*(once[img_id] for img_id in sorted(once)), strict=True) if once else ((), ())
        self._read_truth(truths)
        if not self.format_only:
            require_all(self.truth, once)
        for picture in truths if self._document else ():
            check_size(self.truth, picture['img_id'], (picture['height'], picture['width']), 'pictures')
        predictions = coco_results(found, self.cat_ids)
        self.cat_ids = [cat_id for cat_id in self.cat_ids if cat_id is not None]
        if self.keep:
            wanted = set(self.keep(self.truth))
            self.kept = {k: [e for e in entries if e['image_id'] in wanted] for k, entries in predictions.items()}
        if self.outfile_prefix:
            self._write(predictions)
            logger.info('Wrote the predictions to %s.*.json', self.outfile_prefix)
        return {} if self.format_only else self._measure(predictions, logger)

    def _read_truth(self, truths: Sequence[dict]) -> None:
        """Index the ground truth, once; or anew what came with the samples."""
        document = self._document
        if document is None:
            with tempfile.TemporaryDirectory() as folder:
                document = load(self.gt_to_coco_json(truths, f'{folder}/truth'))
        self.cat_ids = self._category_ids(document)
        if self.truth is None or self._document is None:
            self.truth = ground_truth(renamed(document, self.cat_ids, self.dataset_meta['classes']))

    def _write(self, predictions: dict[str, list[dict]]) -> None:
        Path(self.outfile_prefix).parent.mkdir(parents=True, exist_ok=True)
        for kind, entries in predictions.items():
            dump(entries, f'{self.outfile_prefix}.{kind}.json')

    def _measure(self, predictions: dict[str, list[dict]], logger: MMLogger) -> dict[str, float]:
        values = {}
        if self.proposes:
            values |= recall(self.truth, predictions['bbox'], self.proposal_nums, self.iou_thrs)
        if self.kinds:
            wanted = {kind: predictions.get(kind, []) for kind in self.kinds}
            evaluation = score(self.truth, wanted, self.cat_ids, self.iou_thrs, self.max_dets)
            self.evaluation = replace(evaluation, faults=name_faults(self.truth, wanted, self.cat_ids))
            if self.details:
                given = dict(most=self.evaluation.max_dets[-1], containers=self.containers)
                details = analyse(self.truth, wanted, self.cat_ids, **given)
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
    if evaluation.interval_line():
        logger.info('%s', evaluation.interval_line())
    if classwise:
        logger.info('\n%s', evaluation.class_table())
    if evaluation.details:
        for table in filter(None, (evaluation.interval_table(), evaluation.details.table())):
            logger.info('\n%s', table)
    for fault in evaluation.faults:
        logger.warning('These figures look wrong. %s', fault)
    for kind, scores in evaluation.scores.items():
        figures = [value for name, value in scores.values.items() if name.startswith('mAP')]
        logger.info('%s_mAP_copypaste: %s', kind, ' '.join(f'{value:.3f}' for value in figures))
