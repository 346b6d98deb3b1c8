"""The few parts of MMDetection that we must change, each with its reason."""

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
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
