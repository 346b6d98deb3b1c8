# The same family as mask2former_swin-b-p4-w12-384_armbench.py, at 256 pixels and on a few pictures of the stand-in: to
# try the chain on a CPU.
_base_ = './mask2former_swin-b-p4-w12-384_armbench.py'

data_root = 'data/armbench-demo/'  # as tools/make_demo_data.py armbench writes it
load_from = None  # the COCO detector, where it can be had, is what makes this learn in so little time
image_size = (256, 256)
max_epochs = 1
model = dict(
    # Padding to the scale in use: MMDetection's 1024 x 1024 would make an iteration 16 times dearer.
    data_preprocessor=dict(
        batch_augments=[
            dict(
                type='BatchFixedSizePad',
                size=image_size,
                img_pad_value=0,
                pad_mask=True,
                mask_pad_value=0,
                pad_seg=False,
            )
        ]
    ),
    backbone=dict(init_cfg=None),
)
train_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(batch_size=2, num_workers=1, dataset=dict(fraction=0.04, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = dict(_delete_=True, type='ConstantLR', factor=1.0, by_epoch=True, begin=0, end=max_epochs)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=1))
custom_hooks = [dict(type='ProgressHook')]
randomness = dict(seed=0)
