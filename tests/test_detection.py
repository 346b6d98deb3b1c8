"""Boxes and RoIs stay in float32 whatever the features are in."""

import pytest
import torch
import torchvision
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict

from damamba.detection import Float32BBoxCoder, Float32RoIExtractor, Float32RPNHead
from tests.detection import ROOT, TINY_1X

OPTIONS = dict(
    roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0), out_channels=4, featmap_strides=[4, 8, 16, 32]
)
# image, x1, y1, x2, y2: 1,100 pixels wide and high, and as far right (float16 rounds to whole pixels from 1,024 on);
# 300 x 300 (the area, 90,000, is more than float16 holds), and a small one with a fraction
ROIS = torch.tensor(
    [
        [0, 3.3, 5.7, 1103.6, 405.2],
        [0, 100.4, 60.3, 1200.9, 1160.8],
        [0, 1010.3, 20.4, 1310.3, 320.4],
        [0, 1100.3, 300.2, 1325.6, 525.4],
        [0, 1200.6, 70.3, 1231.2, 99.9],
    ]
)
LEVELS = [3, 3, 2, 2, 0]  # floor(log2(sqrt(w h) / 56)): 56, 112, 224, 448 pixels begin the levels
HALVES = pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)


def levels(dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(1, 4, 1216 // s, 1344 // s).to(dtype) for s in (4, 8, 16, 32))


def truth_of(features: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Each RoI from its level, by torchvision in float64."""
    crops = [
        torchvision.ops.roi_align(features[level].double(), roi[None].double(), 7, 1 / 4 / 2**level, -1, aligned=True)
        for level, roi in zip(LEVELS, ROIS, strict=True)
    ]
    return torch.cat(crops)


def errors_of(extractor: SingleRoIExtractor, dtype: torch.dtype) -> list[float]:
    """The largest error of each RoI under autocast."""
    features = levels(dtype)
    with torch.autocast('cpu', dtype=dtype):
        crops = extractor(features, ROIS)
    return (crops.double() - truth_of(features)).abs().amax(dim=(1, 2, 3)).tolist()


class RoundingRoIExtractor(SingleRoIExtractor):
    """MMDetection's, which takes RoIs in the features' type."""

    def forward(self, feats, rois, roi_scale_factor=None):
        rounded = rois.type_as(feats[0])
        assigned = self.map_roi_levels(rounded, len(feats))
        crops = torch.zeros(len(rois), self.out_channels, 7, 7)
        for level, layer in enumerate(self.roi_layers):
            crops[assigned == level] = layer(feats[level].float(), rounded[assigned == level].float())
        return crops


@HALVES
def test_rois_are_aligned_and_assigned_as_in_float32(dtype):
    features = levels(dtype)
    extractor = Float32RoIExtractor(**OPTIONS)
    truth = SingleRoIExtractor(**OPTIONS)(tuple(f.float() for f in features), ROIS)
    with torch.autocast('cpu', dtype=dtype):
        ours = extractor(features, ROIS)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, truth, rtol=0, atol=0)
    assert extractor.map_roi_levels(ROIS, 4).tolist() == LEVELS
    assert max(errors_of(extractor, dtype)) < 1e-4


@HALVES
def test_without_that_these_rois_are_assigned_or_aligned_wrongly(dtype):
    errors = errors_of(RoundingRoIExtractor(**OPTIONS), dtype)
    assert min(errors) > 1e-3 and max(errors) > 0.2
    assert errors[2] > 0.1 and errors[4] > 0.1  # the 300 x 300 pixels, and the small one far right


def test_an_area_of_more_than_float16_holds_goes_to_the_wrong_level():
    rounded = SingleRoIExtractor(**OPTIONS).map_roi_levels(ROIS.half(), 4).tolist()
    assert rounded == [3, 3, 3, 2, 0]


def test_rois_of_channels_last_maps_are_aligned_as_torchvision_aligns_them():
    """A compiled mmcv's RoIAlign alone takes their numbers in the wrong order."""
    features = tuple(f.contiguous(memory_format=torch.channels_last) for f in levels(torch.float32))
    rois = torch.tensor([[0, 20.3, 30.7, 80.1, 90.2], [0, 50.0, 4.2, 71.5, 65.3]])  # of the finest map
    truth = torchvision.ops.roi_align(features[0], rois, 7, spatial_scale=1 / 4, sampling_ratio=-1, aligned=True)
    torch.testing.assert_close(Float32RoIExtractor(**OPTIONS)(features, rois), truth)


def test_gradients_come_back_in_the_features_dtype():
    features = tuple(f.requires_grad_() for f in levels(torch.float16))
    Float32RoIExtractor(**OPTIONS)(features, ROIS).sum().backward()
    assert all(f.grad is not None and f.grad.dtype == torch.float16 and f.grad.isfinite().all() for f in features)


# Where RoIs come from: the proposals, and the boxes that they are refined to


def rpn_head(kind: type[RPNHead]) -> RPNHead:
    """A head whose proposals are its anchors, 200 x 200 pixels, 16 apart, at fractions of pixels."""
    head = kind(
        in_channels=4,
        feat_channels=4,
        anchor_generator=dict(type='AnchorGenerator', scales=[12.5], ratios=[1.0], strides=[16]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[1.0] * 4),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss'),
        test_cfg=ConfigDict(nms_pre=9999, max_per_img=9999, nms=dict(type='nms', iou_threshold=1.0), min_bbox_size=0),
    )
    torch.nn.init.zeros_(head.rpn_reg.weight)
    torch.nn.init.zeros_(head.rpn_reg.bias)
    head.prior_generator.base_anchors = [anchors + 0.3 for anchors in head.prior_generator.base_anchors]
    return head


def proposals(head: RPNHead, dtype: torch.dtype | None) -> torch.Tensor:
    """The anchors that were proposed, in a fixed order."""
    metas = [dict(img_shape=(1216, 1344), scale_factor=(1.0, 1.0))]
    with torch.no_grad(), torch.autocast('cpu', dtype=dtype, enabled=dtype is not None):
        scores, deltas = head((torch.randn(1, 4, 76, 84),))
        boxes = head.predict_by_feat(scores, deltas, batch_img_metas=metas)[0].bboxes
    return torch.unique(boxes, dim=0)


@HALVES
def test_proposals_are_those_of_float32(dtype):
    head = rpn_head(Float32RPNHead)
    truth, ours = proposals(head, None), proposals(head, dtype)
    assert ours.dtype == torch.float32 and len(truth) == 76 * 84
    assert torch.equal(ours, truth)
    assert torch.equal(proposals(rpn_head(RPNHead), None), truth)


@HALVES
def test_mmdetections_own_anchors_are_rounded(dtype):
    generator = rpn_head(RPNHead).prior_generator
    exact, rounded = (generator.grid_priors([(76, 84)], dtype=d, device='cpu')[0].float() for d in (None, dtype))
    assert (rounded - exact).abs().max() > {torch.float16: 0.2, torch.bfloat16: 2}[dtype]


@HALVES
def test_boxes_are_refined_as_in_float32(dtype):
    rois = ROIS[:, 1:]
    deltas = (0.5 * torch.randn(5, 8)).to(dtype)  # of two classes
    stds = [0.1, 0.1, 0.2, 0.2]
    truth = DeltaXYWHBBoxCoder(target_stds=stds).decode(rois.double(), deltas.double())
    with torch.autocast('cpu', dtype=dtype):
        ours = Float32BBoxCoder(target_stds=stds).decode(rois, deltas)
        original = DeltaXYWHBBoxCoder(target_stds=stds).decode(rois, deltas)
    torch.testing.assert_close(ours.double(), truth, rtol=0, atol=1e-3)
    assert (original.double() - truth).abs().max() > {torch.float16: 0.1, torch.bfloat16: 1}[dtype]


@pytest.mark.parametrize('path', [TINY_1X, ROOT / 'configs/demo/mask_rcnn_DAMamba_nano_fpn_shapes.py'], ids=str)
def test_our_recipes_keep_boxes_and_rois_in_float32(path):
    model = MODELS.build(Config.fromfile(path).model)
    heads = model.roi_head
    assert isinstance(model.rpn_head, Float32RPNHead)
    assert isinstance(heads.bbox_roi_extractor, Float32RoIExtractor)
    assert isinstance(heads.mask_roi_extractor, Float32RoIExtractor)
    assert isinstance(heads.bbox_head.bbox_coder, Float32BBoxCoder)
