"""An evaluation proves itself: ground truth as predictions must be perfect, and what is wrong must be seen to be wrong.

The predictions go the way of a detector's own: through the last steps of its heads (heads.py), the evaluator of the
config, COCO's format and its score. Then each fault of faults.py is made in them, and has to be named.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from faster_coco_eval import COCO
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement
from pycocotools import mask as coco_mask

from damamba.datasets.categories import DatasetError
from damamba.evaluation.coco import CocoInstanceMetric
from damamba.evaluation.faults import SABOTAGE, diagnose, why_unseen
from damamba.evaluation.heads import Head, Objects, head_of
from damamba.evaluation.predictions import read_json, read_truth
from damamba.evaluation.scores import Evaluation, EvaluationError
from damamba.evaluation.scoring import ground_truth, score
from damamba.evaluation.tables import NAMES, number, start, text

PERFECT = 1 - 1e-9
FEW = 7  # classes whose names fit into a line
LABELLED = 20  # pictures of each split whose labels are held against their names


class ProofError(EvaluationError):
    """An evaluation that does not prove itself; the text names what failed."""


@dataclass(frozen=True)
class Check:
    """One claim, whether it held, and what was seen. ``passed`` is None where there was nothing to see."""

    name: str
    passed: bool | None
    seen: str


@dataclass(frozen=True)
class Proof:
    """All claims about one config's evaluation on one ground truth."""

    config: str
    ann_file: str
    head: str
    images: int
    objects: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        return {'passed': self.passed, **asdict(self)}

    def table(self) -> str:
        """A line for each claim."""
        table = start(f'Proof of the evaluation: {self.config}', 'claim', 'holds', 'seen')
        for check in self.checks:
            table.add_row(check.name, {True: 'yes', False: 'NO', None: '-'}[check.passed], check.seen)
        origin = f'{self.images:,} images and {self.objects:,} objects of {self.ann_file}, through {self.head}'
        return f'{text(table)}\n\n{origin}'

    def require(self) -> None:
        """Raise unless every claim held.

        Raises:
            ProofError: names those that did not.
        """
        failed = [f'{check.name}: {check.seen}' for check in self.checks if check.passed is False]
        if failed:
            raise ProofError(f'the evaluation does not prove itself: {"; ".join(failed)}')


def prove(cfg: Config, images: int = 100, seed: int = 0) -> Proof:
    """Prove the evaluation that a config's test does.

    Args:
        cfg: a config whose settings are spread (:func:`damamba.engine.settings.spread`).
        images: on how many pictures of the ground truth, drawn by ``seed``; every class is among them if it is at all.

    Raises:
        EvaluationError: there is no ``CocoInstanceMetric`` in it, or no annotation file.
    """
    metric = _metric_of(cfg)
    document = _choose(read_truth(Path(metric['ann_file'])), images, seed)
    head = head_of(cfg.model)
    if head.boxes_from_masks:
        document = _boxed_by_masks(document)
    with tempfile.TemporaryDirectory() as folder:
        checks = [*_labels(cfg, Path(folder)), *_evaluate(cfg, metric, head, document, Path(folder))]
    objects = sum(not a.get('iscrowd') for a in document['annotations'])
    name = Path(cfg.filename).name if cfg.filename else 'a config without a file'
    return Proof(name, metric['ann_file'], head.name, len(document['images']), objects, tuple(checks))


def _metric_of(cfg: Config) -> dict:
    """The evaluator of the test that scores masks and boxes."""
    evaluators = cfg.get('test_evaluator') or []
    for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        if METRICS.get(evaluator['type']) is CocoInstanceMetric and evaluator.get('ann_file'):
            return dict(evaluator)
    raise EvaluationError('nothing to prove: test_evaluator has no CocoInstanceMetric with an ann_file')


def _choose(document: dict, count: int, seed: int) -> dict:
    """A part of a ground truth: pictures in a random order, first one of each category."""
    order = np.random.default_rng(seed).permutation(len(document['images'])).tolist()
    ids = [document['images'][number]['id'] for number in order]
    place = {image_id: rank for rank, image_id in enumerate(ids)}
    first: dict[int, int] = {}
    for annotation in document['annotations']:
        image_id, category = annotation['image_id'], annotation['category_id']
        if image_id in place and place[image_id] < place.get(first.get(category), len(ids)):
            first[category] = image_id
    chosen = set(list(dict.fromkeys([*sorted(first.values()), *ids]))[:count])
    return {
        **document,
        'images': [image for image in document['images'] if image['id'] in chosen],
        'annotations': [a for a in document['annotations'] if a['image_id'] in chosen],
    }


