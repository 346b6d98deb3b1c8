_base_ = 'mmdet::_base_/datasets/coco_instance.py'

# Categories go by their names, whatever their ids and their order.
train_dataloader = dict(dataset=dict(type='NamedCocoDataset'))
val_dataloader = dict(dataset=dict(type='NamedCocoDataset'))
test_dataloader = dict(dataset=dict(type='NamedCocoDataset'))

# The ground truth is that of the data set that is tested.
val_evaluator = dict(_delete_=True, type='CocoInstanceMetric', metric=['bbox', 'segm'])
test_evaluator = dict(_delete_=True, type='CocoInstanceMetric', metric=['bbox', 'segm'])
