_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

# RoI coordinates and RoIAlign stay in float32 under AMP.
roi_extractor = dict(type='Float32RoIExtractor')
model = dict(
    backbone=dict(
        _delete_=True,
        type='DAMamba',
        pretrained=None,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    ),
    neck=dict(in_channels=None),  # the leaf config says the backbone's arch and its dims
    roi_head=dict(bbox_roi_extractor=roi_extractor, mask_roi_extractor=roi_extractor),
)
