"""torchvision's Mask R-CNN with weights that are drawn and yet find things, and ours with the same."""

import copy
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d

from damamba.checkpoint.conversion import Converted
from damamba.checkpoint.conversion.coco import ABSENT

ROOT = Path(__file__).resolve().parents[1]
SIZES = dict(min_size=128, max_size=208)
LIMITS = dict(rpn_pre_nms_top_n_test=200, rpn_post_nms_top_n_test=60, box_detections_per_img=10)
COCO_ROWS = 91
NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def build(version: int, rows: int, **options) -> MaskRCNN:
    """As torchvision builds it, but that the first version's frozen norms have no epsilon, as with its COCO weights."""
    if version == 2:
        return maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=rows, **options).eval()
    model = MaskRCNN(resnet_fpn_backbone(backbone_name='resnet50', weights=None), rows, **options)
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
    return model.eval()


@cache
def finding(version: int) -> MaskRCNN:
    """COCO's detector, narrowed for the CPU, whose weights keep activations in bounds and tell places apart."""
    torch.manual_seed(version)
    model = build(version, COCO_ROWS, **SIZES, **LIMITS)
    for name, module in model.named_modules():
        if isinstance(module, NORMS):
            nn.init.constant_(module.weight, 0.2 if name.endswith('bn3') else 0.7)
            nn.init.normal_(module.bias, std=0.1)
    for layer, std in ((model.rpn.head.cls_logits, 0.05), (model.rpn.head.bbox_pred, 0.02)):
        nn.init.normal_(layer.weight, std=std)
    norms = [it.register_forward_pre_hook(_take_statistics) for it in model.modules() if isinstance(it, NORMS)]
    draw_heads(model)
    for hook in norms:
        hook.remove()
    return model


@cache
def fine_tuned(version: int, rows: int) -> MaskRCNN:
    """The same with other classes, made as ARMBench's is from COCO's."""
    model = copy.deepcopy(finding(version))
    torch.manual_seed(rows)
    model.roi_heads.box_predictor = FastRCNNPredictor(1024, rows)
    model.roi_heads.mask_predictor = MaskRCNNPredictor(256, 256, rows)
    draw_heads(model)
    return model.eval()


def draw_heads(model: MaskRCNN) -> None:
    """Draw boxes that move, and scores that are for each class high somewhere."""
    last = model.roi_heads.box_predictor
    nn.init.normal_(last.bbox_pred.weight, std=0.05)
    hook = last.cls_score.register_forward_hook(_spread)
    detect(model, [drawn(0)])
    hook.remove()


@torch.no_grad()
def _take_statistics(norm: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    norm.running_var.copy_(inputs[0].var((0, 2, 3)) + 1e-3)


@torch.no_grad()
def _spread(layer: nn.Linear, inputs: tuple[torch.Tensor], scores: torch.Tensor) -> torch.Tensor:
    """Give the scores of the RoIs a mean of 0 and a deviation of 2, but for COCO's that stand for nothing."""
    layer.weight *= 2 / scores.std(0)[:, None]
    if len(layer.bias) == COCO_ROWS:
        layer.weight[list(ABSENT)] /= 4  # never among the detections, and yet of weight in the softmax
    layer.bias.copy_(-(inputs[0] @ layer.weight.T).mean(0))
    return inputs[0] @ layer.weight.T + layer.bias


@torch.no_grad()
def detect(model: MaskRCNN, pictures: list[np.ndarray]) -> list[dict]:
    """pictures [H, W, 3], bytes, blue first -> torchvision's detections."""
    return model([torch.from_numpy(it[..., ::-1].copy()).permute(2, 0, 1).float() / 255 for it in pictures])


def ours(converted: Converted) -> nn.Module:
    """The config's model with these weights, and with the limits that torchvision's was built with."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    model = MODELS.build(narrowed(Config.fromfile(ROOT / converted.config).model, len(converted.classes)))
    model.load_state_dict(converted.state)
    return model.eval()


def narrowed(model: dict, classes: int) -> dict:
    """A config's model with SIZES, LIMITS and so many classes."""
    model.backbone.init_cfg = None
    model.data_preprocessor.update(SIZES)
    model.test_cfg.rpn.update(nms_pre=LIMITS['rpn_pre_nms_top_n_test'], max_per_img=LIMITS['rpn_post_nms_top_n_test'])
    model.test_cfg.rcnn.max_per_img = LIMITS['box_detections_per_img']
    model.roi_head.bbox_head.absent = len(ABSENT) if classes == 80 else 0
    model.roi_head.bbox_head.num_classes = model.roi_head.mask_head.num_classes = classes
    return model


def drawn(seed: int, height: int = 180, width: int = 220) -> np.ndarray:
    """A picture of ellipses on a slope of grey, with noise."""
    rng = np.random.default_rng(seed)
    picture = np.linspace(40, 160, width)[None, :, None].repeat(height, 0).repeat(3, 2).astype(np.uint8)
    for _ in range(12):
        center, axes = rng.integers(0, (width, height)), rng.integers(6, 50, 2)
        colour = tuple(map(int, rng.integers(0, 255, 3)))
        cv2.ellipse(picture, tuple(map(int, center)), tuple(map(int, axes)), int(rng.integers(180)), 0, 360, colour, -1)
    return cv2.add(picture, rng.integers(0, 30, picture.shape, dtype=np.uint8))
