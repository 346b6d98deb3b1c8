"""Every strategy gives what the formula gives: values, every gradient, every statistic."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.runner import saved_bytes
from damamba import execution
from damamba.execution import memory, skipping, strips
from damamba.models import DAMamba, fuse
from damamba.models.damamba import Block
from damamba.models.layers import Stem
from tests.models.helpers import mini, norms_of, statistics

TRAININGS = {  # the strategies allowed, with_cp
    'memory': (['memory'], False),
    'skipping': (['skipping'], False),
    'both': (['skipping', 'memory'], False),
    'with_cp': (['skipping', 'memory'], True),
    'with_cp, formula': ([], True),
}


def settle(model):
    """Give a model weights that nothing can get wrong unseen: statistics, biases, scales and large offsets."""
    for norm in norms_of(model):
        if norm.running_var is not None:
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -1, 1)
    for name, parameter in model.named_parameters():
        if (name.endswith('.bias') and 'norm' not in name) or name.endswith(('layer_scale_1', 'layer_scale_2')):
            nn.init.uniform_(parameter, -1, 1)
        if name.endswith('offset.bias'):
            nn.init.uniform_(parameter, -3, 3)
    return model


def step(model, x, names):
    """Values, gradients and statistics of a training step with these strategies."""
    model.zero_grad()
    before = statistics(model)
    torch.manual_seed(1)
    with execution.only(*names):
        outs = model(x)
    outs = outs if isinstance(outs, tuple) else (outs,)
    sum(
        (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum()
        for out in outs
        if out.requires_grad
    ).backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    after = statistics(model)
    model.load_state_dict({**model.state_dict(), **before})
    return outs, grads, after


@pytest.mark.parametrize('rate', [0.0, 0.6])
@pytest.mark.parametrize('training', TRAININGS)
def test_a_training_step_is_the_formulas(training, rate, monkeypatch, close):
    monkeypatch.setattr(memory, 'WORTH', 0)
    names, with_cp = TRAININGS[training]
    model = settle(mini(drop_path_rate=rate, with_cp=with_cp)).double().train()
    x = torch.randn(3, 3, 65, 97, dtype=torch.float64)
    outs, grads, buffers = step(model, x, names)
    for block in (block for stage in model.stages for block in stage.blocks):
        block.with_cp = False
    truths, true_grads, true_buffers = step(model, x, [])
    for value, truth in zip(outs, truths, strict=True):
        close(value, truth)
    largest = max(grad.abs().max() for grad in true_grads.values())
    for name, grad in grads.items():  # an error if one is None
        assert (grad - true_grads[name]).abs().max() <= 1e-12 * largest, name
    for name, value in buffers.items():
        torch.testing.assert_close(value, true_buffers[name], msg=name)


@pytest.mark.parametrize('autocast', [False, True], ids=['float32', 'autocast'])
@pytest.mark.parametrize('options', [dict(frozen_stages=1), dict(norm_eval=True)], ids=str)
@pytest.mark.parametrize('training', ['memory', 'with_cp'])
def test_what_is_recomputed_is_the_same_to_the_last_bit(training, options, autocast, monkeypatch):
    monkeypatch.setattr(memory, 'WORTH', 0)
    names, with_cp = TRAININGS[training]
    model, x, runs = mini(drop_path_rate=0.5, with_cp=with_cp, **options).train(), torch.randn(2, 3, 65, 97), []
    for allowed in (names, []):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            runs.append(step(model, x, [it for it in allowed if it != 'skipping']))
        for block in (block for stage in model.stages for block in stage.blocks):
            block.with_cp = False
    (outs, grads, buffers), (truths, true_grads, true_buffers) = runs
    for value, truth in zip((*outs, *buffers.values()), (*truths, *true_buffers.values()), strict=True):
        assert torch.equal(value, truth)
    for name, grad in grads.items():
        assert (grad is None and true_grads[name] is None) or torch.equal(grad, true_grads[name]), name


SWIN_T = (
    2380e6  # bytes that MMDetection's Swin-T keeps for the backward of a picture of 800x1344: benchmarks/backbone.py
)


@pytest.mark.parametrize(('with_cp', 'share'), [(False, 1.4), (True, 0.3)])
def test_a_training_keeps_little_beside_a_swins(with_cp, share, monkeypatch):
    monkeypatch.setattr(memory, 'WORTH', memory.WORTH // 4)  # a quarter of the picture, and of the maps
    model = DAMamba('tiny', drop_path_rate=0.0, with_cp=with_cp).train()
    picture = torch.zeros(1, 3, 400, 672)
    assert 0.15 * SWIN_T < 4 * saved_bytes(lambda: model(picture)) <= share * SWIN_T


@pytest.mark.parametrize('training', ['memory', 'both', 'with_cp'])
def test_a_second_backward_through_the_same_graph_gives_the_same(training, monkeypatch):
    monkeypatch.setattr(memory, 'WORTH', 0)
    names, with_cp = TRAININGS[training]
    model = mini(drop_path_rate=0.5, with_cp=with_cp).train()
    with execution.only(*names):
        loss = sum(out.square().mean() for out in model(torch.randn(2, 3, 64, 64)))
    parameters = [p for p in model.parameters() if p.requires_grad]
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    second = torch.autograd.grad(loss, parameters)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert {norm.num_batches_tracked.item() for norm in norms_of(model)} == {1}


KEPT = [([0, 2], [1]), (None, [0, 1]), ([2], None), ([], [2]), ([1], []), ([], [])]


@pytest.mark.parametrize('kept', KEPT, ids=str)
@pytest.mark.parametrize('worth', [0, 10**9], ids=['recomputed', 'kept'])
def test_what_stochastic_depth_leaves_out_is_as_if_multiplied_by_0(kept, worth, monkeypatch, close):
    monkeypatch.setattr(memory, 'WORTH', worth)
    block = settle(Block(16, 2, 0.4, True, dict(type='BN'), False)).double().train()
    x = torch.randn(3, 16, 6, 5, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    inputs = [x, *(p for p in block.parameters() if p.requires_grad)]
    masks = torch.zeros(2, len(x), 1, 1, 1, dtype=x.dtype)
    for mask, samples in zip(masks, kept, strict=True):
        mask[slice(None) if samples is None else samples] = 1 / 0.6
    before = statistics(block)
    truth = block.pos_embed(x)
    truth = truth + masks[0] * block.layer_scale_1.view(-1, 1, 1) * block.token_mixer(block.norm1(truth))
    truth = truth + masks[1] * block.layer_scale_2.view(-1, 1, 1) * block.mlp(block.norm2(truth))
    truths = truth, *torch.autograd.grad(truth, inputs, upstream, allow_unused=True, materialize_grads=True)
    true_buffers = statistics(block)
    block.load_state_dict({**block.state_dict(), **before})

    drawn = tuple(None if samples is None else torch.tensor(samples, dtype=torch.long) for samples in kept)
    monkeypatch.setattr(skipping, '_draw', lambda *args: [drawn])
    y = block(x.to(memory_format=torch.channels_last))
    found = torch.autograd.grad(y, inputs, upstream)  # an error if one of them took no part
    for value, true in zip((y, *found), truths, strict=True):
        close(value, true)
    for name, value in statistics(block).items():
        torch.testing.assert_close(value, true_buffers[name])


def test_what_is_left_out_is_not_computed(monkeypatch):
    block, seen = Block(16, 2, 0.5, False, dict(type='BN'), False).train(), []
    monkeypatch.setattr(skipping, '_draw', lambda *args: [(torch.tensor([0, 4]), torch.tensor([3]))])
    convolve = F.conv2d
    monkeypatch.setattr(
        F, 'conv2d', lambda x, weight, *args: seen.append((weight, len(x))) or convolve(x, weight, *args)
    )
    block(torch.randn(5, 16, 4, 4))
    counts, mixer = dict(seen), block.token_mixer
    assert [counts[it.weight] for it in (mixer.in_proj, mixer.conv2d, mixer.out_proj)] == [2, 2, 2]
    assert [counts[it.weight] for it in (block.mlp.fc1, block.mlp.fc2)] == [1, 1]


def test_a_forward_draws_once_for_all_blocks_and_leaves_nothing_behind(monkeypatch):
    draws, draw = [], skipping._draw
    monkeypatch.setattr(skipping, '_draw', lambda paths, *args: draws.append(len(paths)) or draw(paths, *args))
    model = mini(drop_path_rate=0.5, frozen_stages=1).train()
    model(torch.randn(2, 3, 64, 64))
    assert draws == [4] and skipping._drawn.get() is None  # 5 blocks, of which the first is frozen
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(model.norm2, 'forward', lambda x: 1 / 0)
        model(torch.randn(2, 3, 64, 64))
    assert skipping._drawn.get() is None
    model.eval()(torch.randn(2, 3, 64, 64))
    model.stages[2].blocks[0].train()(torch.randn(2, 48, 4, 4))
    assert draws == [4, 4, 1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
def test_no_draw_waits_for_the_gpu():
    model, x = mini(drop_path_rate=0.5).cuda().train(), torch.randn(2, 3, 64, 64, device='cuda')
    sum(out.mean() for out in model(x)).backward()
    torch.cuda.set_sync_debug_mode('error')
    try:
        sum(out.mean() for out in model(x)).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')


@pytest.fixture(params=[1, 3], ids='{} threads'.format)
def threads(request):
    """Run on as many threads of torch's; tests have one else."""
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


