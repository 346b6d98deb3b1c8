"""The few parts of MMDetection that we must change, each with its reason."""

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.structures.bbox import BaseBoxes
from torch import Tensor


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
