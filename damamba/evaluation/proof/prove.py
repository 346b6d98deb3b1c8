"""An evaluation proves itself: ground truth as predictions must be perfect, and what is wrong must be seen to be wrong.

The predictions go the way of a detector's own: through the last steps of its heads (heads.py), the evaluator of the
config, COCO's format and its score. Then each of the known_faults is made in them, and has to be named.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from faster_coco_eval import COCO
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask

from damamba.datasets.categories import DatasetError
from damamba.evaluation.annotations import BROKEN, load, read
from damamba.evaluation.building import build_dataset, datasets_of, explained
from damamba.evaluation.coco_ap import FIELDS, MAX_DETS, ground_truth, score
from damamba.evaluation.known_faults import SABOTAGE, name_faults, why_unseen
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.evaluation.predictions import read_json
from damamba.evaluation.proof.claims import Check, Proof
from damamba.evaluation.proof.heads import Head, Objects, head_of
from damamba.evaluation.proof.label_names import compare_labels
from damamba.evaluation.proof.sample import boxed_by_masks, choose, leave_out_unusable
from damamba.evaluation.results import NAMES, Evaluation, EvaluationError
from damamba.evaluation.tested import Tested, read_tested
from damamba.tables import FEW, UNDEFINED, number
from damamba.types import class_of, listed

PERFECT = 1 - 1e-9
FOUND_AGAIN = 0.95  # COCO's highest IoU
SPARED = 0.05  # share of the objects that may be such that no detector could give them back
LABELLED = 20  # pictures of each split whose labels are held against their names


def prove(cfg: Config, images: int = 100, seed: int = 0) -> Proof:
    """Prove the evaluation that a config's test does.

    Args:
        cfg: a config with our evaluator (:func:`damamba.engine.config.use_our_metric`).
        images: on how many pictures of the ground truth, drawn by ``seed``; more if every class needs one of its own.

    Raises:
        EvaluationError: there is nothing to prove in it, or its annotations lack what COCO's have.
    """
    metric = _metric_of(cfg)
    head = head_of(cfg.model.get('module') or cfg.model)  # of the detector that is tested with augmentation
    if 'segm' in metric['metric'] and not head.makes_masks:
        raise EvaluationError(f'{head.name} makes no masks: measure bbox alone (--eval bbox)')
    tested, meta = _tested(cfg, metric)
    ann_file = ' and '.join(tested.files)
    chosen = choose(tested.document, images, seed)
    if not chosen['annotations']:
        raise EvaluationError(f'{ann_file} has no annotations')
    document, left_out = leave_out_unusable(chosen, 'segm' in metric['metric'])
    if head.boxes_from_masks:
        document = boxed_by_masks(document)
    with tempfile.TemporaryDirectory() as folder:
        checks = [*_labels(cfg, Path(folder)), _counts(meta, head), *_left_out(left_out, len(chosen['annotations']))]
        checks += _evaluate(meta, metric, head, document, Path(folder))
    objects = sum(not a.get('iscrowd') for a in document['annotations'])
    name = Path(cfg.filename).name if cfg.filename else 'a config without a file'
    return Proof(name, ann_file, head.name, len(document['images']), objects, tuple(checks))


def _metric_of(cfg: Config) -> dict:
    """The evaluator of the test that scores boxes or masks, with the kinds that can be proved."""
    for evaluator in listed(cfg.get('test_evaluator')):
        if class_of(evaluator, METRICS) is CocoInstanceMetric:
            kinds = evaluator.get('metric', 'bbox')
            kinds = [kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind in NAMES]
            if not kinds:
                raise EvaluationError('nothing to prove: proposals are neither boxes nor masks of a class')
            return {**evaluator, 'metric': kinds}
    raise EvaluationError('nothing to prove: test_evaluator has no CocoInstanceMetric')


def _tested(cfg: Config, metric: dict) -> tuple[Tested, dict]:
    """What the test is on, whatever its evaluator is told, and what its data set says of the classes."""
    with _silence():
        dataset = build_dataset(cfg.test_dataloader.dataset)
    tested = read_tested(dataset)
    if tested is None:
        raise EvaluationError("nothing to prove: the data set of the test has no annotations in COCO's format")
    if metric.get('ann_file'):
        tested.hold(metric['ann_file'], read(metric['ann_file'], metric.get('backend_args')))
    return tested, dataset.metainfo


def _left_out(reasons: list[str], objects: int) -> Iterator[Check]:
    """A few may be left out, and are named; more are too many to speak of the rest."""
    if reasons:
        passed = None if len(reasons) <= SPARED * objects else False
        yield Check('all objects can be found', passed, f'{len(reasons)} can not: {"; ".join(reasons[:3])}; {BROKEN}')


# Classes.


def _labels(cfg: Config, folder: Path) -> Iterator[Check]:
    """For each split: does the label that an object gets stand for the name that the file gives it?"""
    compared: dict[str, tuple[bool, str]] = {}  # the same set often validates and tests
    for split in ('train', 'val', 'test'):
        for dataset in datasets_of((cfg.get(f'{split}_dataloader') or {}).get('dataset')):
            path = Path(dataset.get('data_root') or '') / dataset['ann_file']
            name = f'labels are the names of {path.parent.name}/{path.name}'
            if path.exists():
                settings = repr(dataset)
                if settings not in compared:
                    compared[settings] = _compare(dataset, path, folder)
                yield Check(name, *compared[settings])
            else:
                yield Check(name, None, 'the file is not there')


def _compare(dataset: dict, path: Path, folder: Path) -> tuple[bool, str]:
    try:
        with _silence(), explained(dataset):
            return compare_labels(dataset, choose(load(path), LABELLED, 0), folder)
    except (DatasetError, EvaluationError) as error:
        return False, str(error).replace(str(folder / 'labels.json'), str(path))


def _counts(meta: dict, head: Head) -> Check:
    """A head for another number of classes can't be what is tested."""
    classes = len(meta['classes'])
    seen = ', '.join(f'{name} {count}' for name, count in head.classes.items())
    passed = all(count == classes for count in head.classes.values()) if head.classes else None
    return Check(f'heads have as many classes as the data, {classes}', passed, seen or 'not known of this detector')


