# DAMamba-B in Mask R-CNN, 1x: published 50.6 box mAP and 44.9 mask mAP on COCO val2017.
_base_ = [
    './_base_/models/mask_rcnn_damamba_fpn.py',
    './_base_/datasets/coco_instance.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/default_runtime.py',
]

data_root = 'data/coco/'  # annotations/, train2017/ and val2017/ lie in it
model = dict(
    backbone=dict(
        arch='base',
        # '<path to checkpoint>': ImageNet-1K weights, a path or a URL, without which this is training from scratch.
        # Published: https://huggingface.co/ltzovo/DAMamba/resolve/main/DAMamba-B.pth
        pretrained=None,
    ),
    neck=dict(in_channels=[112, 224, 448, 640]),
)
train_dataloader = dict(
    batch_size=1,  # x 16 GPUs = 16
    dataset=dict(data_root=data_root),
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
