"""What the tests of converted weights share."""

from functools import partial

import pytest
import torch


@pytest.fixture
def on_meta():
    """Build models without their values."""
    with pytest.MonkeyPatch.context() as patch, torch.device('meta'):
        patch.setattr(torch, 'linspace', partial(torch.linspace, device='cpu'))  # MMDetection reads numbers off it
        yield