# Scores, of the truth and of what is wrong.


def _evaluate(meta: dict, metric: dict, head: Head, document: dict, folder: Path) -> Iterator[Check]:
    ann_file, prefix = folder / 'truth.json', folder / 'predictions'
    ann_file.write_text(json.dumps(document), encoding='utf-8')
    settings = dict(ann_file=str(ann_file), outfile_prefix=str(prefix), details=False, classwise=False)
    with _silence():
        evaluator: CocoInstanceMetric = METRICS.build(
            {**metric, **settings, 'metric_items': None, 'format_only': False}
        )
        evaluator.dataset_meta = meta
        for sample in _samples(head, ground_truth(document), meta['classes'], 'segm' in metric['metric']):
            evaluator.process({}, [sample])
        evaluator.evaluate(len(document['images']))
    truth = evaluator.truth
    predictions = {kind: read_json(Path(f'{prefix}.{kind}.json'))[kind] for kind in evaluator.evaluation.scores}
    yield from _perfect(evaluator.evaluation, truth, predictions, evaluator.cat_ids)
    yield from _sabotaged(truth, predictions, evaluator.cat_ids)


@contextmanager
def _silence() -> Iterator[None]:
    """Without the evaluator's tables, which would pass for those of a model, and what is said of temporary files."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('ERROR')
    try:
        with redirect_stdout(StringIO()):  # pycocotools prints
            yield
    finally:
        logger.setLevel(level)


def _samples(head: Head, truth: COCO, classes: Sequence[str], masks: bool) -> Iterator[dict]:
    """For each picture what a detector would hand to the evaluator."""
    label_of = {name.strip().casefold(): label for label, name in enumerate(classes)}
    labels = {cat_id: label_of.get(category['name'].strip().casefold()) for cat_id, category in truth.cats.items()}
    for image_id in sorted(truth.imgs):
        image = truth.imgs[image_id]
        objects = [a for a in truth.imgToAnns[image_id] if not a.get('iscrowd')]
        entries = [a for a in objects if labels.get(a['category_id']) is not None]
        shape = (image['height'], image['width'])
        found = head(_objects(truth, entries, labels, shape, masks)) if entries else _nothing(masks)
        yield dict(img_id=image_id, ori_shape=shape, pred_instances=dict(found.items()))


def _objects(truth: COCO, entries: list[dict], labels: Mapping, shape: tuple[int, int], masks: bool) -> Objects:
    boxes = np.array([a['bbox'] for a in entries], dtype=np.float64)
    boxes[:, 2:] += boxes[:, :2]
    rles = [truth.annToRLE(a) for a in entries] if masks else None
    return Objects(*shape, boxes, np.array([labels[a['category_id']] for a in entries]), rles)


def _nothing(masks: bool) -> dict:
    empty = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long))
    return {**empty, 'masks': []} if masks else empty


def _perfect(evaluation: Evaluation, truth: COCO, predictions: dict, cat_ids: Sequence[int]) -> Iterator[Check]:
    """Ground truth as predictions: 1.000 overall and for each class that has objects."""
    for kind, scores in evaluation.scores.items():
        figures = {'all': scores.values['mAP'], **{name: values['mAP'] for name, values in scores.classes.items()}}
        found = [value for value in figures.values() if value != UNDEFINED]
        passed = bool(found) and min(found) >= PERFECT
        lost = '' if passed else _lost(truth, predictions[kind], kind, cat_ids)
        yield Check(f'ground truth scores 1.000: {NAMES[kind]} mAP', passed, _listed(figures) + lost)


def _listed(figures: dict[str, float]) -> str:
    """All of a few; of many those that are not perfect."""
    seen = {name: value for name, value in figures.items() if name == 'all' or len(figures) <= FEW or value < PERFECT}
    parts = [f'{name} {number(value)}' for name, value in seen.items()]
    rest = len(figures) - len(seen)
    return ', '.join([*parts, f'{rest} {"other " if len(seen) > 1 else ""}classes 1.000'] if rest else parts)


def _lost(truth: COCO, entries: list[dict], kind: str, cat_ids: Sequence[int]) -> str:
    """Which objects did not come back, the first ones; or that there are more than count."""
    most = Counter((a['image_id'], a['category_id']) for a in truth.anns.values() if not a.get('iscrowd'))
    crowded = [image_id for (image_id, _), count in most.items() if count > MAX_DETS[-1]]
    if crowded:
        return f'; image {crowded[0]} has more than {MAX_DETS[-1]} objects of a class, and COCO counts no more'
    names = [f'annotation {a["id"]} of image {a["image_id"]}' for a in _missing(truth, entries, kind, cat_ids)]
    return f'; not found again: {len(names)}, such as {", ".join(names[:3])}' if names else ''


def _missing(truth: COCO, entries: list[dict], kind: str, cat_ids: Sequence[int]) -> Iterator[dict]:
    """The objects that no prediction of their class covers as COCO's strictest overlap wants it."""
    for annotation in truth.dataset['annotations']:
        if annotation.get('iscrowd') or annotation['category_id'] not in cat_ids:
            continue
        keys = ('image_id', 'category_id')
        near = [e[FIELDS[kind]] for e in entries if all(e[key] == annotation[key] for key in keys)]
        own = annotation['bbox'] if kind == 'bbox' else truth.annToRLE(annotation)
        if not near or coco_mask.iou(near, [own], [0]).max() < FOUND_AGAIN:
            yield annotation


