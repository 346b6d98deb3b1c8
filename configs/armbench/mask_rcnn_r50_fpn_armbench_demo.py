# The same family as mask_rcnn_r50_fpn_armbench.py, at small scale on the stand-in: to try the chain on a CPU.
_base_ = './mask_rcnn_r50_fpn_armbench.py'

data_root = 'data/armbench-demo/'  # as tools/make_demo_data.py armbench writes it
load_from = None  # the COCO detector, where it can be had, is what makes this learn in so little time
proposals = dict(nms_pre=300, max_per_img=200)  # a fifth of the usual, and of RoIs an eighth: time
model = dict(
    backbone=dict(init_cfg=None),
    train_cfg=dict(rpn_proposal=proposals, rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=proposals, rcnn=dict(max_per_img=50)),
)
scale = (256, 256)
resize = dict(type='Resize', scale=scale, keep_ratio=True)
train_pipeline = [*_base_.train_pipeline[:2], resize, *_base_.train_pipeline[3:]]
test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(data_root=data_root, fraction=0.25, pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
max_epochs = 1
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [dict(type='WarmUp', start_factor=0.01, by_epoch=False, most=500, share=1 / 24)]
optim_wrapper = dict(clip_grad=dict(max_norm=10))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1))
custom_hooks = [dict(type='ProgressHook')]
randomness = dict(seed=0)
