# torchvision's recipe for Mask R-CNN R50-FPN (its references/detection): 26 epochs, the rate divided by 10 after 16 and
# 22. Total batch 16: 8 GPUs x 2 images.
max_epochs = 26
milestones = sorted({max_epochs * 16 // 26, max_epochs * 22 // 26} - {0})
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    # 1000 iterations, or a share of a short training: the factor is 0.001 + 0.999 t / n at iteration t of n
    dict(type='WarmUp', start_factor=0.001, by_epoch=False, most=1000, share=1 / 26),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=milestones, gamma=0.1),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
