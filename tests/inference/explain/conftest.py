"""A small backbone whose offsets are large enough to matter, and a detector with it."""

import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config

from damamba.inference.detector import init_detector
from damamba.models import DAMamba

ARCH = dict(depths=(1, 1, 1, 1), dims=(16, 32, 32, 48))


def strengthen(model):
    """Offsets of about a cell, which differ from cell to cell."""
    for name, parameter in model.named_parameters():
        if name.endswith('da_scan.offset.weight'):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return strengthen(DAMamba(ARCH)).eval()


@pytest.fixture
def detector_files(small_config, tmp_path):
    """A config and its checkpoint."""
    from mmdet.registry import MODELS

    register_all_modules()
    model = strengthen(MODELS.build(Config.fromfile(small_config).model))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    return small_config, tmp_path / 'weights.pth'


@pytest.fixture
def detector(detector_files):
    return init_detector(*detector_files, 'cpu', fuse=False)
