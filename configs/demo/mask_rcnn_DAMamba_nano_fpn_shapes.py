# A small DAMamba, trained from scratch on synthetic scenes: minutes on two CPU cores. `make demo` runs it.
_base_ = [
    '../_base_/models/mask_rcnn_damamba_nano_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/adamw_minutes.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/shapes/'  # as tools/make_demo_data.py writes it
classes = ('ball', 'crate', 'fish', 'gear', 'ring', 'star')
scale = (192, 192)

model = dict(
    roi_head=dict(bbox_head=dict(num_classes=len(classes)), mask_head=dict(num_classes=len(classes))),
)

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
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
dataset = dict(data_root=data_root, metainfo=dict(classes=classes))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline, **dataset))
val_dataloader = test_dataloader
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline, **dataset))

default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=2))
custom_hooks = [dict(type='ProgressHook')]
randomness = dict(seed=0)
