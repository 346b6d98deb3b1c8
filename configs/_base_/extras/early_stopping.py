# The end of a training whose mask mAP has not risen by a thousandth in three validations.
# A config takes it with `default_hooks = dict(early_stopping=_base_.early_stopping)`, and this file among its bases.
early_stopping = dict(
    type='EarlyStoppingHook',
    monitor='coco/segm_mAP',
    rule='greater',
    min_delta=0.001,
    patience=3,
)
