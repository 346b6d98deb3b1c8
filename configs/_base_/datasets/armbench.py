# ARMBench's segmentation data, or any set of the same layout; categories go by their names, whatever their ids.
dataset_type = 'ARMBenchDataset'
data_root = 'data/armbench-segmentation-0.1/'
train_subset = 'mix-object-tote'  # to train and to validate on
test_subset = 'mix-object-tote'  # or zoomed-out-tote-transfer-set, same-object-transfer-set
classes = ('Object', 'Tote')  # or ('Object',): then totes are left out
scale = (1333, 800)  # a picture of 2448 x 2048 becomes 956 x 800

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    # Boxes are counted, for seconds by the number of objects; the evaluator reads the masks itself.
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
split = dict(type=dataset_type, data_root=data_root, metainfo=dict(classes=classes))
tested = dict(test_mode=True, pipeline=test_pipeline, **split)
loader = dict(batch_size=1, num_workers=4, persistent_workers=True, drop_last=False)

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
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
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file=f'{train_subset}/val.json',
        data_prefix=dict(img=f'{train_subset}/images/'),
        **tested,
    ),
    **loader,
)
test_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file=f'{test_subset}/test.json',  # val.json where there is none, as the log then says
        data_prefix=dict(img=f'{test_subset}/images/'),
        **tested,
    ),
    **loader,
)
evaluator = dict(type='CocoInstanceMetric', metric=['bbox', 'segm'], classwise=True)
val_evaluator = evaluator
test_evaluator = dict(details=True, **evaluator)
