"""Ground truth sent through a detector's own last steps, as if its network had said it: it must come out the same.

Legend: N objects, C classes, Q queries, H x W the picture in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from torch import Tensor

from damamba.types import is_of, name_of

SURE = 20.0  # a logit, of either sign


@dataclass(frozen=True)
class Objects:
    """The objects of one picture: boxes [N, 4] (x1, y1, x2, y2 in pixels), labels [N], N masks as compressed RLE.

    Without masks boxes alone are proved.
    """

    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    masks: Sequence[dict] | None

    def decoded(self, number: int) -> np.ndarray:
        """One mask: [H, W], uint8."""
        return coco_mask.decode(self.masks[number])

    def all_decoded(self) -> Tensor:
        """All masks: [N, H, W], bool."""
        found = torch.zeros(len(self.masks), self.height, self.width, dtype=torch.bool)
        for number in range(len(self.masks)):
            found[number] = torch.from_numpy(self.decoded(number)).bool()
        return found


class Head(Protocol):
    """A detector's last steps."""

    name: str
    makes_masks: bool
    boxes_from_masks: bool  # whether it draws its boxes around its masks
    classes: dict[str, int]  # how many each of its parts is for, by the part's name

    def __call__(self, objects: Objects) -> InstanceData:
        """What the detector would return: bboxes [N, 4], scores [N], labels [N], masks [N, H, W] or N RLEs."""


class ResultsHead:
    """No head of ours to send anything through: from a detector's results on."""

    makes_masks = True  # as far as is known
    boxes_from_masks = False

    def __init__(self, name: str) -> None:
        self.name = f'{name}, from its results on'
        self.classes = {}

    def __call__(self, objects: Objects) -> InstanceData:
        boxes = torch.as_tensor(objects.boxes, dtype=torch.float32)
        labels = torch.as_tensor(objects.labels)
        found = InstanceData(bboxes=boxes, scores=torch.ones(len(labels)), labels=labels)
        if objects.masks is not None:
            found.masks = objects.all_decoded()
        return found


class RoIHead:
    """Mask R-CNN's: class scores and box deltas of each object's RoI, then its mask in the box, pasted.

    The threshold of scores and NMS are left out, since they would drop true objects that overlap; and so is the pasting
    of a head that moves masks by a part of a pixel, as torchvision does.
    """

    boxes_from_masks = False

    def __init__(self, model: dict) -> None:
        head, self.test_cfg = model['roi_head'], model['test_cfg']['rcnn']
        with torch.device('meta'):  # no layer is run: weights would be drawn for nothing
            self.bbox_head = MODELS.build(_last(head['bbox_head']))
            self.mask_head = MODELS.build(_last(head['mask_head'])) if head.get('mask_head') else None
        parts = [part for part in (self.bbox_head, self.mask_head) if part is not None]
        self.name = ', '.join(type(part).__name__ for part in parts)
        self.makes_masks = self.mask_head is not None
        self.pastes_exactly = not getattr(self.mask_head, 'rounds_boxes', False)
        self.name += '' if self.pastes_exactly else ', masks from its results on'
        self.classes = {type(part).__name__: part.num_classes for part in parts}

    def __call__(self, objects: Objects) -> InstanceData:
        boxes, scores, labels = self._boxes(objects)
        found = InstanceData(bboxes=boxes, scores=scores, labels=labels)
        if objects.masks is not None:
            found.masks = self._masks(objects, labels) if self.pastes_exactly else objects.all_decoded()
        return found[: self.test_cfg.get('max_per_img', len(labels))]

    def _boxes(self, objects: Objects) -> tuple[Tensor, Tensor, Tensor]:
        head, boxes = self.bbox_head, torch.as_tensor(objects.boxes, dtype=torch.float32)
        rois = torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)  # [N, 5]
        deltas = head.bbox_coder.encode(boxes, boxes)
        deltas = deltas if head.reg_class_agnostic else deltas.repeat(1, head.num_classes)
        logits = one_hot(objects.labels, head.num_classes)
        meta = dict(img_shape=(objects.height, objects.width), scale_factor=(1.0, 1.0))
        (found,) = head.predict_by_feat((rois,), (logits,), (deltas,), [meta], rcnn_test_cfg=None)
        scores, labels = found.scores[:, :-1].max(dim=1)
        refined = found.bboxes.view(len(boxes), -1, 4)  # [N, C or 1, 4]
        column = torch.zeros_like(labels) if head.reg_class_agnostic else labels
        return refined[torch.arange(len(boxes)), column], scores, labels

    def _masks(self, objects: Objects, labels: Tensor) -> Tensor:
        """[N, H, W]: each mask cut out along the pixels around it, at its own size, and pasted back."""
        pasted = torch.zeros(len(labels), objects.height, objects.width, dtype=torch.bool)
        meta = dict(ori_shape=(objects.height, objects.width), scale_factor=(1.0, 1.0))
        planes = 1 if self.mask_head.class_agnostic else self.mask_head.num_classes
        for number, label in enumerate(labels.tolist()):
            x, y, w, h = (round(value) for value in coco_mask.toBbox(objects.masks[number]).tolist())
            if not w or not h:
                continue  # a segmentation of no pixels
            cut = torch.from_numpy(objects.decoded(number)[y : y + h, x : x + w])
            logits = torch.full((1, planes, h, w), -SURE)
            logits[0, min(label, planes - 1)] = torch.where(cut.bool(), SURE, -SURE)
            box = torch.tensor([[x, y, x + w, y + h]], dtype=torch.float32)
            one = [InstanceData(bboxes=box, labels=torch.tensor([label]))]
            (found,) = self.mask_head.predict_by_feat((logits,), one, [meta], self.test_cfg, rescale=True)
            pasted[number] = found.masks[0]
        return pasted


