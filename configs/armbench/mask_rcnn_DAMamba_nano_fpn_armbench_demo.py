# A small DAMamba, trained from scratch on the stand-in of ARMBench: minutes on two CPU cores.
_base_ = [
    '../_base_/models/mask_rcnn_damamba_nano_fpn.py',
    '../_base_/datasets/armbench.py',
    '../_base_/schedules/adamw_minutes.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/armbench-demo/'  # as tools/make_demo_data.py armbench writes it
model = dict(roi_head=dict(bbox_head=dict(num_classes=2), mask_head=dict(num_classes=2)))
scale = (320, 320)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=2))
custom_hooks = [dict(type='ProgressHook')]
randomness = dict(seed=0)
