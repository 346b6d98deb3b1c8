# ARMBench's own detector: torchvision's Mask R-CNN R50-FPN (their 0.72 mAP50, 0.61 mAP75 on mix-object-tote). It tests
# their latest.pt once `damamba convert-weights` has brought it here, and fine-tunes by their recipe what computes the
# same.
_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_torchvision.py',
    '../_base_/datasets/armbench.py',
    '../_base_/schedules/sgd_armbench_10e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/armbench-segmentation-0.1/'  # mix-object-tote/ and the other two subsets lie in it
# A path or a URL: torchvision's COCO weights, converted. The layers that depend on the classes are left out, and the
# log names them.
load_from = 'work_dirs/maskrcnn_resnet50_fpn_coco.pth'
num_classes = len(_base_.classes)
model = dict(roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)))

# The model resizes.
train_pipeline = [*_base_.train_pipeline[:2], *_base_.train_pipeline[3:]]
test_pipeline = [_base_.test_pipeline[0], *_base_.test_pipeline[2:]]
train_dataloader = dict(
    batch_size=2,  # x 2 GPUs = 4
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