def _boxed_by_masks(document: dict) -> dict:
    """Boxes around the masks in place of the annotated ones, for a head that draws its own that way."""
    truth = ground_truth(document)
    boxes = [coco_mask.toBbox(truth.annToRLE(a)).tolist() for a in truth.dataset['annotations']]
    pairs = zip(document['annotations'], boxes, strict=True)
    return {**document, 'annotations': [{**a, 'bbox': box} for a, box in pairs]}


# Labels, against names.


def _labels(cfg: Config, folder: Path) -> Iterator[Check]:
    """For each split: does the label that an object gets stand for the name that the file gives it?"""
    for split in ('train', 'val', 'test'):
        for dataset in _datasets((cfg.get(f'{split}_dataloader') or {}).get('dataset')):
            path = Path(dataset.get('data_root') or '') / dataset['ann_file']
            name = f'labels are the names of {path.parent.name}/{path.name}'
            if path.exists():
                yield _label_check(name, dataset, path, folder / f'{split}.json')
            else:
                yield Check(name, None, 'the file is not there')


def _datasets(node) -> Iterator[dict]:
    """The data sets with annotations, out of what wraps them."""
    if isinstance(node, dict):
        if node.get('ann_file'):
            yield node
        else:
            yield from _datasets(node.get('dataset') or node.get('datasets'))
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _datasets(item)


def _label_check(name: str, dataset: dict, path: Path, part: Path) -> Check:
    document = _choose(read_truth(path), LABELLED, 0)
    part.write_text(json.dumps(document), encoding='utf-8')
    options = {**dataset, 'ann_file': str(part), 'data_root': '', 'pipeline': [], 'filter_cfg': None, 'indices': None}
    options |= {'fraction': 1.0} if 'fraction' in options else {}
    try:
        with _silence():
            built = DATASETS.build(options)
    except DatasetError as error:
        return Check(name, False, str(error))
    wrong, right = _compare_labels(built, document)
    names = _names(built, document)
    ids = ', '.join(f'{name} is category {cat_id}' for cat_id, name in names.items())
    seen = f'{right} objects; {ids if len(names) <= FEW else f"{len(names)} categories"}'
    return Check(name, not wrong, f'wrong: {", ".join(wrong)}' if wrong else seen)


def _names(dataset, document: dict) -> dict[int, str]:
    """The categories that got a label, in the order of the labels."""
    names = {category['id']: category['name'] for category in document['categories']}
    return {cat_id: names[cat_id] for cat_id in dataset.cat_ids if cat_id in names}


def _compare_labels(dataset, document: dict) -> tuple[list[str], int]:
    """'Tote is labelled Object' and so on; and how many are right."""
    names = {category['id']: category['name'] for category in document['categories']}
    truths = {(a['image_id'], *np.round(a['bbox'], 3)): names.get(a['category_id']) for a in document['annotations']}
    wrong, right = set(), 0
    for picture in map(dataset.get_data_info, range(len(dataset))):
        for instance in picture['instances']:
            x1, y1, x2, y2 = instance['bbox']
            true = truths.get((picture['img_id'], *np.round([x1, y1, x2 - x1, y2 - y1], 3)))
            label = dataset.metainfo['classes'][instance['bbox_label']]
            if true is None or true.strip().casefold() == label.strip().casefold():
                right += 1
            else:
                wrong.add(f'{true} is labelled {label}')
    return sorted(wrong), right


# Scores, of the truth and of what is wrong.


def _evaluate(cfg: Config, metric: dict, head: Head, document: dict, folder: Path) -> Iterator[Check]:
    ann_file, prefix = folder / 'truth.json', folder / 'predictions'
    ann_file.write_text(json.dumps(document), encoding='utf-8')
    settings = dict(ann_file=str(ann_file), outfile_prefix=str(prefix), details=False, classwise=False)
    dataset = next(_datasets(cfg.test_dataloader.dataset))
    meta = DATASETS.get(dataset['type'])._load_metainfo(dataset.get('metainfo', {}))
    with _silence():
        evaluator: CocoInstanceMetric = METRICS.build({**metric, **settings})
        evaluator.dataset_meta = meta
        for sample in _samples(head, ground_truth(document), meta['classes']):
            evaluator.process({}, [sample])
        evaluator.evaluate(len(document['images']))
    yield from _perfect(evaluator.evaluation)
    predictions = {kind: read_json(Path(f'{prefix}.{kind}.json'))[kind] for kind in evaluator.evaluation.scores}
    yield from _sabotaged(ground_truth(document), predictions, evaluator.cat_ids)


