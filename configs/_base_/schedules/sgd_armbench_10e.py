# ARMBench's own recipe for Mask R-CNN (arXiv 2303.16382; segmentation/ of https://github.com/amzn/armbench): 10 epochs,
# the rate divided by 10 after every third. Total batch 4: 2 GPUs x 2 images.
max_epochs = 10
milestones = sorted({max_epochs * tenths // 10 for tenths in (3, 6, 9)} - {0})
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    # 1000 iterations, or one of the 10 epochs if shorter: the factor is 0.001 + 0.999 t / n at iteration t of n
    dict(type='WarmUp', start_factor=0.001, by_epoch=False, most=1000, share=1 / 10),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=milestones, gamma=0.1),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=5e-4),
)
auto_scale_lr = dict(enable=False, base_batch_size=4)
