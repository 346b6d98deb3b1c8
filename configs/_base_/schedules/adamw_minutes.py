# From scratch on small synthetic pictures, in minutes on two CPU cores. Total batch 4.
max_epochs = 6
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-3, betas=(0.9, 0.97), weight_decay=0.05, fused=True),
    paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0.0), 'mask_head': dict(lr_mult=2.0)}),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='WarmUp', start_factor=0.01, by_epoch=False, most=500, share=1 / 24),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=1e-5,
        convert_to_iter_based=True,
    ),
]
