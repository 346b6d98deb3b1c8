_base_ = './mask2former_swin-t_coco.py'

checkpoint = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_small_patch4_window7_224.pth'
model = dict(backbone=dict(depths=[2, 2, 18, 2], init_cfg=dict(checkpoint=checkpoint)))

# The norms of the third stage's further blocks are treated as those of the first six are.
norm = dict(lr_mult=0.1, decay_mult=0.0)
custom_keys = {f'backbone.stages.2.blocks.{block}.norm': norm for block in range(6, 18)}
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=custom_keys))
