"""What the tests of checkpoints share."""

import sys
import types
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from damamba.checkpoint import (
    CheckpointError,
)

ROOT = Path(__file__).resolve().parents[2]
MINI = dict(depths=(1, 1, 1, 2), dims=(16, 32, 48, 64), ffn_ratios=(1, 1, 1, 1))
TINY = 'a DAMamba of depths 3, 4, 12, 5 and dims 80, 160, 320, 512'
BASE = 'a DAMamba of depths 4, 8, 25, 8 and dims 112, 224, 448, 640'


def save(content, path, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def equal(state, other):
    return list(state) == list(other) and all(torch.equal(state[name], other[name]) for name in state)


def prefixed(prefix, state):
    return {f'{prefix}{name}': value for name, value in state.items()}


def error_of(call, *args):
    """The text of the CheckpointError that a call raises."""
    with pytest.raises(CheckpointError) as error:
        call(*args)
    return str(error.value)


def hollow(module):
    """A state dict of these names and shapes that takes no room on the disk."""
    return {name: torch.ones(()).expand(value.shape) for name, value in module.state_dict().items()}


@contextmanager
def posing_as(path, kind):
    """Let a class be pickled under a name of its own, such as one of a package that is not installed."""
    module_name, kind.__qualname__ = path.rsplit('.', 1)
    kind.__module__ = module_name
    module = types.ModuleType(module_name)
    setattr(module, kind.__qualname__, kind)
    parts = module_name.split('.')
    with pytest.MonkeyPatch.context() as patch:
        for count in range(len(parts)):
            patch.setitem(sys.modules, '.'.join(parts[: count + 1]), module)
        yield kind