SIZES = [((64, 96), 1000), ((65, 97), 3000), ((33, 200), 20000), ((31, 1), 1)]
# With AMX, oneDNN 3.12 has garbage in a bfloat16 convolution onto a single column, in the formula too.
WIDE = SIZES[:-1]
CASES = [(dtype, *size) for dtype in (torch.float64, torch.float32) for size in SIZES]
CASES += [(torch.bfloat16, *size) for size in WIDE]


@pytest.mark.parametrize(('dtype', 'size', 'strip'), CASES, ids=str)
def test_inference_in_strips_is_the_formula(size, strip, dtype, threads, monkeypatch, close):
    monkeypatch.setattr(strips, 'FEWEST', 4)
    monkeypatch.setattr(strips, 'STRIP', 4 * strip)
    model = settle(mini()).to(dtype).eval()
    x = torch.randn(2, 3, *size, dtype=dtype)
    with torch.no_grad():
        outs = model(x)
        with execution.only():
            truths = model(x)
    for value, truth in zip(outs, truths, strict=True):
        assert value.dtype == dtype
        if dtype == torch.bfloat16:  # through blocks whose samples move
            assert (value - truth).abs().mean() < 0.1 * truth.abs().mean()
        else:
            close(value, truth)


@pytest.mark.parametrize('autocast', [False, True], ids=['float32', 'autocast'])
@pytest.mark.parametrize('norm_cfg', [{}, dict(affine=False), dict(track_running_stats=False)], ids=str)
def test_fused_or_not_with_or_without_statistics_the_features_are_the_formulas(norm_cfg, autocast, threads, close):
    model = settle(mini(norm_cfg=dict(type='BN', **norm_cfg))).eval()
    for parameter in (p for name, p in model.named_parameters() if '.offset.' in name):
        nn.init.zeros_(parameter)  # the same samples whatever is rounded
    x = torch.randn(2, 3, 64, 96)
    runs = []
    for names, change in (([], nn.Module.eval), (['strips'], nn.Module.eval), (['strips'], fuse), ([], fuse)):
        change(model)
        with torch.no_grad(), execution.only(*names), torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            runs.append(model(x))
    for outs in runs[1:]:
        for value, truth in zip(outs, runs[0], strict=True):
            assert value.dtype == truth.dtype
            assert (value - truth).abs().max() <= (0.1 if autocast else 1e-5) * truth.abs().max()


