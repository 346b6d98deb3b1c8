"""Parts of Mask R-CNN that compute what torchvision's do, where MMDetection's do not and no setting makes them.

Weights of the one give what they gave in the other only if pictures are resized alike, anchors are rounded alike, boxes
are dropped alike and masks are pasted alike. What torchvision offers for that is called, not written again.
Source: torchvision's models/detection/transform.py, anchor_utils.py, rpn.py and roi_heads.py.
"""

from collections.abc import Sequence

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator as TorchvisionAnchors
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import batched_nms, remove_small_boxes

from damamba.detection import ChunkedMaskHead, Float32RPNHead


class TorchvisionPreprocessor(DetDataPreprocessor):
    """Normalises and resizes pictures as they come from the file, by torchvision's own transform.

    It interpolates floats without antialiasing, to sizes rounded down; MMDetection's pipelines interpolate bytes by
    OpenCV, to rounded sizes. A pipeline for it has no Resize.

    Args:
        min_size: of the shorter side, in pixels; of several, one is drawn for each picture in training, and the last is
            taken in testing.
        max_size: of the longer side, which goes before.
        mean, std: of red, green and blue from 0 to 1.
    """

    def __init__(
        self,
        min_size: int | Sequence[int] = 800,
        max_size: int = 1333,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        pad_size_divisor: int = 32,
    ) -> None:
        super().__init__([255 * it for it in mean], [255 * it for it in std], pad_size_divisor, bgr_to_rgb=True)
        self.resize = GeneralizedRCNNTransform(min_size, max_size, list(mean), list(std), pad_size_divisor)

    def forward(self, data: dict, training: bool = False) -> dict:
        """inputs: pictures [3, H, W], bytes, blue first -> one batch [B, 3, h, w]; what is known of each goes along."""
        data = self.cast_data(data)
        pictures, samples = data['inputs'], data.get('data_samples')
        self.resize.train(training)
        batch, _ = self.resize([picture[[2, 1, 0]].float() / 255 for picture in pictures])
        if samples is not None:
            samplelist_boxtype2tensor(samples)
            for sample, picture, size in zip(samples, pictures, batch.image_sizes, strict=True):
                _rescale(sample, picture.shape[-2:], size, tuple(batch.tensors.shape[-2:]))
        return {'inputs': batch.tensors, 'data_samples': samples}


def _rescale(sample: DetDataSample, old: Sequence[int], new: Sequence[int], padded: tuple[int, int]) -> None:
    """Bring what is known of a picture, and its objects, to another size (height, width)."""
    factor = (new[1] / old[1], new[0] / old[0])
    before = sample.metainfo.get('scale_factor', (1.0, 1.0))  # of a pipeline that resized
    whole = (before[0] * factor[0], before[1] * factor[1])
    sample.set_metainfo(dict(img_shape=tuple(new), scale_factor=whole, pad_shape=padded, batch_input_shape=padded))
    for name in ('gt_instances', 'ignored_instances'):
        objects = sample.get(name)
        if objects is not None and 'bboxes' in objects:
            objects.bboxes = objects.bboxes * objects.bboxes.new_tensor(2 * factor)
        if objects is not None and 'masks' in objects:
            objects.masks = objects.masks.resize(tuple(new))


