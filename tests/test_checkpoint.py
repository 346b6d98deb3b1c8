"""Reading, verifying, stripping and writing weights: what is filled, what is refused, and in which words."""

import argparse
import builtins
import collections
import functools
import hashlib
import http.server
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
import types
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from damamba.checkpoint import (
    CheckpointError,
    backbone_state,
    describe,
    load_backbone,
    match,
    publish,
    read,
    state_dict_of,
    trust_checkpoints,
)
from damamba.models import DAMamba

ROOT = Path(__file__).resolve().parents[1]
MINI = dict(depths=(1, 1, 1, 2), dims=(16, 32, 48, 64), ffn_ratios=(1, 1, 1, 1))
TINY = 'a DAMamba of depths 3, 4, 12, 5 and dims 80, 160, 320, 512'
BASE = 'a DAMamba of depths 4, 8, 25, 8 and dims 112, 224, 448, 640'


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


# What is filled


def containers(state):
    return {
        'bare': state,
        'model': {'model': state, 'epoch': 3},
        'model_ema': {'model_ema': state, 'epoch': 3},
        'state_dict': {'state_dict': state, 'meta': {'epoch': 3}},
    }


@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.', 'module.backbone.'])
@pytest.mark.parametrize('container', ['bare', 'model', 'model_ema', 'state_dict'])
def test_a_backbone_is_filled_from_every_container_and_prefix(container, prefix, state, empty, tmp_path):
    path = save(containers(prefixed(prefix, state))[container], tmp_path / 'weights.pth')
    result = load_backbone(empty, path)
    assert equal(empty.state_dict(), state)
    assert result.complete
    assert len(result.filled) == len(state)


def test_the_trained_weights_go_before_their_average(state, empty, tmp_path):
    average = {name: torch.zeros_like(value) for name, value in state.items()}
    load_backbone(empty, save({'model_ema': average, 'model': state}, tmp_path / 'both.pth'))
    assert equal(empty.state_dict(), state)


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_both_formats_of_torch_are_read(legacy, state, empty, tmp_path):
    load_backbone(empty, save({'model': state}, tmp_path / 'weights.pth', legacy))
    assert equal(empty.state_dict(), state)


def test_safetensors_are_read_with_their_meta(state, empty, tmp_path):
    path = tmp_path / 'weights.safetensors'
    safetensors.torch.save_file(state, path, metadata={'meta': json.dumps({'classes': ['cat']})})
    load_backbone(empty, path)
    assert equal(empty.state_dict(), state)
    assert read(path)['meta'] == {'classes': ['cat']}


def test_the_imagenet_head_is_left_out(state, empty, tmp_path):
    classifier = {**state, 'head.fc.weight': torch.zeros(1000, 64), 'head.fc.bias': torch.zeros(1000)}
    result = load_backbone(empty, save({'model': classifier}, tmp_path / 'imagenet.pth'))
    assert equal(empty.state_dict(), state)
    assert result.unexpected == []


def test_the_rest_of_a_detector_is_left_out(state, empty, tmp_path):
    rest = {'neck.fpn.weight': torch.ones(3), 'roi_head.fc.weight': torch.ones(3)}
    load_backbone(empty, save({'state_dict': {**prefixed('backbone.', state), **rest}}, tmp_path / 'detector.pth'))
    assert equal(empty.state_dict(), state)


def test_the_published_classifiers_names_fill_the_published_backbone(shared, tmp_path):
    lines = (shared / 'reference/damamba_tiny_imagenet_keys.tsv').read_text().splitlines()
    names = dict(line.split('\t') for line in lines)
    sizes = {name: [] if size == 'scalar' else [int(n) for n in size.split('x')] for name, size in names.items()}
    path = save({'model': {name: torch.ones(()).expand(size) for name, size in sizes.items()}}, tmp_path / 'tiny.pth')
    assert len(load_backbone(DAMamba('tiny'), path).filled) == 873


def test_a_log_record_says_how_many_tensors_were_filled_from_where_and_what_was_left(state, empty, tmp_path, caplog):
    path = save({'model': {**state, 'head.fc.weight': torch.zeros(9, 64)}}, tmp_path / 'imagenet.pth')
    with caplog.at_level(logging.INFO, logger='damamba.checkpoint'):
        load_backbone(empty, path)
    (record,) = caplog.records
    text = record.getMessage()
    assert (record.name, record.levelno) == ('damamba.checkpoint', logging.INFO)
    assert f'Filled {len(state)} of {len(state)} tensors of the backbone from {path}' in text
    assert "under 'model'" in text
    assert 'left out head.fc.weight' in text


