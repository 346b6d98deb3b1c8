"""Testing with augmentation: each picture as it is and flipped, boxes and masks of both merged."""

import copy
from collections.abc import Sequence

import torch
from mmcv.ops import batched_nms
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from damamba.engine.config_checks import ConfigError
from damamba.evaluation.building import datasets_of
from damamba.types import class_of, name_of

MERGING = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)  # MMDetection's
AXES = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}  # of masks [N, H, W]
PACKED = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')


class InstanceTTAModel(DetTTAModel):
    """MMDetection's ``DetTTAModel``, for masks too: a box that is kept brings the mask of the view that it is from."""

    def _merge_single_sample(self, data_samples: Sequence[DetDataSample]) -> DetDataSample:
        found, metas = [it.pred_instances for it in data_samples], [it.metainfo for it in data_samples]
        boxes, scores = self.merge_aug_bboxes([it.bboxes for it in found], [it.scores for it in found], metas)
        if not len(boxes):
            return data_samples[0]
        labels = torch.cat([it.labels for it in found])
        merged, kept = batched_nms(boxes, scores, labels, self.tta_cfg.nms)
        merged, kept = merged[: self.tta_cfg.max_per_img], kept[: self.tta_cfg.max_per_img]
        results = InstanceData(bboxes=merged[:, :4], scores=merged[:, 4], labels=labels[kept])
        if 'masks' in found[0]:
            results.masks = _masks([it.masks for it in found], metas, kept)
        data_samples[0].pred_instances = results
        return data_samples[0]


def _masks(views: Sequence[Tensor], metas: Sequence[dict], kept: Tensor) -> Tensor:
    """Masks [K, H, W] of the detections that are kept, by their numbers in all views' together; flipped back."""
    counts = [len(view) for view in views]
    starts = torch.tensor([0, *counts], device=kept.device).cumsum(0)
    masks = views[0].new_zeros((len(kept), *views[0].shape[1:]))
    for view, meta, start, count in zip(views, metas, starts[:-1], counts, strict=True):
        here = (kept >= start) & (kept < start + count)
        own = view[kept[here] - start]
        masks[here] = own.flip(AXES[meta['flip_direction']]) if meta['flip'] else own
    return masks


def use_tta(cfg: Config) -> None:
    """Test a config's detector with augmentation, in place: by its ``tta_model`` and ``tta_pipeline``, or flipped.

    Raises:
        ConfigError: its pipeline does not end in PackDetInputs, so that nothing can be put before that.
    """
    datasets = list(datasets_of(cfg.test_dataloader.dataset))
    pipelines = [cfg.get('tta_pipeline') or _flipped(dataset) for dataset in datasets]
    tta_model = {'type': 'InstanceTTAModel', **copy.deepcopy(cfg.get('tta_model') or {})}
    tta_model['tta_cfg'] = {**MERGING, **tta_model.get('tta_cfg', {})}
    if class_of(tta_model, MODELS) is DetTTAModel:
        tta_model['type'] = 'InstanceTTAModel'
    cfg.model = ConfigDict(**tta_model, module=cfg.model)
    for dataset, pipeline in zip(datasets, pipelines, strict=True):
        dataset['pipeline'] = pipeline


def _flipped(dataset: dict) -> list[dict]:
    *steps, last = dataset.get('pipeline') or [{}]
    if name_of(last) != 'PackDetInputs':
        raise ConfigError('--tta needs a test pipeline that ends in PackDetInputs, or tta_pipeline in the config')
    flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
    return [*copy.deepcopy(steps), dict(type='TestTimeAug', transforms=[flips, [dict(last, meta_keys=PACKED)]])]
