"""The few parts of MMDetection that we must change, each with its reason."""

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import BaseBoxes
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional

CHUNK = 2**25  # bytes of float32 maps at the picture's size that lie in memory at once; more takes longer on the CPU


class Float32RoIExtractor(SingleRoIExtractor):
    """Assigns RoIs to levels and aligns them in float32, with autocast off, from maps in any memory layout.

    MMDetection casts RoIs to the features' type. Under AMP that rounds coordinates (to whole pixels above 1,024 in
    float16, to 4 or 8 in bfloat16), and an area above 65,504 pixels overflows float16, which sends the RoI to the
    wrong level. mmcv's RoIAlign takes the numbers of a channels-last map for those of a contiguous one.
    """

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """feats [B, C, H_i, W_i] per level, rois [N, 5] (image, x1, y1, x2, y2) in pixels -> float32 [N, C, S, S]."""
        with torch.autocast(rois.device.type, enabled=False):
            return super().forward(tuple(feat.float().contiguous() for feat in feats), rois.float(), roi_scale_factor)


class Float32RPNHead(RPNHead):
    """Scores, anchors and proposals in float32, whatever the features are in.

    MMDetection lays the anchors in the scores' type. Under AMP that rounds their coordinates (to whole pixels above
    1,024 in float16, to 8 in bfloat16), and those of the proposals; mmcv's NMS on the CPU takes float32 alone.
    """

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, C, H, W] -> scores [B, A, H, W] and deltas [B, 4A, H, W] of A anchors at each position, float32."""
        scores, deltas = super().forward_single(x)
        return scores.float(), deltas.float()


class Float32BBoxCoder(DeltaXYWHBBoxCoder):
    """Refines boxes in float32: the exponentials of sizes would be rounded, in bfloat16 to half a percent."""

    def decode(
        self,
        bboxes: Tensor | BaseBoxes,
        pred_bboxes: Tensor,
        max_shape: Sequence[int] | Tensor | Sequence[Sequence[int]] | None = None,
        wh_ratio_clip: float | None = 16 / 1000,
    ) -> Tensor | BaseBoxes:
        """bboxes [N, 4] in pixels, pred_bboxes [N, 4K] for K classes -> [N, 4K] in pixels."""
        return super().decode(bboxes, pred_bboxes.float(), max_shape, wh_ratio_clip)


class ChunkedMaskHead(FCNMaskHead):
    """Pastes masks into the picture a few at a time, on a GPU too.

    MMDetection pastes one by one on the CPU, and on a GPU as many as it holds to fit into 1 GB; with the coordinates
    that it samples at they take 3 GB, of a picture of 2448x2048.
    """

    def _predict_by_feat_single(
        self,
        mask_preds: Tensor,
        bboxes: Tensor,
        labels: Tensor,
        img_meta: dict,
        rcnn_test_cfg: ConfigDict,
        rescale: bool = False,
        activate_map: bool = False,
    ) -> Tensor:
        """mask_preds [N, K or 1, h, w], bboxes [N, 4] in pixels, labels [N] -> masks [N, H, W], bool."""
        height, width = img_meta['ori_shape'][:2]
        at_once = max(1, CHUNK // (12 * height * width))  # a value and two coordinates for each pixel, in float32
        masks = None
        for start in range(0, len(bboxes), at_once):
            part = slice(start, start + at_once)
            found = self._paste(
                mask_preds[part], bboxes[part], labels[part], img_meta, rcnn_test_cfg, rescale, activate_map
            )
            if masks is None:
                masks = found.new_empty((len(bboxes), *found.shape[1:]))
            masks[part] = found
        return masks

    def _paste(self, *args) -> Tensor:
        """What :meth:`_predict_by_feat_single` takes, of a few masks -> these masks, pasted."""
        return super()._predict_by_feat_single(*args)


class ChunkedMaskFormerFusionHead(MaskFormerFusionHead):
    """Brings the masks of the best instances to the picture's size a few at a time.

    MMDetection interpolates the maps of all queries to the picture and then copies those of the instances several
    times, in float32: 100 instances of a picture of 2448x2048 are 2 GB a copy. Here nothing is of that size but the
    masks that are returned, a byte a pixel. Panoptic results need all maps at once, and come MMDetection's way.
    """

    def predict(
        self,
        mask_cls_results: Tensor,
        mask_pred_results: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = False,
    ) -> list[dict]:
        """mask_cls_results [B, Q, K + 1] and mask_pred_results [B, Q, h, w], logits -> ``ins_results`` of each picture.

        They have bboxes [N, 4] in pixels, labels [N], scores [N] and masks [N, H, W], bool, as MMDetection's have. A
        score is the class's probability times the mean probability of the mask's pixels (Mask2Former, arXiv 2112.01527,
        section 4.1).
        """
        if not self._instances_alone():
            return super().predict(mask_cls_results, mask_pred_results, batch_data_samples, rescale)
        pictures = zip(mask_cls_results, mask_pred_results, batch_data_samples, strict=True)
        return [{'ins_results': self._instances(*picture, rescale)} for picture in pictures]

    def _instances_alone(self) -> bool:
        others = self.test_cfg.get('panoptic_on', True) or self.test_cfg.get('semantic_on', False)
        return self.test_cfg.get('instance_on', False) and not others

    @torch.no_grad()  # results are written into tensors
    def _instances(self, logits: Tensor, maps: Tensor, sample: DetDataSample, rescale: bool) -> InstanceData:
        scores, labels, queries = self._best(logits)
        height, width = sample.img_shape[:2]
        maps = maps[:, :height, :width]  # [Q, h, w], without padding
        size = sample.ori_shape[:2] if rescale else (height, width)
        masks = maps.new_empty((len(queries), *size), dtype=torch.bool)
        boxes = maps.new_empty((len(queries), 4), dtype=torch.float32)
        means = maps.new_empty(len(queries), dtype=torch.float32)
        at_once = max(1, CHUNK // (4 * size[0] * size[1]))
        work = maps.new_empty((at_once, *size), dtype=torch.float32)  # once: fresh memory is dear on the CPU
        for start in range(0, len(queries), at_once):
            part = slice(start, start + at_once)
            boxes[part], means[part] = _draw(maps[queries[part]], masks[part], work)
        return InstanceData(bboxes=boxes, labels=labels, scores=scores * means, masks=masks)

    def _best(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """logits [Q, K + 1] -> the scores, labels and queries of the N best pairs of query and class, things alone."""
        scores = logits.softmax(dim=-1)[:, :-1].flatten()
        most = min(self.test_cfg.get('max_per_image', 100), len(scores))
        scores, pairs = scores.topk(most, sorted=False)
        labels = pairs % self.num_classes
        things = labels < self.num_things_classes
        return scores[things], labels[things], pairs[things] // self.num_classes


def _draw(maps: Tensor, masks: Tensor, work: Tensor) -> tuple[Tensor, Tensor]:
    """Write where logits [n, h, w], brought to the masks' size, are above 0 into masks [n, H, W].

    Args:
        work: float32 [at least n, H, W], to be overwritten.

    Returns:
        boxes [n, 4] in pixels, and the mean probability within each mask [n]; all 0 of an empty one.
    """
    maps = maps[:, None]
    if maps.shape[-2:] != masks.shape[-2:]:
        maps = functional.interpolate(maps, size=masks.shape[-2:], mode='bilinear', align_corners=False)
    maps = maps[:, 0].float()  # [n, H, W]
    torch.gt(maps, 0, out=masks)
    boxes = _boxes(maps)
    inside = torch.sigmoid(maps, out=work[: len(maps)])
    area = maps.gt_(0).sum((1, 2))  # ones and zeros in float32: on the CPU torch sums bool 30 times slower
    return boxes, inside.mul_(maps).sum((1, 2)) / (area + 1e-6)


def _boxes(maps: Tensor) -> Tensor:
    """maps [n, H, W] -> the boxes [n, 4] around what is above 0; 0 where nothing is."""
    sides = []
    for dim in (1, 2):
        covered = (maps.amax(dim) > 0).int()  # [n, W], then [n, H]
        some, size = covered.amax(1), covered.shape[1]
        sides.append((covered.argmax(1) * some, (size - covered.flip(1).argmax(1)) * some))
    (left, right), (top, bottom) = sides
    return torch.stack((left, top, right, bottom), dim=1).float()
