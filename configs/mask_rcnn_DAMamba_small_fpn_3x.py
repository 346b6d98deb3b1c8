# DAMamba-S in Mask R-CNN, 3x: published 51.2 box mAP and 45.1 mask mAP on COCO val2017.
_base_ = [
    './_base_/models/mask_rcnn_damamba_fpn.py',
    './_base_/datasets/coco_instance_multiscale.py',
    './_base_/schedules/adamw_3x_amp.py',
    './_base_/default_runtime.py',
]

data_root = 'data/coco/'  # annotations/, train2017/ and val2017/ lie in it
model = dict(
    backbone=dict(
        arch='small',
        # '<path to checkpoint>': ImageNet-1K weights, a path or a URL, without which this is training from scratch.
        # Published: https://huggingface.co/ltzovo/DAMamba/resolve/main/DAMamba-S.pth
        pretrained=None,
    ),
    neck=dict(in_channels=[96, 192, 384, 512]),
)
train_dataloader = dict(
    batch_size=1,  # x 16 GPUs = 16
    dataset=dict(data_root=data_root),
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
