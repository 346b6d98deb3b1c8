"""A block's derivative by hand, against autograd's in float64."""

import copy

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from damamba.models import by_hand, layers, lean
from damamba.models.backbone import Block
from damamba.models.drop_path import DropPath
from damamba.ops.cpu import threads
from tests.models.helpers import mini
from tests.ops.helpers import pairwise, parametrize

KEPT = {'all': None, 'one of two': [1], 'none': []}


@pytest.fixture
def called(monkeypatch):
    """Which of the functions by hand were taken, in order."""
    names = []
    for name in ('Mixing', 'Widening', 'Untouched'):
        monkeypatch.setattr(by_hand, name, _counted(name, getattr(by_hand, name), names))
    return names


def _counted(name, function, names):
    class Counted(function):
        @staticmethod
        def forward(ctx, *args):
            names.append(name)
            return function.forward(ctx, *args)

    return Counted


def drawn(block):
    """The block with weights that are all of some size."""
    for parameter in block.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return block.train()


def results(block, x, upstream):
    """The block's output, statistics, and the gradients of x and of every weight."""
    x = x.clone().requires_grad_()
    weights = {name: p for name, p in block.named_parameters() if p.requires_grad}
    out = block(x)
    grads = torch.autograd.grad(out, (x, *weights.values()), upstream)
    buffers = {name: value.clone() for name, value in block.named_buffers() if value.is_floating_point()}
    return {'output': out, 'x': grads[0], **dict(zip(weights, grads[1:], strict=True)), **buffers}


@parametrize(pairwise({'kept': list(KEPT), 'worth': [0, 10**9], 'layer_scale': [False, True]}))
def test_outputs_and_gradients_are_autograds(kept, worth, layer_scale, called, monkeypatch, poisoned_memory):
    monkeypatch.setattr(lean, 'WORTH', worth)
    monkeypatch.setattr(layers, 'HUGE', worth)
    chosen = None if KEPT[kept] is None else torch.tensor(KEPT[kept], dtype=torch.long)
    monkeypatch.setattr(DropPath, 'draw', lambda self, batch: chosen)
    block = drawn(Block(48, 2, 0.25, layer_scale, dict(type='BN')))
    exact = copy.deepcopy(block).double()
    x, upstream = torch.randn(2, 48, 9, 7), torch.randn(2, 48, 9, 7)
    values = results(block, x, upstream)
    assert called == (['Untouched'] * 2 if kept == 'none' else ['Mixing', 'Widening'])
    truths = results(exact, x.double(), upstream.double())
    assert len(called) == 2, 'float64 went by hand'
    for name, truth in truths.items():
        assert values[name].dtype == torch.float32 and values[name].shape == truth.shape
        error = (values[name] - truth).abs().max()
        assert error <= 2e-5 * truth.abs().max(), f'{name}: {error / truth.abs().max():.1e}'


def test_a_branch_that_no_sample_goes_through_has_gradients_of_0(monkeypatch):
    monkeypatch.setattr(DropPath, 'draw', lambda self, batch: torch.tensor([], dtype=torch.long))
    block = drawn(Block(16, 2, 0.5, True, dict(type='BN')))
    block(torch.randn(2, 16, 5, 6)).square().sum().backward()
    for name, parameter in block.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.any() == name.startswith('pos_embed'), name
    assert block.norm2.num_batches_tracked == 1 and block.norm2.running_mean.any()


def test_large_maps_keep_little_and_the_gradients_do_not_change(monkeypatch):
    block, x = drawn(Block(48, 2, 0.0, False, dict(type='BN'))), torch.randn(1, 48, 16, 16, requires_grad=True)
    sizes, grads = [], []
    for worth in (0, 10**9):
        monkeypatch.setattr(lean, 'WORTH', worth)
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # noqa: B023
            out = block(x)
        own = {p.untyped_storage()._cdata for p in block.parameters()}
        storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in kept}
        sizes.append(sum(size for storage, size in storages.items() if storage not in own))
        grads.append(torch.autograd.grad(out.sin().sum(), [p for p in block.parameters() if p.requires_grad]))
    maps = 4 * x.numel()
    assert sizes[0] <= 14 * maps and sizes[1] - sizes[0] >= 5 * maps
    for few, many in zip(*grads, strict=True):
        assert (few - many).abs().max() <= 1e-6 * many.abs().max()


def test_frozen_weights_get_none_and_the_rest_their_own(called):
    block, x = drawn(Block(16, 2, 0.0, False, dict(type='BN'))), torch.randn(1, 16, 5, 6)
    truths = results(block, x, torch.ones(1, 16, 5, 6))
    for module in (block.token_mixer.in_proj, block.mlp.fc1, block.norm1):
        module.requires_grad_(False)
    block(x).sum().backward()
    assert called == ['Mixing', 'Widening'] * 2
    for name, parameter in block.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad
        if parameter.requires_grad:
            assert torch.equal(parameter.grad, truths[name]), name


