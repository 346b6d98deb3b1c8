# Mask2Former with Swin-T for instances: MMDetection's recipe, under our evaluation. `damamba convert-weights` brings
# Hugging Face's and detectron2's weights to it. The other sizes build on this one.
_base_ = 'mmdet::mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco.py'

custom_imports = dict(imports=['damamba.register'], allow_failed_imports=False)
runner_type = 'DAMambaRunner'

data_root = 'data/coco/'  # annotations/, train2017/ and val2017/ lie in it
model = dict(panoptic_fusion_head=dict(type='ChunkedMaskFormerFusionHead'))

# Categories go by their names, whatever their ids and their order.
train_dataloader = dict(dataset=dict(type='NamedCocoDataset', data_root=data_root))
val_dataloader = dict(dataset=dict(type='NamedCocoDataset', data_root=data_root))
test_dataloader = dict(dataset=dict(type='NamedCocoDataset', data_root=data_root))

# The ground truth is that of the data set that is tested.
val_evaluator = dict(_delete_=True, type='CocoInstanceMetric', metric=['bbox', 'segm'])
test_evaluator = dict(_delete_=True, type='CocoInstanceMetric', metric=['bbox', 'segm'])
