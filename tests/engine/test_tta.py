"""Detections of a picture and of its mirror images, merged by hand."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import nn

import damamba.register  # noqa: F401
from damamba.engine.tta import MERGING

HEIGHT, WIDTH = 20, 30
THINGS = {'left': (2, 3, 10, 9), 'right': (20, 11, 28, 18)}  # x1, y1, x2, y2
FLIPS = {
    'horizontal': lambda x1, y1, x2, y2: (WIDTH - x2, y1, WIDTH - x1, y2),
    'vertical': lambda x1, y1, x2, y2: (x1, HEIGHT - y2, x2, HEIGHT - y1),
    'diagonal': lambda x1, y1, x2, y2: (WIDTH - x2, HEIGHT - y2, WIDTH - x1, HEIGHT - y1),
}


class Module(nn.Module):
    test_step = None  # what MMEngine asks for


def view(found: dict[str, float], direction: str | None) -> DetDataSample:
    """What a detector finds in a picture, or in its mirror image: things and their scores; masks lack a corner."""
    boxes = [FLIPS[direction](*THINGS[name]) if direction else THINGS[name] for name in found]
    masks = torch.zeros(len(found), HEIGHT, WIDTH, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
        mask[y1, x1] = direction is not None  # so that views differ
    meta = dict(ori_shape=(HEIGHT, WIDTH), flip=direction is not None, flip_direction=direction)
    instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(list(found.values())),
        labels=torch.zeros(len(found), dtype=torch.long),
        masks=masks,
    )
    return DetDataSample(metainfo=meta, pred_instances=instances)


def merged(*views: DetDataSample) -> InstanceData:
    model = MODELS.build(dict(type='InstanceTTAModel', module=Module(), tta_cfg=ConfigDict(MERGING)))
    (sample,) = model.merge_preds([list(views)])
    return sample.pred_instances


@pytest.mark.parametrize('direction', FLIPS)
def test_the_surer_view_of_each_thing_is_kept_with_its_mask_turned_back(direction):
    found = merged(view({'left': 0.9, 'right': 0.3}, None), view({'right': 0.8, 'left': 0.2}, direction))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])
    assert [tuple(box) for box in found.bboxes.tolist()] == [THINGS['left'], THINGS['right']]
    for mask, name, whole in zip(found.masks, THINGS, (False, True), strict=True):
        x1, y1, x2, y2 = THINGS[name]
        assert mask.sum() == (x2 - x1) * (y2 - y1) - (not whole) and mask[y1:y2, x1:x2].sum() == mask.sum()


@pytest.mark.parametrize('views', [({}, {}), ({'left': 0.5}, {}), ({}, {'right': 0.5})])
def test_a_view_may_have_found_nothing(views):
    found = merged(view(views[0], None), view(views[1], 'horizontal'))
    names = [*views[0], *views[1]]
    assert found.masks.shape == (len(names), HEIGHT, WIDTH)
    assert [tuple(box) for box in found.bboxes.tolist()] == [THINGS[name] for name in names]