def test_a_model_is_built_contiguous_with_the_strides_of_its_gradients():
    """Safetensors takes contiguous tensors only; DistributedDataParallel wants a gradient to be like its weight."""
    model = mini()
    assert [name for name, value in model.state_dict().items() if not value.is_contiguous()] == []
    convs = {n: p for n, p in model.named_parameters() if p.ndim == 4 and 'constant' not in n}
    same = [p for p in convs.values() if p.is_contiguous(memory_format=torch.channels_last)]  # the same memory as well
    assert len(same) == len(convs) - 7  # but for the stem's four and the three downsamplings'
    assert [p.shape for p in same if p.stride() != p.to(memory_format=torch.channels_last).stride()] == []


@pytest.mark.parametrize('layout', [torch.preserve_format, torch.contiguous_format, torch.channels_last])
def test_gradients_have_the_strides_of_their_weights(layout, called):
    """Autograd would copy others, and DistributedDataParallel warns of them."""
    model = mini().to(memory_format=layout).train()
    sum(out.sum() for out in model(picture())).backward()
    assert 'Mixing' in called and 'Widening' in called
    blocks = [block for block in model.modules() if isinstance(block, Block)]
    weights = [p for block in blocks for p in block.parameters() if p.requires_grad]
    assert [p.shape for p in weights if p.grad.stride() != p.stride()] == []


@pytest.mark.parametrize('worth', [0, 10**9], ids=['large maps', 'small maps'])
def test_a_second_backward_gives_the_same_and_leaves_the_upstream_alone(worth, called, monkeypatch):
    monkeypatch.setattr(lean, 'WORTH', worth)
    block = drawn(Block(16, 2, 0.0, False, dict(type='BN')))
    x = torch.randn(2, 16, 5, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    upstream = torch.randn(2, 16, 5, 6).contiguous(memory_format=torch.channels_last)
    kept, given, out = upstream.clone(), (x, *(p for p in block.parameters() if p.requires_grad)), block(x)
    first, second = (torch.autograd.grad(out, given, upstream, retain_graph=True) for _ in range(2))
    assert called == ['Mixing', 'Widening'] and upstream.equal(kept)
    assert all(map(torch.equal, first, second))
    (expanded,) = torch.autograd.grad(out.sum(), x, retain_graph=True)
    assert expanded.equal(torch.autograd.grad(out, x, torch.ones_like(out))[0])


def picture():
    return torch.randn(1, 3, 64, 64)


def test_a_training_on_the_cpu_goes_this_way(called):
    sum(out.sum() for out in mini().train()(picture())).backward()
    assert called == ['Mixing', 'Widening'] * 5


def test_others_go_theirs(called, monkeypatch):
    model = mini().train()
    with torch.no_grad():
        model(picture())
    with torch.autocast('cpu', torch.bfloat16):
        model(picture())
    with FlopCounterMode(display=False):
        model(picture())
    with FakeTensorMode():
        mini().train()(torch.empty(1, 3, 64, 64))
    mini().double().train()(picture().double())
    mini().eval()(picture().requires_grad_())  # gradients of a picture, normalised by running statistics
    assert called == ['Mixing', 'Widening'] * 5
    called.clear()
    for backend in ('vectorized', 'reference'):
        monkeypatch.setenv('DAMAMBA_BACKEND', backend)
        assert not by_hand.takes(torch.randn(1, 16, 2, 2), [])
    monkeypatch.setenv('DAMAMBA_BACKEND', 'numba')
    assert by_hand.takes(torch.randn(1, 16, 2, 2), [torch.randn(16, 16, 1, 1)])
    assert not by_hand.takes(torch.randn(1, 12, 2, 2), [torch.randn(12, 1, 3, 3)])  # no multiple of 8
    assert not by_hand.takes(torch.randn(1, 24, 2, 2), [torch.randn(24, 1, 3, 3)], by_hand.WIDE)
    monkeypatch.delenv('DAMAMBA_BACKEND')
    monkeypatch.setattr(threads, 'missing', lambda: 'Numba is not installed')
    model(picture())
    assert called == []


@pytest.mark.parametrize(('size', 'onednn'), [(0, True), (10**9, False), (10**9, True)])
def test_a_backward_inside_autocast_computes_as_one_outside(size, onednn, called, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, 'enabled', onednn)
    monkeypatch.setattr(lean, 'WORTH', size)
    monkeypatch.setattr(layers, 'HUGE', size)
    block = drawn(Block(16, 2, 0.0, True, dict(type='BN')))
    x, grads = torch.randn(1, 16, 5, 7).to(memory_format=torch.channels_last).requires_grad_(), []
    for inside in (False, True):
        out = block(x)
        with torch.autocast('cpu', torch.bfloat16, enabled=inside):
            grads.append(torch.autograd.grad(out, (x, block.mlp.fc1.weight), torch.ones_like(out)))
    assert called == ['Mixing', 'Widening'] * 2
    for value, truth in zip(*grads, strict=True):
        assert value.dtype == torch.float32 and value.equal(truth)
