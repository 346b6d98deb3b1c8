"""Detectors in Python: load one, ready for inference, and give it pictures."""

import copy
import warnings
from pathlib import Path

import torch
from mmdet.apis import inference_detector
from mmdet.apis import init_detector as build_detector
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

import damamba.register  # noqa: F401  the backbone, and safe reading of checkpoints
from damamba.checkpoint import state_dict_of
from damamba.engine.config import read_config, refuse_version_2
from damamba.engine.loading import fill, fuse_detector
from damamba.models import DAMamba

__all__ = ['inference_detector', 'init_detector']


def init_detector(
    config: str | Path | Config,
    checkpoint: str | Path,
    device: str | None = None,
    cfg_options: dict | None = None,
    fuse: bool = True,
) -> nn.Module:
    """Build the detector of a config, fill all of it from a checkpoint, and make it ready for inference.

    It goes to ``inference_detector(model, pictures)``, which is MMDetection's: paths or arrays (BGR, uint8,
    [H, W, 3]) in, ``DetDataSample`` out.

    Args:
        config: a config file, or what was read from it.
        checkpoint: path or URL.
        device: such as 'cuda:1'; by default a GPU, where there is one.
        cfg_options: override the config.
        fuse: fold batch normalisation into the convolutions: faster, the same results but for rounding.

    Raises:
        ConfigError: the config does not exist, is no Python, or is of MMDetection 2.x.
        CheckpointError: the file is unusable, or does not hold every tensor of the detector.
    """
    cfg = copy.deepcopy(config) if isinstance(config, Config) else read_config(str(config))
    cfg.merge_from_dict(cfg_options or {})
    refuse_version_2(cfg, cfg.filename)
    content = CheckpointLoader.load_checkpoint(str(checkpoint), 'cpu')
    with warnings.catch_warnings(record=True) as caught:
        model = build_detector(cfg, None, device='cpu')
    for it in caught:
        if 'checkpoint is None' not in str(it.message):  # the weights come below, and are held against it
            warnings.warn_explicit(it.message, it.category, it.filename, it.lineno)
    fill(model, state_dict_of(content)[0], str(checkpoint), needs_all=True)
    model.dataset_meta.update(content.get('meta', {}).get('dataset_meta') or {})
    if isinstance(model.backbone, DAMamba):
        model.backbone.to(memory_format=torch.channels_last)
    return (fuse_detector(model) if fuse else model).to(device or get_device())