@pytest.mark.parametrize('change', [(torch.backends.mkldnn, 'enabled'), (strips, 'FUSED')], ids=['off', 'old'])
def test_without_onednns_fused_gelu_inference_is_the_same(change, monkeypatch, close):
    model, x = settle(mini()).eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        truths = model(x)
        monkeypatch.setattr(*change, False)
        for value, truth in zip(model(x), truths, strict=True):
            close(value, truth)


@pytest.mark.parametrize('height', [16, 17, 18, 19])
def test_the_stems_strips_fit_together(height, threads, monkeypatch, close):
    monkeypatch.setattr(strips, 'FEWEST', 1)
    stem, x = settle(Stem(3, 16, dict(type='BN'))).eval(), torch.randn(2, 3, height, 9)
    with torch.no_grad():
        truth = stem.formula(x)
        for rows in range(1, 6):
            monkeypatch.setattr(strips, 'STRIP', 4 * 32 * 3 * rows)
            close(stem(x), truth)


@pytest.mark.parametrize('batch', [1, 2, 6])
def test_strips_cover_every_row_once_and_reach_around_them(batch, threads, monkeypatch):
    x = torch.empty(batch, 4, 11, 7)
    for rows, halo, fewest in product(range(1, 13), range(3), (1, 5)):
        monkeypatch.setattr(strips, 'STRIP', 4 * 5 * 7 * rows)
        monkeypatch.setattr(strips, 'FEWEST', fewest)
        covered, pieces = torch.zeros(batch, 11), strips.strips(x, 5, halo)
        for strip in pieces:
            image, _, own = strip.rows
            covered[image, own] += 1
            first, last = strip.read[2].start, min(strip.read[2].stop, 11)
            assert first == max(own.start - halo, 0) and last == min(own.stop + halo, 11)
            assert strip.inner[2] == slice(own.start - first, own.stop - first)
            assert own.stop - own.start <= rows
        assert (covered == 1).all()


