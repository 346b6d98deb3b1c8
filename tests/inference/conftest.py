"""A detector with random weights, for tests of its use."""

import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.inference.helpers import CLASSES


def write_checkpoint(config, folder, classes=CLASSES):
    """Random weights, batch normalisations that have seen something, and the names of the classes."""
    from mmdet.registry import MODELS

    register_all_modules()
    model = MODELS.build(Config.fromfile(config).model)
    for norm in (m for m in model.modules() if isinstance(m, _BatchNorm)):
        nn.init.uniform_(norm.running_mean, -0.1, 0.1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    path = folder / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes))), path)
    return path


@pytest.fixture
def checkpoint(small_config, tmp_path):
    return write_checkpoint(small_config, tmp_path)
