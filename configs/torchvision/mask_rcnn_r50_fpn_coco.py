# torchvision's Mask R-CNN R50-FPN for COCO (37.9 box mAP, 34.6 mask mAP), for weights that `damamba convert-weights`
# wrote.
_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_torchvision.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/sgd_torchvision_26e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/coco/'  # annotations/, train2017/ and val2017/ lie in it
# torchvision scores all of COCO's 90 category ids, of which 10 stand for nothing.
model = dict(roi_head=dict(bbox_head=dict(absent=10)))

# The model resizes.
train_pipeline = [*_base_.train_pipeline[:2], *_base_.train_pipeline[3:]]
test_pipeline = [_base_.test_pipeline[0], *_base_.test_pipeline[2:]]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
