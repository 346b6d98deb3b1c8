_base_ = './mask2former_swin-b_coco.py'

checkpoint = (
    'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window12_384_22k.pth'
)
model = dict(
    backbone=dict(embed_dims=192, num_heads=[6, 12, 24, 48], init_cfg=dict(checkpoint=checkpoint)),
    panoptic_head=dict(num_queries=200, in_channels=[192, 384, 768, 1536]),
)

# 100 epochs, twice as many as the smaller ones, with a picture on each of 16 GPUs.
train_dataloader = dict(batch_size=1, num_workers=1)
max_iters = 737500
train_cfg = dict(max_iters=max_iters, dynamic_intervals=[(735001, max_iters)])  # the last validation is the end's
param_scheduler = dict(end=max_iters, milestones=[655556, 710184])
