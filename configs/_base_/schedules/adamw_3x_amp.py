# 36 epochs, the rate divided by 10 after 27 and 33, in mixed precision.
_base_ = './adamw_1x.py'

max_epochs = 36
base_max_epochs = max_epochs  # what stands below, and what another max_epochs replaces
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[27, 33], gamma=0.1),
]
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
