# torchvision's Mask R-CNN R50-FPN for COCO (37.9 box mAP, 34.6 mask mAP), for weights that `damamba convert-weights`
# wrote.
_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_torchvision.py',
    '../_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

# torchvision scores all of COCO's 90 category ids, of which 10 stand for nothing.
model = dict(roi_head=dict(bbox_head=dict(absent=10)))

# The model resizes.
train_pipeline = [*_base_.train_pipeline[:2], *_base_.train_pipeline[3:]]
test_pipeline = [_base_.test_pipeline[0], *_base_.test_pipeline[2:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
