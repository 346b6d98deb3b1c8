"""Detectors in Python: load one, ready for inference, and give it pictures."""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet.apis import inference_detector as infer
from mmdet.apis import init_detector as build_detector
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

import damamba.register  # noqa: F401  the backbone, and safe reading of checkpoints
from damamba.checkpoint import state_dict_of
from damamba.engine.config import read_config
from damamba.engine.config_checks import refuse_version_2
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

    It goes to :func:`inference_detector`.

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
    if isinstance(config, Config):
        cfg = copy.deepcopy(config)
        cfg.merge_from_dict(cfg_options or {})
        refuse_version_2(cfg, cfg.filename)
    else:
        cfg = read_config(str(config), cfg_options)
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


def inference_detector(
    model: nn.Module, pictures: str | np.ndarray | Sequence[str | np.ndarray], **options
) -> DetDataSample | list[DetDataSample]:
    """MMDetection's function of this name, which leaves the model's config as it is, and takes any mixture of pictures.

    Args:
        model: from :func:`init_detector`.
        pictures: a path, or an array [H, W, 3], uint8, blue first; or several of them.
        options: MMDetection's other arguments, such as ``test_pipeline``.

    Returns:
        What is found in a picture; of several, a list of that.
    """
    cfg, several = model.cfg, isinstance(pictures, (list, tuple))
    found = []
    for picture in pictures if several else [pictures]:
        model.cfg = copy.deepcopy(cfg)  # MMDetection's writes into it how the picture is loaded
        try:
            found.append(infer(model, picture, **options))
        finally:
            model.cfg = cfg
    return found if several else found[0]
