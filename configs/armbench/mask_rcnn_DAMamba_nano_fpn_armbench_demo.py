# A small DAMamba, fine-tuned on the stand-in of ARMBench from what `make demo` trains: minutes on two CPU cores.
_base_ = [
    '../_base_/models/mask_rcnn_damamba_nano_fpn.py',
    '../_base_/datasets/armbench.py',
    '../_base_/schedules/adamw_minutes.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/armbench-demo/'  # as tools/make_demo_data.py armbench writes it
# The detector of `make demo`, as COCO's is to the others; None: from scratch.
load_from = 'work_dirs/demo/epoch_6.pth'
max_epochs = 16
num_classes = len(_base_.classes)
model = dict(roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)))
scale = (320, 320)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=scale, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    batch_size=2,  # x 2 processes = 4
    num_workers=1,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_epochs, T_max=max_epochs),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=2))
custom_hooks = [dict(type='ProgressHook')]
randomness = dict(seed=0)
