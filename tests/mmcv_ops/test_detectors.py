"""Detectors from MMDetection's own configs take a step and test a picture."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import damamba.register  # noqa: F401

CONFIGS = [
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'dcn/mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py',
    'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py',
    'libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py',
]
SIDE = 64
FEWER = dict(num=16, nms_pre=100, max_per_img=50, num_points=200, num_queries=50)  # of 64 x 64 pixels


def sample() -> DetDataSample:
    found = DetDataSample(
        metainfo=dict(
            img_shape=(SIDE, SIDE),
            ori_shape=(SIDE, SIDE),
            pad_shape=(SIDE, SIDE),
            batch_input_shape=(SIDE, SIDE),
            scale_factor=(1.0, 1.0),
        )
    )
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    masks[0, 8:40, 8:40], masks[1, 20:60, 30:60] = 1, 1
    boxes = torch.tensor([[8.0, 8, 40, 40], [30, 20, 60, 60]])
    found.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.tensor([1, 3]), masks=BitmapMasks(masks.numpy(), SIDE, SIDE)
    )
    return found


def narrow(settings) -> None:
    """Have a detector look at fewer proposals, queries and points; each still goes through every operator."""
    for name, value in list(settings.items()) if isinstance(settings, dict) else enumerate(settings):
        if isinstance(value, dict | list):
            narrow(value)
        elif isinstance(value, int) and name in FEWER:
            settings[name] = min(value, FEWER[name])


@pytest.mark.parametrize('name', CONFIGS)
def test_a_detector_of_mmdetection_takes_a_step_and_tests_a_picture(name):
    init_default_scope('mmdet')
    cfg = get_config(f'mmdet::{name}')
    cfg.model.backbone.init_cfg = None
    cfg.model.data_preprocessor.pop('batch_augments', None)  # Mask2Former's pads to 1024 x 1024
    narrow(cfg.model)
    model = MODELS.build(cfg.model)
    model.init_weights()
    data = model.data_preprocessor(
        dict(inputs=[torch.randint(0, 255, (3, SIDE, SIDE))], data_samples=[sample()]), training=True
    )
    loss, _ = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    loss.backward()
    assert loss.isfinite() and all(it.grad.isfinite().all() for it in model.parameters() if it.grad is not None)
    model.eval()
    with torch.no_grad():
        (found,) = model.predict(data['inputs'], data['data_samples'])
    assert len(found.pred_instances.scores) <= 100 and found.pred_instances.scores.isfinite().all()
