"""What trainers leave in a checkpoint is read."""

import argparse
import collections
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from damamba.checkpoint import (
    read,
)
from tests.checkpoint.helpers import ROOT, equal, posing_as, save


def test_the_arguments_of_a_timm_training_are_read(state, tmp_path):
    args = argparse.Namespace(lr=1e-3, opt='adamw', betas=(0.9, 0.999), crop=None, amp=True)
    content = read(save({'model': state, 'args': args, 'epoch': 299}, tmp_path / 'timm.pth'))
    assert content['args'] == args
    assert equal(content['model'], state)


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_numbers_and_arrays_of_numpy_are_read_exactly(legacy, tmp_path):
    kinds = ('bool', 'int8', 'uint8', 'int16', 'int32', 'int64', 'uint64', 'float16', 'float32', 'float64')
    numbers = {kind: np.dtype(kind).type(1) for kind in kinds}
    arrays = {kind: np.ones((2, 3), kind) for kind in kinds} | {'text': np.array(['person', 'bicycle'])}
    content = read(save({'numbers': numbers, 'arrays': arrays}, tmp_path / 'numpy.pth', legacy))
    for kind in kinds:
        assert content['numbers'][kind] == 1
        assert content['numbers'][kind].dtype == kind
    for kind, array in arrays.items():
        assert content['arrays'][kind].dtype == array.dtype
        assert np.array_equal(content['arrays'][kind], array)


class AddictDict(dict):
    """Pickled as MMCV 1.x's ConfigDict was."""

    def __getnewargs__(self):
        return tuple(self.items())

    def __getstate__(self):
        return self

    def __setstate__(self, state):
        self.update(state)


def test_the_config_of_mmcv_1_is_left_out_because_mmengine_would_run_it(state, tmp_path):
    meta = {'config': 'import os; os.system("touch marker")', 'epoch': 12, 'mAP': np.float64(0.434), 'CLASSES': ('a',)}
    path = save({'meta': meta, 'state_dict': collections.OrderedDict(state)}, tmp_path / 'mmcv1.pth')
    content = read(path)
    assert content['meta'] == {'epoch': 12, 'mAP': 0.434, 'CLASSES': ('a',)}
    assert equal(content['state_dict'], state)


@pytest.mark.parametrize('name', ['mmcv.utils.config.ConfigDict', 'yacs.config.CfgNode'])
@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_a_dict_of_a_package_that_is_not_there_is_read_as_a_dict(name, legacy, state, tmp_path):
    with posing_as(name, type('Dict', (AddictDict,), {})) as kind:
        config = kind(model=kind(type='MaskRCNN', depths=(3, 4)), seed=1)
        path = save({'meta': {'env': config}, 'state_dict': state}, tmp_path / 'mmcv1.pth', legacy)
    content = read(path)
    assert content['meta'] == {'env': {'model': {'type': 'MaskRCNN', 'depths': (3, 4)}, 'seed': 1}}
    assert equal(content['state_dict'], state)


WRITE_WITH_MMENGINE = """
    import sys, numpy, torch
    from mmengine.config import ConfigDict
    from mmengine.logging import MessageHub
    hub = MessageHub.get_instance('run')
    hub.update_scalar('train/loss', 1.5)
    hub.update_scalar('train/loss', 2.5)
    hub.update_info('iter', 2)
    hub.update_info('lr', numpy.float64(0.1))
    model = torch.nn.Linear(2, 3)
    model(torch.ones(1, 2)).sum().backward()
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.step()
    torch.save({
        'meta': {'epoch': 1, 'iter': 2, 'cfg': 'x = 1', 'dataset_meta': ConfigDict(classes=('cat', 'dog'))},
        'state_dict': model.state_dict(),
        'message_hub': hub.state_dict(),
        'optimizer': optimizer.state_dict(),
    }, sys.argv[1])
"""
READ_WITHOUT_MMENGINE = """
    import sys
    from damamba.checkpoint import read
    content = read(sys.argv[1])
    history = content['message_hub']['log_scalars']['train/loss']
    assert history._log_history.tolist() == [1.5, 2.5], vars(history)
    assert content['message_hub']['runtime_info'] == {'iter': 2, 'lr': 0.1}
    assert content['meta']['dataset_meta'] == {'classes': ('cat', 'dog')}
    assert content['state_dict']['weight'].shape == (3, 2)
    assert content['optimizer']['state'][0]['exp_avg'].shape == (3, 2)
    assert 'mmengine' not in sys.modules
"""
RESUME_WITH_MMENGINE = """
    import sys
    from mmengine.logging import HistoryBuffer, MessageHub
    from damamba.checkpoint import read
    hub = MessageHub.get_instance('resumed')
    hub.load_state_dict(read(sys.argv[1])['message_hub'])
    history = hub.get_scalar('train/loss')
    assert type(history) is HistoryBuffer
    assert history.mean() == 2.0 and history.statistics('max') == 2.5
    hub.update_scalar('train/loss', 6.5)
    assert history.current() == 6.5 and hub.get_info('iter') == 2
    import torch
    saved_again = sys.argv[1] + '.again'
    torch.save({**read(sys.argv[1]), 'resumed': hub.state_dict()}, saved_again)
    names = torch.serialization.get_unsafe_globals_in_checkpoint(saved_again)
    assert names and not [name for name in names if 'damamba' in name], names
    content = read(saved_again)
    history = content['message_hub']['log_scalars']['train/loss']
    assert type(history) is HistoryBuffer and history.data[0].tolist() == [1.5, 2.5]
    assert content['resumed']['log_scalars']['train/loss'].data[0].tolist() == [1.5, 2.5, 6.5]
"""


def python(program, *args):
    """Run a program in a process of its own."""
    command = [sys.executable, '-B', '-W', 'ignore', '-c', textwrap.dedent(program), *map(str, args)]
    done = subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope='module')
def mmengines(tmp_path_factory):
    """A checkpoint as MMEngine's runner writes it, with its log history."""
    path = tmp_path_factory.mktemp('mmengine') / 'iter_2.pth'
    python(WRITE_WITH_MMENGINE, path)
    return path


def test_a_checkpoint_of_mmengine_is_read_where_mmengine_is_not_imported(mmengines):
    python(READ_WITHOUT_MMENGINE, mmengines)


def test_a_checkpoint_of_mmengine_is_resumed_with_its_log_history(mmengines):
    python(RESUME_WITH_MMENGINE, mmengines)
