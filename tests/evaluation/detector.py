"""An untrained detector whose figures are not zero, and a data set of 14 pictures, to test for real."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.detection import write_coco, write_config

PICTURES = 14
CLASSES = ('person', 'bicycle', 'car')  # the first three of the data set's 80 categories, those that are drawn

# Untrained, it finds things by chance: many detections of few classes are right now and then.
FEW_CLASSES = f"""
metainfo = dict(classes={CLASSES!r})
val_dataloader['dataset'] = dict(data_root=data_root, pipeline=pipeline, metainfo=metainfo)
train_dataloader['dataset'] = test_dataloader['dataset'] = val_dataloader['dataset']
model['roi_head']['bbox_head']['num_classes'] = model['roi_head']['mask_head']['num_classes'] = 3
model['test_cfg'] = dict(rpn=dict(max_per_img=200), rcnn=dict(score_thr=0.0, max_per_img=100))
"""


@dataclass(frozen=True)
class Detector:
    """A config, weights that fit it, and the data set that it names."""

    config: Path
    checkpoint: Path
    data_root: Path

    @property
    def annotations(self) -> Path:
        return self.data_root / 'annotations' / 'instances_val2017.json'


def write_detector(folder: Path) -> Detector:
    """Write all three into a folder."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    import damamba.register  # noqa: F401

    data_root = write_coco(folder / 'coco', train=2, val=PICTURES)
    config = write_config(folder / 'few.py', data_root, extra=FEW_CLASSES)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model.init_weights()
    _see_anchors(model)
    torch.save({'state_dict': model.state_dict()}, folder / 'untrained.pth')
    return Detector(config, folder / 'untrained.pth', data_root)


def _see_anchors(model) -> None:
    """Let it propose the anchors, as they are, with masks that fill them: some of them are right."""
    box_head, mask_head = model.roi_head.bbox_head, model.roi_head.mask_head
    for layer in (model.rpn_head.rpn_reg, box_head.fc_reg, mask_head.conv_logits):
        torch.nn.init.zeros_(layer.weight)
    torch.nn.init.ones_(mask_head.conv_logits.bias)