def _sabotaged(truth: COCO, predictions: dict[str, list[dict]], cat_ids: Sequence[int]) -> Iterator[Check]:
    """Each fault must cost mAP, and be named; without one none may be named."""
    named = name_faults(truth, predictions, cat_ids)
    yield Check('no fault is seen in it', not named, ', '.join(map(str, named)) or 'none')
    for name, (fault, sabotage) in SABOTAGE.items():
        claim = f'{name}: seen'
        reason = why_unseen(name, truth, cat_ids, 'segm' in predictions)
        if reason:
            yield Check(claim, None, f'can not show: {reason}')
            continue
        concerned = predictions if fault in ('shifted', 'swapped') else {'segm': predictions['segm']}
        spoilt = {kind: sabotage(entries, cat_ids) for kind, entries in concerned.items()}
        yield _seen(claim, fault, truth, {**predictions, **spoilt}, cat_ids)


def _seen(claim: str, fault: str, truth: COCO, spoilt: dict[str, list[dict]], cat_ids: Sequence[int]) -> Check:
    known = {kind: [e for e in entries if e['category_id'] in truth.cats] for kind, entries in spoilt.items()}
    evaluation = score(truth, known, cat_ids, draws=0)
    costs = {NAMES[kind]: scores.values['mAP'] for kind, scores in evaluation.scores.items()}
    spent = ', '.join(f'{kind} mAP {number(value)}' for kind, value in costs.items())
    found = name_faults(truth, spoilt, cat_ids)
    passed = [it.name for it in found] == [fault] and min(costs.values()) < PERFECT
    return Check(claim, passed, f'{spent}; {"; ".join(it.evidence for it in found) or "nothing is named"}')