def test_the_parts_of_a_state_dict_are_told_apart(state):
    content = {'meta': {}, 'state_dict': prefixed('module.', {**prefixed('backbone.', state), 'neck.w': torch.ones(1)})}
    found, container = state_dict_of(content)
    kept, left = backbone_state(found)
    assert container == 'state_dict'
    assert equal(kept, state)
    assert left == ['neck.w']
    assert describe(found) == 'a DAMamba of depths 1, 1, 1, 2 and dims 16, 32, 48, 64'


def test_a_match_lists_what_fits_and_what_does_not():
    module = nn.Linear(2, 3)
    result = match(module, {'weight': torch.zeros(2, 3), 'other': torch.zeros(())})
    assert result.filled == []
    assert result.missing == ['bias']
    assert result.mismatched == ['weight (file 2x3, model 3x2)']
    assert result.unexpected == ['other']
    assert not result.complete
    assert str(result) == (
        '0 of 2 tensors match; 1 missing: bias; 1 mismatched: weight (file 2x3, model 3x2); 1 unexpected: other'
    )


# What does not fit


def hollow(module):
    """A state dict of these names and shapes that takes no room on the disk."""
    return {name: torch.ones(()).expand(value.shape) for name, value in module.state_dict().items()}


def test_tiny_weights_in_base_are_one_error_that_names_both(tmp_path):
    path = save({'model': hollow(DAMamba('tiny'))}, tmp_path / 'tiny.pth')
    base = DAMamba('base')
    before = base.norm4.norm.weight.clone(), base.stem[0].weight.clone()
    text = error_of(load_backbone, base, path)
    assert text.startswith(f'{path} holds {TINY}; wanted {BASE}: ')
    assert 'missing' in text
    assert 'stem.0.weight (file 40x3x3x3, model 56x3x3x3)' in text
    assert len(text) < 1000
    assert torch.equal(base.norm4.norm.weight, before[0])
    assert torch.equal(base.stem[0].weight, before[1])


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_a_resnets_weights_are_one_error_that_shows_some_of_their_names(prefix, empty, tmp_path):
    names = ('conv1.weight', 'bn1.weight', 'bn1.bias', 'layer1.0.conv1.weight')
    path = save({'state_dict': {f'{prefix}{name}': torch.ones(64) for name in names}}, tmp_path / 'resnet.pth')
    text = error_of(load_backbone, empty, path)
    assert f'{path} holds 4 tensors of another model (conv1.weight, bn1.weight, bn1.bias, ...)' in text
    assert 'wanted a DAMamba of depths 1, 1, 1, 2 and dims 16, 32, 48, 64' in text


def test_an_incomplete_file_is_an_error_that_names_what_is_missing(state, empty, tmp_path):
    del state['norm2.norm.weight']
    path = save(state, tmp_path / 'partial.pth')
    before = {name: value.clone() for name, value in empty.state_dict().items()}
    text = error_of(load_backbone, empty, path)
    assert str(path) in text
    assert f'{len(state)} of {len(state) + 1} tensors match; 1 missing: norm2.norm.weight' in text
    assert equal(empty.state_dict(), before)


def test_tensors_that_the_backbone_does_not_have_are_an_error_that_names_them(state, empty, tmp_path):
    path = save({**state, 'stages.0.blocks.7.odd': torch.ones(3)}, tmp_path / 'more.pth')
    assert '1 unexpected: stages.0.blocks.7.odd' in error_of(load_backbone, empty, path)


@pytest.mark.parametrize('content', [{}, {'epoch': 3}, {'model': {}}], ids=str)
def test_a_file_without_tensors_is_an_error_that_says_so(content, empty, tmp_path):
    path = save(content, tmp_path / 'nothing.pth')
    assert f'{path} holds no tensors; wanted a DAMamba' in error_of(load_backbone, empty, path)


@pytest.mark.parametrize(
    'content', [torch.ones(3), [1, 2], 'text', argparse.Namespace(a=1)], ids=lambda c: type(c).__name__
)
def test_a_file_of_something_else_is_an_error_that_says_what_it_holds(content, tmp_path):
    path = save(content, tmp_path / 'other.pth')
    assert f'{path} holds a {type(content).__name__}; wanted a checkpoint' in error_of(read, path)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
@pytest.mark.parametrize('page', ['<!DOCTYPE html>\n<html>', '\n\n<html lang="en">', '<!doctype HTML>'])
def test_a_web_page_saved_as_weights_is_an_error_that_says_what_to_do(page, ending, empty, tmp_path):
    path = tmp_path / f'page{ending}'
    path.write_text(page + '<body>blob</body>')
    text = error_of(load_backbone, empty, path)
    assert f'{path} is a web page, not weights' in text
    assert 'resolve' in text
    assert 'wanted a checkpoint (.pth or .safetensors)' in text


