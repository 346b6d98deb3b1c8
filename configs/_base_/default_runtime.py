_base_ = 'mmdet::_base_/default_runtime.py'

# Registers DAMamba and what goes with it, also under MMDetection's own tools.
custom_imports = dict(imports=['damamba.register'], allow_failed_imports=False)
runner_type = 'DAMambaRunner'

# scalars.json for tools/report.py; TensorBoard's event files beside it, where the package tensorboard is installed.
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardIfInstalled')])

# The best checkpoint by mask mAP is kept too; by box mAP where masks are not measured.
default_hooks = dict(checkpoint=dict(save_best='coco/segm_mAP', rule='greater'))

# The share of a training set that may turn out to be of no use (left_out.json in the run's folder says what and why)
# before the run stops.
max_left_out = 0.01

# Steps in a row whose loss or gradient is not finite, each of them left out, before the run stops.
max_skipped_steps = 10