class RoundedAnchorGenerator(AnchorGenerator):
    """Anchors with corners rounded to pixels, at steps that are the padded picture's size by the map's, rounded down.

    The coarsest map of a picture of 96 pixels is 2 wide: its anchors stand 48 apart, not 64.
    """

    def grid_priors(
        self, featmap_sizes: list[tuple], dtype: torch.dtype = torch.float32, device: str | torch.device = 'cuda'
    ) -> list[Tensor]:
        """featmap_sizes: (H_i, W_i) per level, the finest first -> anchors [H_i W_i A, 4] per level, in pixels."""
        height, width = (side * self.strides[0][0] for side in featmap_sizes[0])
        strides = [
            [torch.tensor(height // h, device=device), torch.tensor(width // w, device=device)]
            for h, w in featmap_sizes
        ]
        sizes = tuple(tuple(base * scale for scale in self.scales.tolist()) for base in self.base_sizes)
        anchors = TorchvisionAnchors(sizes, (tuple(self.ratios.tolist()),) * len(sizes))
        anchors.set_cell_anchors(dtype, torch.device(device))
        return anchors.grid_anchors(featmap_sizes, strides)


class TorchvisionRPNHead(Float32RPNHead):
    """Drops proposals as torchvision does: NMS per level on coordinates as they are.

    mmcv moves the boxes of each level apart for NMS, which rounds them.
    """

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: ConfigDict,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        """results: bboxes [N, 4] in pixels, scores [N], level_ids [N] -> the proposals, the best first."""
        results = results[remove_small_boxes(results.bboxes, cfg.min_bbox_size)]
        kept = batched_nms(results.bboxes, results.scores, results.level_ids, cfg.nms.iou_threshold)
        results = results[kept[: cfg.max_per_img]]
        labels = results.level_ids.new_zeros(len(results))
        return InstanceData(bboxes=results.bboxes, scores=results.scores, labels=labels)


class TorchvisionBBoxHead(ConvFCBBoxHead):
    """Drops detections as torchvision does, and knows scores that belong to no class.

    Args:
        absent: scores behind the background's that no class has, such as those of the 10 category ids that COCO left
            out. They take part in the softmax.
    """

    def __init__(self, *args, absent: int = 0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if absent:
            self.fc_cls = torch.nn.Linear(self.fc_cls.in_features, self.num_classes + 1 + absent)

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: ConfigDict | None = None,
    ) -> InstanceData:
        """roi [N, 5], cls_score [N, K + 1 + absent], bbox_pred [N, 4K] -> detections; without a config all boxes."""
        found = super()._predict_by_feat_single(roi, cls_score, bbox_pred, img_meta, rescale)
        found.scores = found.scores[:, : self.num_classes + 1]
        return found if rcnn_test_cfg is None else self._best(found, rcnn_test_cfg)

    def _best(self, found: InstanceData, cfg: ConfigDict) -> InstanceData:
        """bboxes [N, 4K] and scores [N, K + 1] of the proposals -> the detections, the best first."""
        scores = found.scores[:, :-1]
        rois, labels = torch.nonzero(scores > cfg.score_thr, as_tuple=True)
        boxes = found.bboxes.reshape(len(scores), self.num_classes, 4)[rois, labels]
        large = remove_small_boxes(boxes, cfg.min_bbox_size)
        boxes, scores, labels = boxes[large], scores[rois, labels][large], labels[large]
        kept = batched_nms(boxes, scores, labels, cfg.nms.iou_threshold)[: cfg.max_per_img]
        return InstanceData(bboxes=boxes[kept], scores=scores[kept], labels=labels[kept])


class TorchvisionMaskHead(ChunkedMaskHead):
    """Pastes masks as torchvision does: into boxes widened by a pixel of the mask, with corners at whole pixels.

    Few at a time, as :class:`ChunkedMaskHead` does.
    """

    rounds_boxes = True  # so that a mask cut out of a picture is not pasted back as it was

    def _paste(
        self,
        mask_preds: Tensor,
        bboxes: Tensor,
        labels: Tensor,
        img_meta: dict,
        rcnn_test_cfg: ConfigDict,
        rescale: bool,
        activate_map: bool,
    ) -> Tensor:
        """mask_preds [N, K or 1, h, w], bboxes [N, 4] in pixels, labels [N] -> masks [N, H, W], bool."""
        masks = mask_preds if activate_map else mask_preds.sigmoid()
        planes = torch.zeros_like(labels) if self.class_agnostic else labels
        size = img_meta['ori_shape' if rescale else 'img_shape'][:2]
        if rescale:
            bboxes /= bboxes.new_tensor(2 * tuple(img_meta['scale_factor']))  # in place: these boxes are the result
        pasted = paste_masks_in_image(masks[range(len(labels)), planes][:, None], bboxes, size)
        return pasted[:, 0] >= rcnn_test_cfg.mask_thr_binary
