# Mask2Former with Swin-B, fine-tuned on ARMBench from MMDetection's panoptic COCO detector. MMDetection has Swin-B for
# panoptic segmentation alone: this is its instance segmentation by Swin-S, with the backbone of the former.
_base_ = 'mmdet::mask2former/mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco.py'

custom_imports = dict(imports=['damamba.register'], allow_failed_imports=False)
runner_type = 'DAMambaRunner'

data_root = 'data/armbench-segmentation-0.1/'  # mix-object-tote/ and the other two subsets lie in it
train_subset = 'mix-object-tote'  # to train and to validate on
test_subset = 'mix-object-tote'  # or zoomed-out-tote-transfer-set, same-object-transfer-set
classes = ('Object', 'Tote')  # or ('Object',): then totes are left out
image_size = (1024, 1024)  # to train at; every picture is padded to it
scale = (1333, 800)  # to test at
max_epochs = 10

# A path or a URL. The layers that depend on the classes are left out, and the log names them.
load_from = 'https://download.openmmlab.com/mmdetection/v3.0/mask2former/mask2former_swin-b-p4-w12-384_8xb2-lsj-50e_coco-panoptic/mask2former_swin-b-p4-w12-384_8xb2-lsj-50e_coco-panoptic_20220331_002244-8a651d82.pth'
num_classes = len(classes)
model = dict(
    data_preprocessor=dict(
        batch_augments=[
            dict(
                type='BatchFixedSizePad',
                size=image_size,
                img_pad_value=0,
                pad_mask=True,
                mask_pad_value=0,
                pad_seg=False,
            )
        ]
    ),
    backbone=dict(
        pretrain_img_size=384,
        embed_dims=128,
        num_heads=[4, 8, 16, 32],
        window_size=12,
        init_cfg=dict(  # for a training without load_from
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_base_patch4_window12_384.pth'
        ),
    ),
    panoptic_head=dict(
        in_channels=[128, 256, 512, 1024],
        num_things_classes=num_classes,
        num_stuff_classes=0,
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
    panoptic_fusion_head=dict(type='ChunkedMaskFormerFusionHead', num_things_classes=num_classes, num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False, instance_on=True),
)

train_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    # Large scale jittering
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), resize_type='Resize', keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_size=image_size,
        crop_type='absolute',
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
split = dict(_delete_=True, type='ARMBenchDataset', data_root=data_root, metainfo=dict(classes=classes))
tested = dict(test_mode=True, pipeline=test_pipeline, **split)

train_dataloader = dict(
    batch_size=2,  # x 8 GPUs = 16
    num_workers=4,
    dataset=dict(
        ann_file=f'{train_subset}/train.json',
        data_prefix=dict(img=f'{train_subset}/images/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        fraction=1.0,  # 0.1: a tenth of the pictures, to see what fewer labels give
        seed=0,
        pipeline=train_pipeline,
        **split,
    ),
)
val_dataloader = dict(
    num_workers=4,
    dataset=dict(
        ann_file=f'{train_subset}/val.json',
        data_prefix=dict(img=f'{train_subset}/images/'),
        **tested,
    ),
)
test_dataloader = dict(
    num_workers=4,
    dataset=dict(
        ann_file=f'{test_subset}/test.json',  # val.json where there is none, as the log then says
        data_prefix=dict(img=f'{test_subset}/images/'),
        **tested,
    ),
)
evaluator = dict(_delete_=True, type='CocoInstanceMetric', metric=['bbox', 'segm'], classwise=True)
val_evaluator = evaluator
test_evaluator = dict(details=True, **evaluator)

# Epochs in place of iterations: loop, schedule, checkpoints and logs change together. Gradients stay clipped at 0.01.
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
param_scheduler = dict(
    _delete_=True,
    type='MultiStepLR',
    begin=0,
    end=max_epochs,
    by_epoch=True,
    milestones=sorted({max_epochs * 9 // 10} - {0}),
    gamma=0.1,
)
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)
