# The same family as mask2former_swin-b-p4-w12-384_armbench.py, at 256 pixels and on a few pictures of the stand-in: to
# try the chain on a CPU.
_base_ = './mask2former_swin-b-p4-w12-384_armbench.py'

data_root = 'data/armbench-demo/'  # as tools/make_demo_data.py armbench writes it
load_from = None  # the COCO detector, where it can be had, is what makes this learn in so little time
image_size = (256, 256)  # padded to as well: at MMDetection's 1024 x 1024 an iteration would be 16 times dearer
scale = (256, 256)
max_epochs = 1
padding = dict(_base_.model.data_preprocessor.batch_augments[0], size=image_size)
model = dict(backbone=dict(init_cfg=None), data_preprocessor=dict(batch_augments=[padding]))
train_pipeline = [
    *_base_.train_pipeline[:3],
    dict(_base_.train_pipeline[3], scale=image_size),
    dict(_base_.train_pipeline[4], crop_size=image_size),
    *_base_.train_pipeline[5:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=scale, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    num_workers=1,
    dataset=dict(data_root=data_root, fraction=0.04, pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = dict(end=max_epochs, milestones=[])
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=1))
custom_hooks = [dict(type='ProgressHook')]
randomness = dict(seed=0)
