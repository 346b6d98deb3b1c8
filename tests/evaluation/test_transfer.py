"""A detector of two classes on a subset of one: scored by name. Going by ids or by positions fails here."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from damamba.datasets.armbench import ARMBenchDataset
from damamba.evaluation.coco_ap import EvaluationError, category_ids
from damamba.evaluation.metric import CocoInstanceMetric
from tests import armbench

ONE_CLASS = [
    armbench.ONE,  # id 1, which is Tote's where the detector has learned
    (('object', 2),),
    (('OBJECT', 77),),
]


def sees(image, classes):
    """Finds every object, and a tote that is surer than all of them, where the subset has none."""
    shift = image['id'] % 3
    shapes = [(armbench.TOTE, 'Tote', 0.99)] + [(points, 'Object', 0.9) for points in armbench.OBJECTS]
    boxes, masks = [], []
    for points, _, _ in shapes:
        points = np.asarray(points, dtype=float) + shift
        boxes.append([*points.min(0), *points.max(0)])
        masks.append(coco_mask.frPyObjects([points.reshape(-1).tolist()], *armbench.SHAPE)[0])
    found = dict(
        bboxes=torch.tensor(boxes),
        labels=torch.tensor([classes.index(name) for _, name, _ in shapes]),
        scores=torch.tensor([score for _, _, score in shapes]),
        masks=masks,
    )
    return dict(img_id=image['id'], ori_shape=armbench.SHAPE, pred_instances=found)


def evaluation_of(tmp_path, categories, classes):
    content = armbench.document(categories)
    path = tmp_path / 'test.json'
    path.write_text(json.dumps(content))
    metric = CocoInstanceMetric(str(path), ['bbox', 'segm'], details=True)
    metric.dataset_meta = ARMBenchDataset._load_metainfo(dict(classes=classes))
    for image in content['images']:
        metric.process({}, [sees(image, list(classes))])
    metric.evaluate(len(content['images']))
    return metric.evaluation


@pytest.mark.parametrize('classes', [('Object', 'Tote'), ('Tote', 'Object')])
@pytest.mark.parametrize('categories', ONE_CLASS)
def test_objects_are_scored_as_objects_and_totes_not_at_all(tmp_path, categories, classes):
    evaluation = evaluation_of(tmp_path, categories, classes)
    for scores in evaluation.scores.values():
        assert list(scores.classes) == ['Object']
        assert scores.values['mAP'] == pytest.approx(1)
        assert scores.values['AR@100'] == pytest.approx(1)
    assert evaluation.faults == []
    assert sum(evaluation.details.kinds['segm'].errors.counts.values()) == 0


@pytest.mark.parametrize('classes', [('Object', 'Tote'), ('Tote', 'Object')])
@pytest.mark.parametrize('categories', [armbench.TWO, armbench.TWO[::-1], (('object', 4), ('tote', 9))])
def test_with_both_classes_each_is_scored_as_itself_object_first(tmp_path, categories, classes):
    evaluation = evaluation_of(tmp_path, categories, classes)
    for scores in evaluation.scores.values():
        assert list(scores.classes) == list(classes)
        assert scores.values['mAP'] == pytest.approx(1)


def test_without_names_it_is_refused_not_guessed():
    categories = armbench.document(armbench.ONE)['categories']
    with pytest.raises(EvaluationError, match='Tote: not among the categories'):
        category_ids(categories, ('Object', 'Tote'))
    assert category_ids(categories, ('Object', 'Tote'), by_name=True) == [1, None]
    with pytest.raises(EvaluationError, match='none of the classes'):
        category_ids(categories, ('Tote',), by_name=True)