class MaskFormerHead:
    """MaskFormer's and Mask2Former's: a query of full size for each object; as many are taken as there are objects."""

    makes_masks = True
    boxes_from_masks = True

    def __init__(self, model: dict) -> None:
        self.most = model['test_cfg'].get('max_per_image', 100)
        self.head = MODELS.build({**model['panoptic_fusion_head'], 'test_cfg': model['test_cfg']})
        self.name = type(self.head).__name__
        parts = {self.name: self.head.num_classes}
        query_head = model.get('panoptic_head') or {}
        if 'num_things_classes' in query_head:
            parts[name_of(query_head)] = query_head['num_things_classes'] + query_head.get('num_stuff_classes', 0)
        self.classes = parts

    def __call__(self, objects: Objects) -> InstanceData:
        head, shape = self.head, (objects.height, objects.width)
        head.test_cfg = {**head.test_cfg, 'max_per_image': min(self.most, len(objects.labels))}
        logits = one_hot(objects.labels, head.num_classes)
        masks = torch.zeros(len(objects.labels), *shape, dtype=torch.float16)  # half of the memory, and sure enough
        for number in range(len(objects.labels)):
            masks[number] = torch.where(torch.from_numpy(objects.decoded(number)).bool(), SURE, -SURE)
        sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, batch_input_shape=shape))
        (found,) = head.predict(logits[None], masks[None], [sample], rescale=True)
        return found['ins_results']


def one_hot(labels: np.ndarray, classes: int) -> Tensor:
    """Logits [N, C + 1] that are sure of each label; the last column is for no object. A label from C on has none."""
    wanted = F.one_hot(torch.as_tensor(labels, dtype=torch.long).clamp(max=classes), classes + 1)
    return (2 * wanted - 1) * SURE


def head_of(model: dict) -> Head:
    """The last steps of a detector's config, or the next best: from its results on."""
    if is_of(model.get('panoptic_fusion_head'), MODELS, MaskFormerFusionHead):
        return MaskFormerHead(model)
    roi_head = model.get('roi_head') or {}
    boxes, masks = _last(roi_head.get('bbox_head')), _last(roi_head.get('mask_head'))
    if is_of(boxes, MODELS, BBoxHead) and (masks is None or is_of(masks, MODELS, FCNMaskHead)):
        return RoIHead(model)
    return ResultsHead(name_of(model))


def _last(config):
    """A cascade has a head for each of its stages; its last one decides."""
    return config[-1] if isinstance(config, (list, tuple)) and config else config