@contextmanager
def _silence() -> Iterator[None]:
    """Without the evaluator's tables, which would pass for those of a model, and what is said of temporary files."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')
    try:
        with redirect_stdout(StringIO()):  # pycocotools prints
            yield
    finally:
        logger.setLevel(level)


def _samples(head: Head, truth: COCO, classes: Sequence[str]) -> Iterator[dict]:
    """For each picture what a detector would hand to the evaluator."""
    label_of = {name.strip().casefold(): label for label, name in enumerate(classes)}
    labels = {cat_id: label_of.get(category['name'].strip().casefold()) for cat_id, category in truth.cats.items()}
    for image_id in sorted(truth.imgs):
        image = truth.imgs[image_id]
        objects = [a for a in truth.imgToAnns[image_id] if not a.get('iscrowd')]
        entries = [a for a in objects if labels.get(a['category_id']) is not None]
        shape = (image['height'], image['width'])
        found = head(_objects(truth, entries, labels, *shape)) if entries else _nothing(*shape)
        yield dict(img_id=image_id, ori_shape=shape, pred_instances=_plain(found))


def _objects(truth: COCO, entries: list[dict], labels: Mapping[int, int], height: int, width: int) -> Objects:
    boxes = np.array([a['bbox'] for a in entries], dtype=np.float64)
    boxes[:, 2:] += boxes[:, :2]
    masks = [truth.annToRLE(a) for a in entries if a.get('segmentation')]
    return Objects(height, width, boxes, np.array([labels[a['category_id']] for a in entries]), masks)


def _nothing(height: int, width: int) -> dict:
    empty = np.zeros(0)
    return dict(bboxes=empty.reshape(0, 4), scores=empty, labels=empty.astype(int), masks=[])


def _plain(found: BaseDataElement | dict) -> dict:
    values = dict(found.items()) if isinstance(found, BaseDataElement) else found
    return {name: torch.as_tensor(v) if isinstance(v, np.ndarray) else v for name, v in values.items()}


def _perfect(evaluation: Evaluation) -> Iterator[Check]:
    """Ground truth as predictions: 1.000 overall and for each class that has objects."""
    for kind, scores in evaluation.scores.items():
        figures = {'all': scores.values['mAP'], **{name: values['mAP'] for name, values in scores.classes.items()}}
        seen = _listed(figures)
        found = [value for value in figures.values() if value >= 0]
        yield Check(f'ground truth scores 1.000: {NAMES[kind]} mAP', bool(found) and min(found) >= PERFECT, seen)


def _listed(figures: dict[str, float]) -> str:
    """All of a few; of many those that are not perfect."""
    shown = {name: value for name, value in figures.items() if name == 'all' or len(figures) <= FEW or value < PERFECT}
    parts = [f'{name} {number(value)}' for name, value in shown.items()]
    rest = len(figures) - len(shown)
    return ', '.join([*parts, f'{rest} {"other " if len(shown) > 1 else ""}classes 1.000'] if rest else parts)


def _sabotaged(truth: COCO, predictions: dict[str, list[dict]], cat_ids: Sequence[int]) -> Iterator[Check]:
    """Each fault must cost mAP, and be named; without one none may be named."""
    named = diagnose(truth, predictions, cat_ids)
    yield Check('no fault is seen in it', not named, ', '.join(map(str, named)) or 'none')
    for name, sabotage in SABOTAGE.items():
        claim = f'"{name}" is seen'
        reason = why_unseen(name, truth, cat_ids, 'segm' in predictions)
        if reason:
            yield Check(claim, None, f'can not show: {reason}')
            continue
        spoilt = {kind: sabotage(entries, cat_ids) for kind, entries in predictions.items() if _concerns(name, kind)}
        yield _seen(claim, name, truth, {**predictions, **spoilt}, cat_ids)


def _concerns(name: str, kind: str) -> bool:
    return kind == 'segm' or name in ('shifted', 'swapped')


def _seen(claim: str, name: str, truth: COCO, spoilt: dict[str, list[dict]], cat_ids: Sequence[int]) -> Check:
    known = {kind: [e for e in entries if e['category_id'] in truth.cats] for kind, entries in spoilt.items()}
    evaluation = score(truth, known, cat_ids)
    costs = {NAMES[kind]: scores.values['mAP'] for kind, scores in evaluation.scores.items()}
    spent = ', '.join(f'{kind} mAP {number(value)}' for kind, value in costs.items())
    faults = diagnose(truth, spoilt, cat_ids)
    passed = [fault.name for fault in faults] == [name] and min(costs.values()) < PERFECT
    return Check(claim, passed, f'{spent}; {"; ".join(fault.evidence for fault in faults) or "nothing is named"}')
