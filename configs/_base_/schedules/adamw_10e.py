# Fine-tuning for 10 epochs, the rate divided by 10 after 8 and 9. Total batch 16: 8 GPUs x 2 images.
_base_ = './adamw_1x.py'

max_epochs = 10
milestones = sorted({max_epochs * 8 // 10, max_epochs * 9 // 10} - {0})
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    # 500 iterations, or a share of a short training: the factor is 0.001 + 0.999 t / n at iteration t of n
    dict(type='WarmUp', start_factor=0.001, by_epoch=False, most=500, share=1 / 24),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=milestones, gamma=0.1),
]
