_base_ = 'mmdet::_base_/datasets/coco_instance.py'

data_root = 'data/coco/'
# What the paths above begin with. A config or a command line that sets another data_root moves them all.
base_data_root = data_root

val_evaluator = dict(type='CocoInstanceMetric')
test_evaluator = dict(type='CocoInstanceMetric')
