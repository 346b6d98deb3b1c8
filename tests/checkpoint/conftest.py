"""What the tests of checkpoints start from."""

import pytest
import torch

from damamba.checkpoint import (
    trust_checkpoints,
)
from damamba.models import DAMamba
from tests.checkpoint.helpers import MINI


@pytest.fixture(scope='module')
def backbone():
    """A backbone to read state dicts from; no test changes it."""
    torch.manual_seed(0)
    return DAMamba(MINI).eval()


@pytest.fixture
def state(backbone):
    return dict(backbone.state_dict())


@pytest.fixture
def empty():
    """A backbone with other weights, to be filled."""
    torch.manual_seed(1)
    return DAMamba(MINI).eval()


@pytest.fixture
def trusting():
    """Trust checkpoints during one test."""
    trust_checkpoints()
    yield
    trust_checkpoints(False)
