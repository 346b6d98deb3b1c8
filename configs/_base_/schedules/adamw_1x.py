# 12 epochs, the rate divided by 10 after 8 and 11. Total batch 16: 8 GPUs x 2 images, or 16 GPUs x 1.
max_epochs = 12
base_max_epochs = max_epochs  # what stands below, and what another max_epochs replaces
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    # MMEngine divides by end - begin - 1: the factor is 0.001 + 0.999 t / 500 at iteration t
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[8, 11], gamma=0.1),
]

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    # No decay where the name says norm, and nowhere else: other biases, BN in Sequentials, A_logs and Ds do decay.
    paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0.0)}),
)

# --auto-scale-lr scales the rate linearly from this total batch.
auto_scale_lr = dict(enable=False, base_batch_size=16)
