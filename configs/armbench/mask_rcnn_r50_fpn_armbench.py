# Mask R-CNN with ResNet-50 and FPN, fine-tuned on ARMBench by ARMBench's recipe, from MMDetection's COCO detector
# (1x: 38.2 box mAP, 34.7 mask mAP).
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/armbench.py',
    '../_base_/schedules/sgd_armbench_10e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/armbench-segmentation-0.1/'  # mix-object-tote/ and the other two subsets lie in it
# A path or a URL. The layers that depend on the classes are left out, and the log names them.
load_from = 'https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r50_fpn_1x_coco/mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth'
num_classes = len(_base_.classes)
model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=num_classes), mask_head=dict(type='ChunkedMaskHead', num_classes=num_classes)
    ),
)
train_dataloader = dict(
    batch_size=2,  # x 2 GPUs = 4
    dataset=dict(data_root=data_root),
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
