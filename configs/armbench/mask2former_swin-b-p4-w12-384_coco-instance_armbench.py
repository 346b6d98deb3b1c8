# As mask2former_swin-b-p4-w12-384_armbench.py, but from COCO's instances in place of its panoptic segmentation: weights of
# Hugging Face or detectron2, which are CC BY-NC 4.0, as docs/bring_your_model.md converts them.
_base_ = './mask2former_swin-b-p4-w12-384_armbench.py'

load_from = 'work_dirs/mask2former_swin-b_coco.pth'
