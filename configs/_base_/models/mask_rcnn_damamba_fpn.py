_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

# Under AMP boxes, RoI coordinates and RoIAlign stay in float32.
roi_extractor = dict(type='Float32RoIExtractor')
model = dict(
    backbone=dict(
        _delete_=True,
        type='DAMamba',
        pretrained=None,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    ),
    neck=dict(in_channels=None),  # the leaf config says the backbone's arch and its dims
    rpn_head=dict(type='Float32RPNHead'),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(bbox_coder=dict(type='Float32BBoxCoder')),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(type='ChunkedMaskHead'),
    ),
)
