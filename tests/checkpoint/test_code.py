"""What carries code is refused."""

import argparse
import builtins
import collections
import functools
import logging
import os

import numpy as np
import pytest
import torch
from torch import nn

from damamba.checkpoint import (
    load_backbone,
    publish,
    read,
    trust_checkpoints,
)
from tests.checkpoint.helpers import equal, error_of, posing_as, save


class Runs:
    """Pickled, it is a call that runs when the file is read; here it leaves a file behind."""

    def __init__(self, how, marker):
        self.how, self.marker = how, str(marker)

    def __reduce__(self):
        if self.how == 'posix.system':
            return os.system, (f'touch {self.marker}',)
        if self.how == 'exec':
            return exec, (f'open({self.marker!r}, "w")',)
        return builtins.open, (self.marker, 'w')


@pytest.fixture(params=['posix.system', 'exec', 'io.open'])
def hostile(request, tmp_path):
    """Something that carries code, under the name that an error should call it, and the file its code would write."""
    return Runs(request.param, tmp_path / 'marker'), request.param, tmp_path / 'marker'


def assert_refused(text, path, what):
    assert text.startswith(f'{path} was refused: besides weights it carries {what}')
    assert '--trust-checkpoint' in text
    assert 'trust_checkpoints()' in text


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_a_checkpoint_that_carries_code_is_refused_and_its_code_has_not_run(hostile, legacy, state, empty, tmp_path):
    carried, what, marker = hostile
    path = save({'state_dict': state, 'optimizer': carried}, tmp_path / 'hostile.pth', legacy)
    for call in (read, functools.partial(load_backbone, empty), lambda p: publish(p, tmp_path / 'out.pth')):
        assert_refused(error_of(call, path), path, what)
    assert not marker.exists()
    assert not list(tmp_path.glob('out*'))


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_a_trusted_checkpoint_that_carries_code_is_loaded(legacy, state, empty, tmp_path, trusting):
    path = save({'state_dict': state, 'x': Runs('exec', tmp_path / 'marker')}, tmp_path / 'trusted.pth', legacy)
    load_backbone(empty, path)
    assert equal(empty.state_dict(), state)
    assert (tmp_path / 'marker').exists()


def test_trust_is_told_in_the_log_and_can_be_taken_back(tmp_path, caplog):
    path = save({'x': Runs('exec', tmp_path / 'marker')}, tmp_path / 'hostile.pth')
    with caplog.at_level(logging.WARNING, logger='damamba.checkpoint'):
        trust_checkpoints()
        trust_checkpoints(False)
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert 'code that they carry will be run' in caplog.text
    assert_refused(error_of(read, path), path, 'exec')


def test_a_trusted_checkpoint_of_a_package_that_is_not_there_is_an_error_that_names_both(tmp_path, trusting):
    with posing_as('absent_package.configs.Config', type('Config', (), {})) as kind:
        path = save({'x': kind()}, tmp_path / 'absent.pth')
    text = error_of(read, path)
    assert str(path) in text
    assert 'absent_package' in text


class Harmless:
    """A class of ours, that no checkpoint may bring along."""


def test_an_object_of_an_unknown_class_is_refused_by_its_name(tmp_path):
    path = save({'x': Harmless()}, tmp_path / 'object.pth')
    assert_refused(error_of(read, path), path, f'{Harmless.__module__}.Harmless')


def test_a_whole_module_is_refused_by_its_name(tmp_path):
    path = save(nn.Linear(2, 2), tmp_path / 'module.pth')
    assert_refused(error_of(read, path), path, 'torch.nn.modules.linear.Linear')


def test_an_array_of_objects_is_refused_with_the_way_out(tmp_path):
    path = save({'x': np.array([{}], dtype=object)}, tmp_path / 'objects.pth')
    assert_refused(error_of(read, path), path, 'numpy.dtype')


@pytest.mark.filterwarnings('ignore:.*looks like a TorchScript archive')
def test_a_torchscript_archive_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / 'script.pth'
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    assert_refused(error_of(read, path), path, 'TorchScript')


@pytest.mark.filterwarnings('ignore:.*looks like a TorchScript archive')
def test_a_trusted_torchscript_archive_is_still_no_checkpoint(tmp_path, trusting):
    path = tmp_path / 'script.pth'
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    assert f'{path} holds a RecursiveScriptModule; wanted a checkpoint' in error_of(read, path)


class Getattr:
    """Pickled, it is what getattr finds in a type that checkpoints may hold."""

    def __init__(self, owner, name):
        self.args = owner, name

    def __reduce__(self):
        return getattr, self.args


@pytest.mark.parametrize('owner', [collections.OrderedDict, np.ndarray, argparse.Namespace])
def test_a_pickle_cannot_reach_for_the_inside_of_an_allowed_type(owner, tmp_path):
    path = save({'x': Getattr(owner, '__init__')}, tmp_path / 'reaching.pth')
    assert_refused(error_of(read, path), path, 'getattr')


@pytest.mark.parametrize('name', ['__init__', '__class__', '__getstate__', 'register_statistics'])
def test_a_log_history_gives_a_pickle_nothing_but_its_own_statistics(name, tmp_path):
    methods = {name: lambda self: None} if name == 'register_statistics' else {}
    with posing_as('mmengine.logging.history_buffer.HistoryBuffer', type('Buffer', (), methods)) as kind:
        path = save({'x': Getattr(kind, name)}, tmp_path / 'reaching.pth')
    assert_refused(error_of(read, path), path, 'getattr')
