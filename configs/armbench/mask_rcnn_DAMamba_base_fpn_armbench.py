# DAMamba-B in Mask R-CNN, fine-tuned on ARMBench from the detector trained on COCO.
_base_ = [
    '../_base_/models/mask_rcnn_damamba_fpn.py',
    '../_base_/datasets/armbench.py',
    '../_base_/schedules/adamw_10e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/armbench-segmentation-0.1/'  # mix-object-tote/ and the other two subsets lie in it
# A path or a URL. The layers that depend on the classes are left out, and the log names them.
load_from = 'https://huggingface.co/ltzovo/DAMamba/resolve/main/mask_rcnn_DAMamba_base_fpn_1x_coco.pth'
num_classes = len(_base_.classes)
model = dict(
    backbone=dict(arch='base'),
    neck=dict(in_channels=[112, 224, 448, 640]),
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
)
train_dataloader = dict(
    batch_size=1,  # x 16 GPUs = 16
    dataset=dict(data_root=data_root),
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