def test_a_pointer_of_git_lfs_is_an_error_that_says_what_to_do(tmp_path):
    path = tmp_path / 'pointer.pth'
    path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n')
    text = error_of(read, path)
    assert f'{path} is a Git LFS pointer' in text
    assert 'git lfs pull' in text


def test_a_missing_file_a_folder_and_an_empty_file_are_errors_that_name_them(tmp_path):
    (tmp_path / 'empty.pth').touch()
    for path, words in (
        (tmp_path / 'missing.pth', 'does not exist or is not a file; wanted a checkpoint'),
        (tmp_path, 'does not exist or is not a file; wanted a checkpoint'),
        (tmp_path / 'empty.pth', 'is empty; wanted a checkpoint'),
    ):
        assert f'{path} {words}' in error_of(read, path)


@pytest.mark.parametrize('written', ['zip', 'legacy', 'safetensors'])
def test_a_file_that_is_cut_off_anywhere_is_an_error_that_says_so(written, tmp_path):
    tensors = {f'weight{i}': torch.randn(9) for i in range(5)}
    path = tmp_path / ('whole.safetensors' if written == 'safetensors' else 'whole.pth')
    if written == 'safetensors':
        safetensors.torch.save_file(tensors, path)
    else:
        save({'state_dict': tensors, 'meta': {'epoch': 1}}, path, legacy=written == 'legacy')
    whole = path.read_bytes()
    for length in [*range(1, 60), *range(60, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        text = error_of(read, path)
        told = (f'{path} is cut off or is not a', f'{path} was refused')  # half a name is a name nobody knows
        assert text.startswith(told[: 2 if written == 'legacy' else 1]), length


def test_a_text_file_is_an_error_in_words_of_ours(tmp_path):
    path = tmp_path / 'text.pth'
    path.write_text('{"error": "not found"}')
    text = error_of(read, path)
    assert f'{path} is cut off or is not a torch checkpoint' in text
    assert 'weights_only' not in text
    assert 'documentation of torch.load' not in text


# What carries code


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
    assert_refused(error_of(read, path), path, 'numpy.dtypes.ObjectDType')


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


# What trainers leave in a checkpoint


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


# Downloads


class Server(http.server.ThreadingHTTPServer):
    """Answers every request with `content`; `status` and `length` may lie."""

    content, status, length = b'', 200, None

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.asked = []
        self.url = f'http://127.0.0.1:{self.server_port}'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.send_header('Content-Length', str(self.server.length or len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of downloads."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / 'torch' / 'hub'))
    yield tmp_path / 'torch' / 'hub' / 'checkpoints'
    torch.hub.set_dir(before)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_a_url_is_downloaded_once_into_torchs_cache(ending, server, cache, state, empty, tmp_path):
    path = tmp_path / f'weights{ending}'
    if ending == '.pth':
        save({'model': state}, path)
    else:
        safetensors.torch.save_file(state, path)
    server.content = path.read_bytes()
    for _ in range(2):
        load_backbone(empty, f'{server.url}/files/weights{ending}?download=true')
    assert equal(empty.state_dict(), state)
    assert server.asked == [f'/files/weights{ending}?download=true']
    (kept,) = cache.iterdir()
    assert kept.name.endswith(f'-weights{ending}')
    assert kept.read_bytes() == server.content


def test_two_urls_that_end_alike_are_two_files(server, cache, tmp_path):
    for number in (1.0, 2.0):
        server.content = save({'x': torch.tensor(number)}, tmp_path / 'weights.pth').read_bytes()
        assert read(f'{server.url}/{number}/weights.pth')['x'].item() == number
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize('status', [403, 404, 500])
def test_a_url_that_is_not_served_is_an_error_that_names_it_and_the_answer(status, server, cache, empty):
    server.status = status
    text = error_of(load_backbone, empty, f'{server.url}/missing.pth')
    assert f'{server.url}/missing.pth could not be downloaded' in text
    assert str(status) in text
    assert not list(cache.iterdir())


def test_a_server_that_is_not_there_is_an_error_that_names_the_url(server, cache):
    url = f'{server.url}/weights.pth'
    server.server_close()
    assert f'{url} could not be downloaded' in error_of(read, url)


def test_a_url_that_is_none_is_an_error_that_names_it(cache):
    assert 'http://127.0.0.1:port/weights.pth could not be downloaded' in error_of(
        read, 'http://127.0.0.1:port/weights.pth'
    )


def test_a_download_that_is_cut_off_is_an_error_and_is_not_kept(server, cache, state, tmp_path):
    whole = save({'model': state}, tmp_path / 'weights.pth').read_bytes()
    server.content, server.length = whole[: len(whole) // 2], len(whole)
    error_of(read, f'{server.url}/weights.pth')
    server.content = whole
    assert equal(read(f'{server.url}/weights.pth')['model'], state)


def test_a_web_page_behind_a_url_is_an_error_that_says_so(server, cache):
    server.content = b'<!DOCTYPE html><html>sign in</html>'
    assert 'is a web page, not weights' in error_of(read, f'{server.url}/weights.pth')


@pytest.mark.parametrize(
    ('given', 'fetched'),
    [
        (
            'https://huggingface.co/someone/DAMamba/blob/main/DAMamba-T.pth',
            'https://huggingface.co/someone/DAMamba/resolve/main/DAMamba-T.pth',
        ),
        (
            'https://huggingface.co/someone/DAMamba/resolve/main/blob/x.pth',
            'https://huggingface.co/someone/DAMamba/resolve/main/blob/x.pth',
        ),
        ('https://example.com/blob/main/x.pth', 'https://example.com/blob/main/x.pth'),
    ],
)
def test_only_a_page_of_hugging_face_is_rewritten_to_its_file(given, fetched, cache, state, monkeypatch):
    asked = []

    def download(url, target, **options):
        asked.append(url)
        save({'model': state}, target)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    assert equal(read(given)['model'], state)
    assert asked == [fetched]


# Publishing


@pytest.fixture
def training(state, tmp_path):
    """A training checkpoint with an optimizer, and its path."""
    meta = {
        'epoch': 12,
        'config': 'x = 1',
        'dataset_meta': {'classes': ('cat', 'dog'), 'palette': np.array([[1, 2, 3]])},
    }
    content = {
        'meta': meta,
        'state_dict': prefixed('module.', state),
        'optimizer': {'state': {0: torch.ones(1000, 1000)}},
    }
    return save(content, tmp_path / 'epoch_12.pth')


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_publishing_keeps_the_weights_alone_under_their_hash(ending, training, state, tmp_path):
    path = publish(training, tmp_path / 'out' / f'damamba.tiny{ending}')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path == tmp_path / 'out' / f'damamba.tiny-{digest[:8]}{ending}'
    assert list(path.parent.iterdir()) == [path]
    content = read(path)
    assert sorted(content) == ['meta', 'state_dict']
    assert content['meta'] == {'dataset_meta': {'classes': ['cat', 'dog'], 'palette': [[1, 2, 3]]}}
    assert equal({name: content['state_dict'][name] for name in state}, state)
    assert len(content['state_dict']) == len(state)
    assert path.stat().st_size < training.stat().st_size - 3_000_000


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_published_weights_fill_a_backbone(ending, training, state, empty, tmp_path):
    load_backbone(empty, publish(training, tmp_path / f'damamba{ending}'))
    assert equal(empty.state_dict(), state)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_weights_that_share_memory_or_lie_strided_are_published(ending, tmp_path):
    tied = torch.randn(3)
    state = {'a': tied, 'b': tied, 'strided': torch.randn(4, 3).t(), 'expanded': torch.randn(1).expand(5)}
    path = publish(save({'state_dict': state}, tmp_path / 'tied.pth'), tmp_path / f'out{ending}')
    content = read(path)['state_dict']
    assert all(torch.equal(content[name], value) for name, value in state.items())


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_a_process_of_another_number_publishes_the_same_weights_under_the_same_name(
    ending, training, tmp_path, monkeypatch
):
    names = []
    for number in (111, 222):
        monkeypatch.setattr(os, 'getpid', lambda number=number: number)
        names.append(publish(training, tmp_path / f'out{ending}').name)
    assert names[0] == names[1]


def test_a_write_that_fails_leaves_nothing_behind(training, tmp_path, monkeypatch):
    def fail(content, file, write=torch.save):
        write({'half': torch.ones(3)}, file)
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='No space left'):
        publish(training, tmp_path / 'out' / 'damamba.pth')
    assert list((tmp_path / 'out').iterdir()) == []


def test_publishing_under_another_ending_is_an_error_that_says_which_there_are(training, tmp_path):
    assert f'{tmp_path / "out.onnx"} must end in .pth or .safetensors' in error_of(
        publish, training, tmp_path / 'out.onnx'
    )


def test_publishing_a_file_without_tensors_is_an_error_that_says_so(tmp_path):
    path = save({'meta': {'epoch': 1}}, tmp_path / 'nothing.pth')
    assert f'{path} holds no tensors' in error_of(publish, path, tmp_path / 'out.pth')