def test_maps_are_cut_for_all_threads_while_strips_have_rows_enough(threads):
    assert len(strips.strips(torch.empty(1, 16, 60, 4), 64, halo=2)) == threads
    assert len(strips.strips(torch.empty(1, 16, strips.FEWEST, 4), 64, halo=2)) == 1
    assert len(strips.strips(torch.empty(3, 16, 60, 4), 64, halo=2)) == 3  # one of each picture


def test_a_flop_counter_sees_the_formula_with_and_without_gradients():
    model, picture, counts = mini().eval(), torch.randn(1, 3, 64, 64), []
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled), FlopCounterMode(display=False) as counter:
            model(picture)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_no_pictures_give_no_maps():
    with torch.no_grad():
        outs = mini().eval()(torch.randn(0, 3, 64, 96))
    assert [tuple(out.shape) for out in outs] == [(0, 16, 16, 24), (0, 32, 8, 12), (0, 48, 4, 6), (0, 64, 2, 3)]


@pytest.mark.parametrize('hooked', [False, True], ids=['as built', 'hooked'])
@pytest.mark.parametrize('with_cp', [False, True], ids=['memory', 'with_cp'])
@pytest.mark.parametrize('drop_path', [0.0, 0.4], ids=['whole', 'stochastic depth'])
def test_statistics_of_all_processes_are_gathered_once_a_step(drop_path, with_cp, hooked, monkeypatch, close):
    monkeypatch.setattr(memory, 'WORTH', 0)
    block = Block(16, 2, drop_path, True, dict(type='SyncBN'), with_cp).double().train()
    seen, gathered, normalise = [], [], F.batch_norm  # which runs in every forward of SyncBN in one process
    monkeypatch.setattr(F, 'batch_norm', lambda x, *args: gathered.append(len(x)) or normalise(x, *args))
    if hooked:
        block.mlp.fc1.register_forward_hook(lambda *_: seen.append('fc1'))
    results = []
    for run in (block, block.formula):
        torch.manual_seed(1)
        x = torch.randn(3, 16, 6, 5, dtype=torch.float64, requires_grad=True)
        inputs = [x, *(it for it in block.parameters() if it.requires_grad)]
        y = run(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), inputs)))
    for value, truth in zip(*results, strict=True):
        close(value, truth)
    assert gathered == [3, 3] and len(seen) == hooked * (2 + with_cp)  # the formula's own once


@pytest.mark.parametrize('kind', list(CheckpointImpl), ids='{}'.format)
@pytest.mark.parametrize('which', ['model', 'stage', 'block'])
def test_whoever_checkpoints_around_a_part_recomputes_the_same_samples(which, kind, monkeypatch):
    used, formula = {}, skipping._formula

    def recorded(block, x, *kept, **more):
        used.setdefault(block, []).append([None if it is None else it.tolist() for it in kept])
        return formula(block, x, *kept, **more)

    monkeypatch.setattr(skipping, '_formula', recorded)
    model = mini(drop_path_rate=0.8).train()
    blocks = model.stages[2].blocks
    if which == 'stage':
        model.stages[2] = checkpoint_wrapper(model.stages[2], kind)
    elif which == 'block':
        model.stages[2].blocks = nn.ModuleList(checkpoint_wrapper(block, kind) for block in blocks)
    whole = checkpoint_wrapper(model, kind) if which == 'model' else model
    for seed in range(5):
        used.clear()
        torch.manual_seed(seed)
        sum(out.mean() for out in whole(torch.randn(3, 3, 64, 64, requires_grad=True))).backward()
        assert all(len(used[block]) == 2 for block in blocks)
        assert all(first == again for first, again in (used[block] for block in blocks))


def test_training_under_fake_tensors_and_tracing_runs_the_formula():
    model = mini(drop_path_rate=0.5).train()
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        outs = model(fake.from_tensor(torch.randn(2, 3, 64, 64)))
    assert [tuple(out.shape) for out in outs] == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 48, 4, 4), (2, 64, 2, 2)]
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        traced = torch.jit.trace(model.eval(), x)
        with execution.only():
            assert all(map(torch.equal, traced(x), model(x)))


def test_torchs_default_device_does_not_reach_inference():
    model, x = mini().eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        outs = model(x)
        with torch.device('meta'):
            assert all(map(torch.equal, model(x), outs))


def test_the_mode_may_change_before_the_backward(monkeypatch, close):
    monkeypatch.setattr(memory, 'WORTH', 0)
    model, x, grads = mini(drop_path_rate=0.0).train(), torch.randn(2, 3, 64, 64), []
    for mode in (True, False):
        model.train()
        outs = model(x)
        model.train(mode)
        grads.append(torch.autograd.grad(sum(out.square().mean() for out in outs), model.stem[0].weight)[0])
    close(*grads)
