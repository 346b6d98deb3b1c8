# Fine-tuning for 10 epochs, the rate divided by 10 after 8 and 9. Total batch 16: 8 GPUs x 2 images.
_base_ = './adamw_1x.py'

max_epochs = 10
base_max_epochs = max_epochs  # what stands below, and what another max_epochs replaces
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[8, 9], gamma=0.1),
]
