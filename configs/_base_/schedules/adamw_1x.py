# 12 epochs, the rate divided by 10 after 8 and 11. Total batch 16: 8 GPUs x 2 images, or 16 GPUs x 1.
max_epochs = 12
milestones = sorted({max_epochs * 8 // 12, max_epochs * 11 // 12} - {0})
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    # 500 iterations, or a share of a short training: the factor is 0.001 + 0.999 t / n at iteration t of n
    dict(type='WarmUp', start_factor=0.001, by_epoch=False, most=500, share=1 / 24),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=milestones, gamma=0.1),
]

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    # No decay where the name says norm, and nowhere else: other biases, BN in Sequentials, A_logs and Ds do decay.
    paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0.0)}),
)

# --auto-scale-lr scales the rate linearly from this total batch.
auto_scale_lr = dict(enable=False, base_batch_size=16)
