# DAMamba-T in Mask R-CNN, 3x: published 50.4 box mAP and 44.8 mask mAP on COCO val2017.
_base_ = [
    './_base_/models/mask_rcnn_damamba_fpn.py',
    './_base_/datasets/coco_instance_multiscale.py',
    './_base_/schedules/adamw_3x_amp.py',
    './_base_/default_runtime.py',
]

data_root = 'data/coco/'  # annotations/, train2017/ and val2017/ lie in it
model = dict(
    backbone=dict(
        arch='tiny',
        # '<path to checkpoint>': ImageNet-1K weights, a path or a URL, without which this is training from scratch.
        # Published: https://huggingface.co/ltzovo/DAMamba/resolve/main/DAMamba-T.pth
        pretrained=None,
    ),
    neck=dict(in_channels=[80, 160, 320, 512]),
)
train_dataloader = dict(
    batch_size=2,  # x 8 GPUs = 16
    dataset=dict(data_root=data_root),
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
