# The same family as mask2former_swin-b-p4-w12-384_armbench.py, at 256 pixels and on a few pictures of the stand-in: to
# try the chain on a CPU.
_base_ = './mask2former_swin-b-p4-w12-384_armbench.py'

data_root = 'data/armbench-demo/'  # as tools/make_demo_data.py armbench writes it
load_from = None  # the COCO detector, where it can be had, is what makes this learn in so little time
image_size = (256, 256)  # padded to as well: at MMDetection's 1024 x 1024 an iteration would be 16 times dearer
scale = (256, 256)
max_epochs = 1
model = dict(backbone=dict(init_cfg=None))
train_dataloader = dict(num_workers=1, dataset=dict(fraction=0.04))
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=1))
custom_hooks = [dict(type='ProgressHook')]
randomness = dict(seed=0)
