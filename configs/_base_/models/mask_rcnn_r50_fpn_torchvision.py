# Mask R-CNN with ResNet-50 and FPN that computes what torchvision's maskrcnn_resnet50_fpn computes, and trains like it.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

min_size = 800  # of the shorter side, in pixels
max_size = 1333
norm_eps = 0.0  # of models that began from torchvision's COCO weights; 1e-5 of those that began from ImageNet's
smooth_l1 = dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)
# Sizes are bounded above alone: shifts may be as large as this, so that they are not.
bounds = dict(type='Float32BBoxCoder', add_ctr_clamp=True, ctr_clamp=1e9)
roi_layer = dict(sampling_ratio=2, aligned=False)
roi_extractor = dict(type='Float32RoIExtractor', roi_layer=roi_layer)
model = dict(
    data_preprocessor=dict(
        _delete_=True, type='TorchvisionPreprocessor', min_size=min_size, max_size=max_size, pad_size_divisor=32
    ),
    # The stem and the first stage are frozen: torchvision's three trainable layers.
    backbone=dict(norm_cfg=dict(type='BN', eps=norm_eps, requires_grad=False)),
    rpn_head=dict(
        type='TorchvisionRPNHead',
        anchor_generator=dict(type='RoundedAnchorGenerator'),
        bbox_coder=bounds,
        loss_bbox=smooth_l1,
    ),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(
            type='TorchvisionBBoxHead',
            num_shared_fcs=2,
            bbox_coder=bounds,
            loss_bbox=smooth_l1,
        ),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(type='TorchvisionMaskHead'),
    ),
    train_cfg=dict(
        rpn_proposal=dict(max_per_img=2000, min_bbox_size=1e-3),
        rcnn=dict(assigner=dict(match_low_quality=False)),
    ),
    test_cfg=dict(rpn=dict(min_bbox_size=1e-3), rcnn=dict(min_bbox_size=1e-2)),
)
