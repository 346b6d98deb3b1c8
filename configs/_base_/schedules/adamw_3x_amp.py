# 36 epochs, the rate divided by 10 after 27 and 33, in mixed precision.
_base_ = './adamw_1x.py'

max_epochs = 36
milestones = sorted({max_epochs * 27 // 36, max_epochs * 33 // 36} - {0})
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    # 500 iterations, or a share of a short training: the factor is 0.001 + 0.999 t / n at iteration t of n
    dict(type='WarmUp', start_factor=0.001, by_epoch=False, most=500, share=1 / 24),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=milestones, gamma=0.1),
]
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
