"""What goes into a head comes out of it: boxes, labels and masks, exactly."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from pycocotools import mask as coco_mask

import damamba.register  # noqa: F401
from damamba.evaluation.proof.heads import MaskFormerHead, Objects, ResultsHead, RoIHead, head_of
from tests.detection import ROOT

H, W = 97, 141
CONFIGS = [
    'armbench/mask_rcnn_r50_fpn_armbench',
    'armbench/mask_rcnn_DAMamba_tiny_fpn_armbench',
    'armbench/mask_rcnn_DAMamba_nano_fpn_armbench_demo',  # masks whatever the class
    'armbench/mask2former_swin-b-p4-w12-384_armbench',
    'torchvision/mask_rcnn_r50_fpn_v2_coco',
    'mask_rcnn_DAMamba_tiny_fpn_1x_coco',  # 80 classes
    'mask2former/mask2former_swin-l_coco',  # 80 classes and 200 queries
]


def model_of(name):
    return Config.fromfile(ROOT / 'configs' / f'{name}.py').model


def objects(classes=2, count=9, seed=0):
    """Ragged things of any place and size, upon one another, one over the edge, one of a single pixel."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, H, W), np.uint8)
    for number in range(count - 1):
        y, x = rng.integers(0, H - 5), rng.integers(0, W - 5)
        h, w = rng.integers(4, 70, 2)
        masks[number, y : y + h, x : x + w] = rng.random((H, W))[y : y + h, x : x + w] < 0.8
    masks[-1, 40, 50] = 1
    rles = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
    boxes = np.array([coco_mask.toBbox(rle) for rle in rles])
    boxes[:, 2:] += boxes[:, :2]
    return Objects(H, W, boxes, rng.integers(0, classes, count), rles), masks


@pytest.mark.parametrize('name', CONFIGS)
def test_what_goes_in_comes_out(name):
    model = model_of(name)
    classes = 80 if name.endswith('coco') else 2
    given, masks = objects(classes)
    found = head_of(model)(given)
    order = [match(given, masks, found, number) for number in range(len(masks))]
    assert sorted(order) == list(range(len(masks)))
    np.testing.assert_allclose(found.bboxes[order].numpy(), given.boxes, atol=1e-3)
    assert found.scores.min() > 0.999


def match(given, masks, found, number):
    """Which of the results is this object: the mask to the last pixel, and the label."""
    same = (found.masks.numpy() == masks[number].astype(bool)).all((1, 2))
    (places,) = np.nonzero(same & (found.labels.numpy() == given.labels[number]))
    assert len(places) == 1
    return int(places[0])


def test_a_label_that_the_head_has_no_column_for_becomes_no_object():
    given, _ = objects()
    given.labels[3] = 2
    found = head_of(model_of(CONFIGS[0]))(given)
    assert found.scores[3] < 1e-3


def test_more_objects_than_a_head_returns_are_not_all_there():
    model = model_of(CONFIGS[3])
    model.test_cfg.max_per_image = 5
    given, _ = objects()
    assert len(head_of(model)(given).labels) == 5


def test_the_head_is_told_from_the_config():
    assert isinstance(head_of(model_of(CONFIGS[0])), RoIHead)
    assert isinstance(head_of(model_of(CONFIGS[3])), MaskFormerHead)
    cascade = Config.fromfile(ROOT / 'configs' / f'{CONFIGS[0]}.py').model
    cascade.roi_head.bbox_head = [cascade.roi_head.bbox_head] * 3
    assert head_of(cascade).name == 'Shared2FCBBoxHead, ChunkedMaskHead'
    other = head_of(dict(type='SOLOv2', mask_head=dict(type='SOLOV2Head')))
    assert isinstance(other, ResultsHead)
    assert other.name == 'SOLOv2, from its results on'


def test_results_are_as_they_are_said():
    given, masks = objects()
    found = ResultsHead('Any')(given)
    assert torch.equal(found.masks, torch.from_numpy(masks).bool())
    np.testing.assert_allclose(found.bboxes.numpy(), given.boxes)
