# A DAMamba of 0.9 M parameters and a Mask R-CNN narrow enough to be trained from scratch on a CPU, on small pictures.
_base_ = './mask_rcnn_damamba_fpn.py'

dims = [32, 64, 128, 160]
width = 64  # of FPN and heads, instead of 256
group_norm = dict(type='GN', num_groups=8, requires_grad=True)
roi_layer = dict(sampling_ratio=1)  # a quarter of the time
proposals = dict(nms_pre=300, max_per_img=128, nms=dict(iou_threshold=0.6))  # fewer of them, and less alike
model = dict(
    backbone=dict(arch=dict(depths=(1, 1, 2, 1), dims=dims, drop_path_rate=0.0)),
    neck=dict(in_channels=dims, out_channels=width, norm_cfg=group_norm),
    rpn_head=dict(
        in_channels=width,
        feat_channels=width,
        anchor_generator=dict(scales=[4]),  # 16 to 256 pixels, instead of 32 to 512
    ),
    roi_head=dict(
        # Boxes of under 56 pixels come from the finest map, masks of under 224.
        bbox_roi_extractor=dict(out_channels=width, finest_scale=28, roi_layer=roi_layer),
        bbox_head=dict(in_channels=width, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=width, finest_scale=112, roi_layer=roi_layer),
        mask_head=dict(
            in_channels=width,
            conv_out_channels=width,
            num_convs=2,
            norm_cfg=group_norm,
            class_agnostic=True,  # every object teaches it
            loss_mask=dict(loss_weight=2.0),
        ),
    ),
    train_cfg=dict(
        rpn_proposal=proposals,
        rcnn=dict(sampler=dict(num=48, pos_fraction=0.33)),
    ),
    test_cfg=dict(rpn=proposals),
)
