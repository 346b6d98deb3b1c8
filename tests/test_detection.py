"""RoIs stay in float32 whatever the features are in."""

import pytest
import torch
import torchvision
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

from damamba.detection import Float32RoIExtractor

OPTIONS = dict(
    roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0), out_channels=4, featmap_strides=[4, 8, 16, 32]
)
# image, x1, y1, x2, y2: more than 1,024 pixels right (float16 rounds to whole pixels), 300 x 300 (the area, 90,000,
# is more than float16 holds), and a small one with a fraction
ROIS = torch.tensor([[0, 3.3, 5.7, 1103.6, 405.2], [0, 1010.3, 20.4, 1310.3, 320.4], [0, 1200.6, 70.3, 1231.2, 99.9]])


def levels(dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(1, 4, 800 // s, 1344 // s).to(dtype) for s in (4, 8, 16, 32))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_rois_are_aligned_and_assigned_as_in_float32(dtype):
    features = levels(dtype)
    truth = SingleRoIExtractor(**OPTIONS)(tuple(f.float() for f in features), ROIS)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        ours = Float32RoIExtractor(**OPTIONS)(features, ROIS)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, truth, rtol=0, atol=0)


def test_the_original_shows_why():
    features = levels(torch.bfloat16)
    truth = SingleRoIExtractor(**OPTIONS)(tuple(f.float() for f in features), ROIS)
    rounded = SingleRoIExtractor(**OPTIONS)(tuple(f.float() for f in features), ROIS.bfloat16().float())
    assert (rounded - truth).abs().max() > 0.1
    extractor = SingleRoIExtractor(**OPTIONS)
    assert extractor.map_roi_levels(ROIS.half(), 4)[1] != extractor.map_roi_levels(ROIS, 4)[1]


def test_rois_of_channels_last_maps_are_aligned_as_torchvision_aligns_them():
    """mmcv's RoIAlign alone takes their numbers in the wrong order."""
    features = tuple(f.contiguous(memory_format=torch.channels_last) for f in levels(torch.float32))
    rois = torch.tensor([[0, 20.3, 30.7, 80.1, 90.2], [0, 50.0, 4.2, 71.5, 65.3]])  # of the finest map
    truth = torchvision.ops.roi_align(features[0], rois, 7, spatial_scale=1 / 4, sampling_ratio=-1, aligned=True)
    torch.testing.assert_close(Float32RoIExtractor(**OPTIONS)(features, rois), truth)
    assert (SingleRoIExtractor(**OPTIONS)(features, rois) - truth).abs().max() > 0.1


def test_gradients_come_back_in_the_features_dtype():
    features = tuple(f.requires_grad_() for f in levels(torch.float16))
    Float32RoIExtractor(**OPTIONS)(features, ROIS).sum().backward()
    assert all(f.grad is not None and f.grad.dtype == torch.float16 and f.grad.isfinite().all() for f in features)
